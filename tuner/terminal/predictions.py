"""Predictions as a table, or as a stream of CSV or JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.table import Table

from tuner.export.predict import Prediction
from tuner.terminal.tables import plain, plain_table


def prediction_table(predictions: Sequence[Prediction], top: int = 1) -> Table:
    """One row per image: its classes and their probabilities, or why it cannot be read.

    Args:
        predictions: of the images.
        top: number of classes in a row.
    """
    table = plain_table()
    table.add_column("image", overflow="fold")
    for number in range(1, top + 1):
        table.add_column("class" if number == 1 else f"{number}.", overflow="fold")
        table.add_column("probability", justify="right", no_wrap=True)
    for prediction in predictions:
        path = plain(str(prediction.path))
        if prediction.error is not None:
            table.add_row(path, plain(f"not read: {prediction.error}"))
            continue
        classes = [(prediction.label or "", prediction.probability), *prediction.top[1:top]]
        cells = ((plain(label), f"{share:.4f}") for label, share in classes)
        table.add_row(path, *(cell for pair in cells for cell in pair))
    return table


def csv_lines(predictions: Iterable[Prediction], top: int = 1) -> Iterator[str]:
    """Lines of a CSV table: path,label,probability,error and, with `top`, the next classes.

    Args:
        predictions: consumed one by one.
        top: number of classes in a row.
    """
    more = [f"{name}_{number}" for number in range(2, top + 1) for name in ("label", "probability")]
    yield _csv_line(["path", "label", "probability", "error", *more])
    for found in predictions:
        others = [value for pair in found.top[1:top] for value in pair]
        yield _csv_line([str(found.path), found.label, found.probability, found.error, *others])


def json_lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Lines of a JSON array of `prediction_row`, one per image."""
    separator = "[\n"
    for prediction in predictions:
        yield f"{separator}  {json.dumps(prediction_row(prediction))}"
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    """A prediction as `tune predict --json` prints it."""
    return {
        "path": str(prediction.path),
        "label": prediction.label,
        "probability": prediction.probability,
        "top": [{"label": label, "probability": share} for label, share in prediction.top],
        "error": prediction.error,
    }


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
