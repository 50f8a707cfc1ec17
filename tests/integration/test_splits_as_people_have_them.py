"""Searches without test images, or with splits that lack classes, up to the export."""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.small_search import SEARCH, tune, write_photos


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", per_class=8)
    return tmp_path / "photos"


def search(photos: Path, *options: str) -> None:
    pinned = ("--fix", "unfreeze_blocks=0", "--fix", "head_layers=0")
    result = tune("search", photos, "--run", "one", *SEARCH, *pinned, *options, "--quiet")
    assert result.exit_code == 0, result.stderr


def test_without_test_images_nothing_is_measured_on_them(photos: Path) -> None:
    search(photos, "--test-fraction", "0")
    result = tune("best", "one", "--export", "model", "--details", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert "No image was held out for a test" in result.stdout
    assert "Test accuracy" not in result.stdout
    described = json.loads(Path("model/export.json").read_text())
    assert described["test_accuracy"] is described["test_scores"] is None
    assert described["images"]["test"] == 0
    assert "No image was held out for a test." in Path("model/MODEL_CARD.md").read_text()
    row = json.loads(tune("best", "one", "--json", "--quiet").stdout)
    assert row["test_images"] == 0 and row["test_accuracy"] is None
    for option in ("--refit", "--calibrate"):
        refused = tune("best", "one", "--export", "other", option, "--quiet")
        assert refused.exit_code == 2
        assert f"{option} needs test images to measure what it does" in refused.stderr
    assert tune("report", "one").exit_code == 0
    assert tune("predict", "model", photos, "--csv", "--quiet").exit_code == 0


def test_splits_may_lack_classes(photos: Path) -> None:
    classes = sorted(path.name for path in photos.iterdir())
    for place, (split, lacks) in enumerate((("train", None), ("val", 0), ("test", 1))):
        for number, name in enumerate(classes):
            if number != lacks:
                for path in sorted((photos / name).iterdir())[place::3]:
                    target = Path("split", split, name, path.name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, target)
    search(Path("split"), "--objective", "val_balanced_accuracy")
    result = tune("best", "one", "--export", "model", "--quiet")
    assert result.exit_code == 0, result.stderr
    chance = 100 / (len(classes) - 1)
    assert f"{chance:.1f} % (mean of the classes)" in result.stdout
    assert json.loads(Path("model/labels.json").read_text()) == classes
    assert tune("report", "one").exit_code == 0
