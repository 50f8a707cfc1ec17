"""Predictions are printed whole and as text; CSV and JSON come line by line."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from tuner.export.predict import Prediction
from tuner.terminal.predictions import csv_lines, json_lines, prediction_table

CAT = Prediction(
    Path("[red]cat[/red].jpg"), "[bold]cat", 0.91234, None, (("[bold]cat", 0.91234), ("a,b", 0.05))
)
BELL = Prediction(
    Path("new\nline\x1b[2J.jpg"), "\x07bell", 1.0, None, (("\x07bell", 1.0), ("c", 0.0))
)
CUT = Prediction(Path("cut.png"), None, None, "it is cut short")


def lines(predictions: list[Prediction], top: int = 1, width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(prediction_table(predictions, top))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_hostile_names_are_text() -> None:
    shown = lines([CAT, BELL, CUT])
    assert shown[2].split() == ["[red]cat[/red].jpg", "[bold]cat", "0.9123"]
    assert shown[3].split() == ["new\ufffdline\ufffd[2J.jpg", "\ufffdbell", "1.0000"]
    assert " ".join(shown[4].split()) == "cut.png not read: it is cut short"
    assert len(shown) == 5


def test_long_names_are_folded_and_whole() -> None:
    name = "a" * 50 + "/" + "b" * 100 + ".jpg"
    shown = lines([Prediction(Path(name), "c" * 90, 0.5)], width=60)
    assert "".join(shown).count("b") == 100 + 2  # and two in "probability"
    assert all(len(line) <= 60 for line in shown)


def test_more_classes_in_more_columns() -> None:
    shown = lines([CAT, CUT], top=2, width=100)
    assert shown[0].split() == ["image", "class", "probability", "2.", "probability"]
    assert shown[2].split()[2:] == ["0.9123", "a,b", "0.0500"]


def test_csv() -> None:
    text = "".join(csv_lines([CAT, BELL, CUT]))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [
        ["path", "label", "probability", "error"],
        ["[red]cat[/red].jpg", "[bold]cat", "0.91234", ""],
        ["new\nline\x1b[2J.jpg", "\x07bell", "1.0", ""],
        ["cut.png", "", "", "it is cut short"],
    ]
    header, row, *_ = csv.reader(io.StringIO("".join(csv_lines([CAT], top=2))))
    assert header[4:] == ["label_2", "probability_2"]
    assert row[4:] == ["a,b", "0.05"]


def test_json() -> None:
    assert json.loads("".join(json_lines([]))) == []
    first, second = json.loads("".join(json_lines([CAT, CUT])))
    assert first == {
        "path": "[red]cat[/red].jpg", "label": "[bold]cat", "probability": 0.91234, "error": None,
        "top": [
            {"label": "[bold]cat", "probability": 0.91234}, {"label": "a,b", "probability": 0.05}
        ],
    }  # fmt: skip
    assert second["error"] == "it is cut short"
    assert second["top"] == []


def test_lines_come_as_images_are_predicted() -> None:
    taken: list[Prediction] = []

    def predict() -> Iterator[Prediction]:
        for prediction in (CAT, CUT, BELL):
            taken.append(prediction)
            yield prediction

    for lines_of in (csv_lines, json_lines):
        taken.clear()
        stream = lines_of(predict())
        for _ in range(2 if lines_of is csv_lines else 1):  # CSV begins with its header
            next(stream)
        assert taken == [CAT]
