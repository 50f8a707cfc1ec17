"""The card's text: hostile names stay text, figures are the export's."""

from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from tuner.export.model_card import Confusion, confusions, escaped, model_card

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


def per_class(name: str, recall: float | None) -> dict[str, Any]:
    return {
        "class": name,
        "images": 5,
        "predicted": 4,
        "right": 2,
        "precision": 0.5,
        "recall": recall,
        "f1": 0.5,
    }


def description(**changes: Any) -> dict[str, Any]:
    checked = {
        "file": "model.onnx",
        "numbers": "float32",
        "images": 30,
        "differing": 0,
        "ties": 0,
        "largest_difference": 1e-6,
        "validation_accuracy": 0.9,
        "test_accuracy": 0.8,
    }
    return {
        "space": "resnet50",
        "split": {"seed": 7, "validation_fraction": 0.2, "test_fraction": 0.1},
        "warnings": ["12 images look alike."],
        "pretrained": {"sentence": "No pretrained weights were used."},
        "leaked_test_images": {"images": 0, "sentence": None},
        "test_scores": {
            "balanced_accuracy": 0.75,
            "macro_f1": 0.7,
            "log_loss": 0.42,
            "brier_score": 0.31,
            "calibration_error": 0.05,
        },
        "intervals": {
            "balanced_accuracy": [0.6, 0.88],
            "log_loss": [0.3, 0.6],
            "brier_score": [0.2, 0.4],
        },
        "per_class": [per_class("a", 0.5), per_class("b", 1.0)],
        "luck": {"trials": 60, "validation": 0.9, "corrected": 0.861, "flattery": 0.039},
        "opponents": [
            {
                "name": "plain head",
                "trial": "0000",
                "accuracy": 0.7,
                "gain": 0.1,
                "gain_interval": [-0.02, 0.22],
                "p_value": 0.25,
            },
        ],
        "left_out": [],
        "verdict": "The search gained nothing.",
        "looks": [],
        "looks_sentence": "The test images were opened 2 times (runs: my_run, x).",
        "image_size": 224,
        "crop": False,
        "images": {"train": 70, "validation": 20, "test": 10},
        "validation_accuracy": 0.9,
        "test_accuracy": 0.8,
        "test_balanced_accuracy": 0.75,
        "majority_rate": {"validation": 0.5, "test": 0.4},
        "temperature": None,
        "calibration_error": 0.05,
        "calibration_error_before": 0.05,
        "confusions": [],
        "plainly_decoded": 29,
        "checked_images": 30,
        "formats": {"onnx": checked},
    } | changes


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_text(name: str) -> None:
    mistakes = [{"label": name, "predicted": name, "count": 2, "of": 5}]
    changes = {"confusions": mistakes, "per_class": [per_class(name, 0.5)], "space": name}
    card = model_card(description(**changes), [name, "b"])
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(card)
    harmless = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(
        model_card(
            description(
                confusions=[mistakes[0] | {"label": "x", "predicted": "x"}],
                per_class=[per_class("x", 0.5)],
                space="x",
            ),
            ["x", "b"],
        )
    )
    tags = [part.split(">")[0] for part in rendered.split("<")[1:]]
    assert tags == [part.split(">")[0] for part in harmless.split("<")[1:]]


def test_escaping_keeps_what_is_read() -> None:
    for name in ("blue sky", "caf\u00e9", "a_b*c", "food-and-drink", "v1.5"):
        assert MarkdownIt().render(escaped(name)) == f"<p>{name}</p>\n"
    assert escaped("food-and-drink, v1.5") == "food-and-drink, v1.5"
    assert escaped("www.example.org") == "www\\.example.org"
    assert "\n" not in escaped("two\nlines")


def test_figures() -> None:
    card = model_card(description(), ["a", "b"])
    assert "| 10 test | 80.0 % | 49.0 % to 94.3 % | 40.0 % |" in card
    assert "selected on the validation images. The test images were held out." in card
    assert "70 train images, 20 validation images, 10 test images" in card
    assert "drawn with seed 7: of each class 20.0 % for validation and 10.0 % for test" in card
    assert "No pretrained weights were used." in card
    assert "- 12 images look alike." in card
    split = {"seed": 7, "validation_fraction": 0.2, "test_fraction": None}
    one = model_card(description(split=split), ["a", "b"])
    assert "The test images were given with the data; the others were drawn with seed 7" in one
    given = split | {"validation_fraction": None}
    assert "The splits were given with the data." in model_card(
        description(split=given), ["a", "b"]
    )
    assert "| mean of the classes' own accuracies | 75.0 % | 60.0 % to 88.0 % |" in card
    assert "| log loss, nats | 0.420 | 0.300 to 0.600 |" in card
    assert "| macro F1 | 70.0 % |  |" in card
    assert "| a | 5 | 50.0 % | 50.0 % |" in card
    assert "| plain head | 70.0 % | +10.0 points | -2.0 to 22.0 | 0.25 |" in card
    assert "The search gained nothing." in card
    assert MarkdownIt().render(card).count("opened 2 times (runs: my_run, x)") == 1
    assert "a ResNet50 whose head" in card
    assert "29 of the 30 checked images" in card
    assert "No test image was misclassified." in card
    assert "as trained" in card
    calibrated = model_card(
        description(temperature=1.5, calibration_error_before=0.123), ["a", "b"]
    )
    assert "divided by 1.500" in calibrated
    assert "12.3 % before, 5.0 % after" in calibrated


def test_no_interval_for_images_that_selected_the_network() -> None:
    row = (
        "| 20 validation (selected on) | 90.0 % | none: bias-corrected 86.1 %, best of 60 trials |"
    )
    assert row in model_card(description(), ["a", "b"])
    assert "none: selected on these images" in model_card(description(luck=None), ["a", "b"])


def test_leaked_test_images_are_reported() -> None:
    clean = model_card(description(), ["a", "b"])
    assert "were held out" in clean
    assert "The test accuracy is optimistic" not in clean
    leak = {"images": 4, "of": 10, "accuracy": 0.5, "interval": [0.2, 0.8], "sentence": "4 leak."}
    leaky = model_card(description(leaked_test_images=leak), ["a", "b"])
    assert "4 leak." in leaky
    assert "were held out" not in leaky
    assert "The test accuracy is optimistic" in leaky
    assert "| 6 test without those that have copies | 50.0 % | 20.0 % to 80.0 % |" in leaky


def test_a_refitted_network_was_not_selected_on_validation() -> None:
    refit = {"sentence": "Refitted for 3 epochs."}
    images = {"train": 90, "validation": 0, "test": 10}
    again = model_card(
        description(refit=refit, images=images, validation_accuracy=None), ["a", "b"]
    )
    assert "Refitted for 3 epochs." in again
    assert "predicted the test images; it is compared with the refitted network" in again
    for untrue in (
        "selected on the validation",
        "that was searched",
        "validation accuracy is optimistic",
    ):
        assert untrue in model_card(description(), ["a", "b"])
        assert untrue not in again


def test_a_custom_space_is_no_resnet50() -> None:
    card = model_card(description(space="mine.spaces:Small"), ["a", "b"])
    assert "ResNet50" not in card
    assert "a network of the search space mine.spaces:Small" in MarkdownIt().render(card)


def test_only_the_worst_of_many_classes_are_shown() -> None:
    many = [per_class(f"class {number}", number / 100) for number in reversed(range(100))]
    card = model_card(description(per_class=[*many, per_class("unseen", None)]), ["a", "b"])
    assert "| class 0 |" in card
    assert "| class 29 |" in card
    assert "| class 30 |" not in card
    assert "71 more, with better recall, are in `export.json`." in card


def test_skipped_baselines_and_a_useless_temperature_are_reported() -> None:
    told = {"left_out": ["plain head"], "temperature": 1.5, "calibration_error_before": 0.01}
    card = model_card(description(**told), ["a", "b"])
    assert "Skipped: plain head." in card
    assert "it rose, so the temperature did not help" in card


def test_the_most_frequent_mistakes_first() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([1, 1, 0, 1, 2, 2])
    assert confusions(np.eye(3)[predicted], labels, ["a", "b", "c"]) == [
        Confusion("a", "b", 2, 3),
        Confusion("b", "c", 1, 2),
    ]
    assert confusions(np.eye(3), np.arange(3), ["a", "b", "c"]) == []


def test_the_loss_of_a_quantized_file() -> None:
    formats = description()["formats"]
    formats["onnx"]["warning"] = "The int8 file is less accurate than the network."
    card = model_card(description(formats=formats), ["a", "b"])
    assert "\n\nThe int8 file is less accurate than the network.\n\n" in card
    assert "less accurate" not in model_card(description(), ["a", "b"])
