"""One real search on a few small images, made once for all tests that look at what it left."""

import atexit
import contextlib
import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from tuner.data.dataset import Dataset

COLOURS = {"blue sky": (40, 60, 200), "green leaf": (50, 180, 60), "red brick": (200, 50, 40)}
IMAGES_PER_CLASS = 20
SEARCH = ("--weights", "none", "--image-size", "32", "--max-epochs", "1")


@dataclass(frozen=True)
class SmallSearch:
    """Where it is and what it printed; a test that changes something works on a copy."""

    photos: Path
    runs: Path
    cache: Path
    result: Any

    @property
    def run(self) -> Path:
        return self.runs / "small"

    def copy_of_runs(self, folder: Path) -> Path:
        """The run as the search left it: its winner has not been evaluated."""
        listed = shutil.ignore_patterns(".looks.jsonl")
        runs = Path(shutil.copytree(self.runs, folder / "runs", ignore=listed))
        forget_looks(runs / "small")
        return runs


def forget_looks(run: Path) -> None:
    """Makes a run one whose test images nobody has looked at."""
    with contextlib.closing(sqlite3.connect(run / "journal.db")) as connection:
        connection.executescript("DELETE FROM evaluations; DELETE FROM evaluation_log")


@functools.cache
def small_search() -> SmallSearch:
    """Its test images lie elsewhere while it searches: had it read one, it would have failed."""
    folder = Path(tempfile.mkdtemp(prefix="small-search."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    photos, runs, cache = folder / "photos", folder / "runs", folder / "cache"
    write_photos(photos)
    with hidden("test"):
        result = tune(
            "search",
            photos,
            "--run",
            "small",
            *SEARCH,
            "--fix",
            "unfreeze_blocks=0",
            "--fix",
            "head_layers=0",
            "--runs-dir",
            runs,
            "--cache-dir",
            cache,
        )
    assert result.exit_code == 0, result.output
    return SmallSearch(photos, runs, cache, result)


@contextlib.contextmanager
def hidden(split: str) -> Iterator[None]:
    """Moves the images of a split away as soon as a search has found and split them."""
    from tuner.terminal import data

    moved: list[Path] = []

    def hide(progress: Any, dataset: Dataset) -> None:
        say(progress, dataset)
        for path in (dataset.root / file.path for file in dataset.of(split)):
            moved.append(path.rename(f"{path}.hidden"))

    say = data.say_dataset
    with mock.patch.object(data, "say_dataset", hide):
        yield
    for path in moved:
        path.rename(path.with_suffix(""))


def write_photos(folder: Path, per_class: int = IMAGES_PER_CLASS) -> None:
    """One folder a class: noisy images of one colour, of several sizes."""
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            shape = (int(random.integers(24, 60)), int(random.integers(24, 60)), 3)
            pixels = (random.normal(0, 30, shape) + colour).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")


def tune(*arguments: object, stdin: str | None = None) -> Any:
    """Runs a command in this process."""
    from tuner.cli import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, empty where there is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@functools.cache
def small_export() -> tuple[Path, Any]:
    """The search's winner, exported to a folder that was there and empty; what that printed."""
    search = small_search()
    folder = search.runs.parent / "model"
    folder.mkdir()
    result = tune(
        "best", "--runs-dir", search.runs, "--cache-dir", search.cache, "--export", folder
    )
    assert result.exit_code == 0, result.output
    return folder, result
