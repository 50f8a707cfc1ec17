"""The card's text: hostile names stay text, figures are the export's."""

from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from tuner.modelcard import Confusion, confusions, escaped, model_card

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "a | b",
    "# title",
    "`code` **bold** ~~gone~~ _it_",
    "![x](http://example.org/x.png)",
    "https://example.org",
    "two\nlines\r\n\n# three",
    "&lt;b&gt; &amp; \\* \u202eright to left",
    "1. list",
    "- item",
]


def description(**changes: Any) -> dict[str, Any]:
    checked = {
        "file": "model.onnx", "numbers": "float32", "images": 30, "differing": 0, "ties": 0,
        "largest_difference": 1e-6, "validation_accuracy": 0.9, "test_accuracy": 0.8,
    }  # fmt: skip
    return {
        "image_size": 224, "crop": False, "images": {"train": 70, "validation": 20, "test": 10},
        "validation_accuracy": 0.9, "test_accuracy": 0.8, "test_balanced_accuracy": 0.75,
        "majority_rate": {"validation": 0.5, "test": 0.4}, "temperature": None,
        "calibration_error": 0.05, "calibration_error_before": 0.05, "confusions": [],
        "plainly_decoded": 29, "checked_images": 30, "formats": {"onnx": checked},
    } | changes  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name: str) -> None:
    mistakes = [{"label": name, "predicted": name, "count": 2, "of": 5}]
    card = model_card(description(confusions=mistakes), [name, "b"])
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(card)
    harmless = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(
        model_card(description(confusions=[mistakes[0] | {"label": "x", "predicted": "x"}]),
                   ["x", "b"])
    )  # fmt: skip
    tags = [part.split(">")[0] for part in rendered.split("<")[1:]]
    assert tags == [part.split(">")[0] for part in harmless.split("<")[1:]]


def test_escaping_keeps_what_is_read() -> None:
    for name in ("blue sky", "caf\u00e9", "a_b*c"):
        assert MarkdownIt().render(escaped(name)) == f"<p>{name}</p>\n"
    assert "\n" not in escaped("two\nlines")


def test_figures() -> None:
    card = model_card(description(), ["a", "b"])
    assert "| 10 test | 80.0 % | 49.0 % to 94.3 % | 40.0 % |" in card
    assert "70 train images, 20 validation images, 10 test images" in card
    assert "29 of the 30 checked images" in card
    assert "No test image was taken for another class." in card
    assert "as trained" in card
    calibrated = model_card(
        description(temperature=1.5, calibration_error_before=0.123), ["a", "b"]
    )
    assert "divided by 1.500" in calibrated
    assert "12.3 % before, 5.0 % after" in calibrated


def test_the_most_frequent_mistakes_first() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([1, 1, 0, 1, 2, 2])
    assert confusions(np.eye(3)[predicted], labels, ["a", "b", "c"]) == [
        Confusion("a", "b", 2, 3), Confusion("b", "c", 1, 2)
    ]  # fmt: skip
    assert confusions(np.eye(3), np.arange(3), ["a", "b", "c"]) == []
