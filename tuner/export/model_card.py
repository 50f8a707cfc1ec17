"""Write MODEL_CARD.md: what an exported network is, how good it is, and how to load it."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from tuner.export.loading_examples import ENCODED, LOADING
from tuner.metrics import scores as scores_module
from tuner.metrics.intervals import share_interval
from tuner.text import percent

_MOST_CONFUSIONS = 10


@dataclass(frozen=True)
class Confusion:
    """Test images of one class predicted as another.

    Attributes:
        label: their class.
        predicted: the predicted class.
        count: the number of such images.
        of: the number of test images of the class.
    """

    label: str
    predicted: str
    count: int
    of: int


def confusions(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[Confusion]:
    """The ten most frequent mistakes, most frequent first.

    Args:
        probabilities: shape (images, classes).
        labels: class numbers, shape (images,).
        classes: their names.
    """
    totals = np.bincount(labels)
    found = scores_module.confusions(probabilities.argmax(axis=1), labels)
    wrong = [each for each in found if each[0] != each[1]]
    wrong.sort(key=lambda each: -each[2])
    return [
        Confusion(classes[own], classes[named], count, int(totals[own]))
        for own, named, count in wrong[:_MOST_CONFUSIONS]
    ]


def model_card(description: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The model card, in Markdown.

    Class names are untrusted text: they are escaped, so that none becomes Markdown or HTML.

    Args:
        description: the content of export.json.
        labels: class names in the order of the outputs.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuner", "export"),
        autoescape=False,  # Markdown: names are escaped by the filter
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"escaped": escaped, "percent": _percent, "between": _between}
    accuracy, tests = description["test_accuracy"], description["images"]["test"]
    interval = share_interval(round(accuracy * tests), tests) if tests else None
    return environment.get_template("model_card.md.jinja").render(
        description,
        labels=labels,
        loading=LOADING,
        encoded_lines=ENCODED,
        drawn=_drawn(description["split"]),
        leak=description["leaked_test_images"],
        test_interval=interval,
        worst=sorted(description["per_class"], key=_worst_first),
        encoded=description["formats"].get("savedmodel", {}).get("encoded"),
    )


def escaped(text: str) -> str:
    """Text escaped for Markdown within a line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    special = r"[\\`*_{}\[\]()#!|~:@/]|(?<=www)\."
    return re.sub(special, r"\\\g<0>", html.escape(line, quote=False), flags=re.IGNORECASE)


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share)


def _between(interval: Sequence[float]) -> str:
    return " to ".join(map(percent, interval))


def _worst_first(row: Mapping[str, Any]) -> tuple[bool, float]:
    return row["recall"] is None, row["recall"] or 0.0


def _drawn(split: Mapping[str, Any]) -> str:
    """Which splits were drawn, and how."""
    shares = {"validation": split["validation_fraction"], "test": split["test_fraction"]}
    given = [name for name, share in shares.items() if share is None]
    if len(given) == len(shares):
        return "The splits were given with the data."
    subject = f"The {given[0]} images were given with the data; the others" if given else "They"
    drawn = [f"{percent(share)} for {name}" for name, share in shares.items() if share]
    return (
        f"{subject} were drawn with seed {split['seed']}: of each class {' and '.join(drawn)}, "
        "copies of a picture on one side."
    )
