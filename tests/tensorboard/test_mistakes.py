"""Pictures of the winner's mistakes, also with hostile names."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html

from tuner.data.dataset import Dataset, ImageFile
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import RungRecord
from tuner.tensorboard.mistakes import find_mistakes, write_mistakes

HOSTILE = "<img src=x onerror=alert(1)>"
ODD_FILE = "a \"quoted\" 'name'\nof ![two](http://elsewhere.example/x.png) lines_*.png"


def dataset(classes: Sequence[str], validation: Sequence[tuple[str, str]]) -> Dataset:
    files = [ImageFile(path, label, "validation", "0" * 64, "") for path, label in validation]
    test = ImageFile("test.png", classes[0], "test", "1" * 64, "")
    return Dataset(Path("photos"), tuple(classes), (*files, test))


def outcomes(predicted: Sequence[int], confidence: Sequence[float]) -> Outcomes:
    shares = np.array(confidence, np.float16)
    return Outcomes(np.array(predicted, np.uint16), shares, np.zeros_like(shares))


THREE = dataset(
    [HOSTILE, "cats/dogs"],
    [(ODD_FILE, HOSTILE), ("right.png", HOSTILE), ("sure.png", "cats/dogs")],
)
MADE = outcomes([1, 0, 0], [0.6, 0.9, 0.8])


def test_the_most_confident_mistakes_come_first() -> None:
    first, second = find_mistakes(MADE, THREE)
    assert (first.number, first.path, first.given, first.predicted) == (
        2, "sure.png", "cats/dogs", HOSTILE,
    )  # fmt: skip
    assert first.confidence == pytest.approx(0.8, abs=1e-3)
    assert (second.number, second.path) == (0, ODD_FILE)
    assert find_mistakes(MADE, THREE, most=1) == [first]


def journal(path: Path, made: Outcomes) -> Journal:
    opened = Journal.create(path)
    trial = opened.begin_trial({}, slot=(0, 0))
    epochs = [{"val_accuracy": 0.5}]
    opened.finish_rung(trial.id, RungRecord(0, 1, 0.5, 1.0), epochs, completed=False, outcomes=made)
    return opened


def pixels(numbers: Sequence[int]) -> np.ndarray:
    return np.stack([np.full((40, 30, 3), 40 * number + 40, np.uint8) for number in numbers])


def read(folder: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Pixels and description of each picture, by its tag."""
    accumulator = EventAccumulator(str(folder)).Reload()
    found = {}
    for tag in accumulator.Tags()["tensors"]:
        (event,) = accumulator.Tensors(tag)
        width, height, encoded = event.tensor_proto.string_val
        shown = np.asarray(Image.open(io.BytesIO(encoded)))
        assert shown.shape == (int(height), int(width), 3)
        found[tag] = shown, accumulator.SummaryMetadata(tag).summary_description
    return found


def test_pictures_are_the_images_with_both_classes(tmp_path: Path) -> None:
    opened = journal(tmp_path / "journal.db", MADE)
    write_mistakes(tmp_path, opened, "max", THREE, pixels)
    found = read(tmp_path / "0000" / "mistakes-1")
    assert list(found) == [
        f"mistakes/01 cats\N{DIVISION SLASH}dogs predicted as {HOSTILE}, 80%",
        f"mistakes/02 {HOSTILE} predicted as cats\N{DIVISION SLASH}dogs, 60%",
    ]
    assert [int(shown.mean()) for shown, _ in found.values()] == pytest.approx([120, 40], abs=2)


def test_descriptions_are_text_and_nothing_else(tmp_path: Path) -> None:
    opened = journal(tmp_path / "journal.db", MADE)
    write_mistakes(tmp_path, opened, "max", THREE, pixels)
    _, description = list(read(tmp_path / "0000" / "mistakes-1").values())[1]
    page = markdown_to_safe_html(description)
    assert page.count("<") == 2
    shown = html.unescape(page.removeprefix("<p>").removesuffix("</p>"))
    assert shown == (
        f"{ODD_FILE} is {HOSTILE}, predicted as cats/dogs with probability 0.600."
    ).replace("\n", "\N{REPLACEMENT CHARACTER}")


def test_pictures_of_other_trials_are_removed(tmp_path: Path) -> None:
    opened = journal(tmp_path / "journal.db", MADE)
    (tmp_path / "0003" / "mistakes-9").mkdir(parents=True)
    write_mistakes(tmp_path, opened, "max", THREE, pixels)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/mistakes-*")] == [
        "0000/mistakes-1"
    ]
    write_mistakes(tmp_path, opened, "max", THREE, no_pixels)  # they are there


def no_pixels(numbers: Sequence[int]) -> np.ndarray:
    raise AssertionError("nothing was to be read")


def test_without_mistakes_or_a_winner_nothing_is_written(tmp_path: Path) -> None:
    opened = journal(tmp_path / "journal.db", outcomes([0, 0, 1], [0.9, 0.6, 0.8]))
    write_mistakes(tmp_path / "board", opened, "max", THREE, no_pixels)
    empty = Journal.create(tmp_path / "empty.db")
    write_mistakes(tmp_path / "board", empty, "max", THREE, no_pixels)
    assert not (tmp_path / "board").exists()
