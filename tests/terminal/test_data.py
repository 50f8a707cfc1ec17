"""What `tune data` shows, on wide and on narrow terminals."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tests.support.small_search import tune
from tuner.data.dataset import SplitOptions, split_survey
from tuner.data.survey import survey
from tuner.terminal.data import data_report, data_row


def picture(path: Path, number: int, size: tuple[int, int] = (48, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def mess(tmp_path: Path) -> Path:
    """A folder as people have it: nested, mixed, doubled, mislabelled, broken, unequal."""
    root = tmp_path / "mess"
    for number in range(40):
        picture(root / "katze" / f"{number:02}.jpg", number)
    for number in range(6):
        picture(root / "[bold]dog" / "deep" / f"{number}.png", 100 + number, (30, 60))
    picture(root / "[bold]dog" / "large.webp", 200, (400, 300))
    shutil.copy(root / "katze" / "00.jpg", root / "katze" / "again.jpg")
    shutil.copy(root / "katze" / "01.jpg", root / "[bold]dog" / "cat.jpg")
    (root / "katze" / "page.jpg").write_text("<html>")
    (root / "katze" / "Thumbs.db").write_text("?")
    return root


def shown(report: Any, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(report)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_everything_is_on_one_screen(mess: Path) -> None:
    found = survey(mess)
    text = shown(data_report(found, split_survey(found, SplitOptions())), 80)
    lines = text.splitlines()
    assert lines[0] == "49 images in 2 classes; 1 left out, 1 other files and folders."
    assert lines[1].split() == ["class", "images", "share", "train", "validation", "test"]
    assert lines[3].startswith("katze") and "\u2588" * 12 in lines[3] and "83.7 %" in lines[3]
    assert lines[4].startswith("[bold]dog") and "16.3 %" in lines[4]
    flat = " ".join(text.split())
    assert "Formats: JPEG 42, PNG 6, WebP 1. Pixels: 30 x 60 to 400 x 300" in flat
    assert "4 images show only 2 pictures, such as" in flat
    assert "katze/page.jpg is left out: it is a web page, not an image." in flat
    assert "2 images show a picture that stands under another label too, such as" in flat
    assert ": 2 left out (--keep-conflicts trains on them)." in flat
    assert "Class katze has 41 training images and class [bold]dog 8" not in flat
    assert max(map(len, lines)) <= 80


def test_very_unequal_classes_are_told(mess: Path) -> None:
    for number in range(3):
        (mess / "[bold]dog" / "deep" / f"{number}.png").unlink()
    found = survey(mess)
    text = " ".join(shown(data_report(found, split_survey(found, SplitOptions())), 80).split())
    assert "Class katze has 28 training images and class [bold]dog 2: --objective val_bal" in text


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_has_no_bars(mess: Path, width: int) -> None:
    found = survey(mess)
    text = shown(data_report(found, split_survey(found, SplitOptions()), width), width)
    assert "\u2588" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "validation" in text if width == 60 else True


def test_what_cannot_be_split_is_shown_all_the_same(mess: Path) -> None:
    for path in list((mess / "[bold]dog").rglob("*.png")):
        path.unlink()
    text = shown(data_report(survey(mess), None), 80)
    assert "43 images in 2 classes; 1 left out" in text
    assert "validation" not in text
    assert "page.jpg is left out" in text
    result = tune("data", mess)
    assert result.exit_code == 2
    assert "43 images in 2 classes" in result.stdout
    assert "Class [bold]dog has 1 different images to split, but needs at least 3" in result.stderr
    assert "stands under another label too, such as" in " ".join(result.stdout.split())
    document = json.loads(tune("data", mess, "--json").stdout)
    assert len(document["conflicts"]) == 1
    assert document["splits"] is None
    assert document["images"] == 43


def test_json_says_the_same(mess: Path) -> None:
    found = survey(mess)
    row = data_row(found, split_survey(found, SplitOptions()))
    assert row["classes"] == {"[bold]dog": 8, "katze": 41}
    assert row["formats"] == {"JPEG": 42, "PNG": 6, "WebP": 1}
    assert row["sizes"] == [[30, 60], [48, 48], [400, 300]]
    assert row["ignored"] == 1
    assert row["skipped"] == [
        {"path": "katze/page.jpg", "reason": "it is a web page, not an image"}
    ]
    assert sorted(map(sorted, row["same"])) == [
        ["[bold]dog/cat.jpg", "katze/01.jpg"], ["katze/00.jpg", "katze/again.jpg"],
    ]  # fmt: skip
    assert row["conflicts"] == [["[bold]dog/cat.jpg", "katze/01.jpg"]]
    assert row["leaks"] == []
    assert sum(row["splits"]["katze"].values()) == 40
    assert json.loads(json.dumps(row)) == row


def test_the_command_writes_a_table_that_it_reads(mess: Path, tmp_path: Path) -> None:
    table = tmp_path / "mess.csv"
    first = tune("data", mess, "--export-csv", table, "--json")
    assert first.exit_code == 0, first.stderr
    second = json.loads(tune("data", table, "--json").stdout)
    assert second["splits"] == json.loads(first.stdout)["splits"]
    assert second["skipped"] == second["conflicts"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist: name a folder that holds one folder per class, or"),
        ([], "Missing argument"),
        (["{mess}", "--val-fraction", "1.5"], "val_fraction must be above 0"),
        (["{mess}", "--export-csv", "photo.jpg"], "photo.jpg must end in .csv to be read again"),
    ],
)
def test_wrong_input_is_a_sentence(mess: Path, arguments: list[str], message: str) -> None:
    result = tune("data", *(part.format(mess=mess) for part in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def test_damage_that_is_too_much_is_listed_in_full(mess: Path) -> None:
    for path in (mess / "katze").glob("*.jpg"):
        path.write_bytes(b"")
    result = tune("data", mess, "--json")
    assert result.exit_code == 2
    assert "Class katze needs train images, but none of its 42 can be read" in result.stderr
    assert len(json.loads(result.stdout)["skipped"]) == 42
    for path in (mess / "[bold]dog").rglob("*.*"):
        path.write_bytes(b"")
    result = tune("data", mess)
    assert result.exit_code == 2
    assert "0 images in 2 classes; 50 left out" in result.stdout
    assert "None of the 50 images" in result.stderr
