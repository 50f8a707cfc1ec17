"""Runs side by side."""

import dataclasses
import json
import shutil
from pathlib import Path

from tests.support.report_page import Outline, altered, evaluation_damaged
from tests.support.small_search import small_search, tune
from tests.support.synthetic_run import (
    CLASSES,
    synthetic_run,
)
from tuner.metrics.intervals import Proportion
from tuner.report.comparison import _sentence, compare
from tuner.report.headline import Contender
from tuner.report.run_data import read_run_data
from tuner.runs.run import Run, open_run


def without_images(run: Run, path: Path, split: str, count: int) -> Run:
    """The same run, as if it had been begun without some images."""
    folder = Path(shutil.copytree(run.folder, path / "other"))
    document = json.loads((folder / "dataset.json").read_text())
    gone = [file for file in document["files"] if file["split"] == split][:count]
    document["files"] = [file for file in document["files"] if file not in gone]
    (folder / "dataset.json").write_text(json.dumps(document))
    return open_run(path, "other")


def test_runs_are_put_side_by_side(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    settings = json.loads((runs / "small" / "settings.json").read_text())
    shutil.copytree(runs / "small", runs / "other")
    (runs / "other" / "settings.json").write_text(json.dumps(settings | {"seed": 7}))
    out = tmp_path / "both.html"
    result = tune("report", "small", "other", "--runs-dir", runs, "--out", out)
    assert result.exit_code == 0, result.output
    text = " ".join(" ".join(Outline(out.read_text("utf-8")).text).split())
    assert "All runs saw the same images in the same split." in text
    assert "small and other are equal on the validation images." in text
    assert "seed 0 7" in text
    assert "image_size" not in text


def test_a_damaged_run_is_compared_by_what_there_is(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    shutil.copytree(runs / "small", runs / "other")
    run = open_run(runs, "other")
    evaluation_damaged(run)
    altered(run, "outcomes")
    out = tmp_path / "both.html"
    result = tune("report", "small", "other", "--runs-dir", runs, "--out", out)
    assert result.exit_code == 0, result.output
    text = " ".join(" ".join(Outline(out.read_text("utf-8")).text).split())
    assert "test accuracy not yet measured cannot be read" in text


def test_runs_on_other_images_cannot_be_compared(tmp_path: Path) -> None:
    one, two = (
        synthetic_run(tmp_path / name, trials=30, images=images)
        for name, images in (("a", 140), ("b", 168))
    )
    found = compare([read_run_data(one), read_run_data(two)])
    assert not found.same_data
    assert "cannot be compared" in found.common


def test_runs_that_chose_by_the_same_images_are_compared(tmp_path: Path) -> None:
    one = synthetic_run(tmp_path, trials=30, images=280)
    one.journal.close()
    other = without_images(one, tmp_path / "runs", "train", 5)
    found = compare([read_run_data(one), read_run_data(other)])
    assert not found.same_data
    assert found.common.startswith("All runs chose by the same validation images, so")
    assert found.sentence == "many and other are equal on the validation images."
    ahead = [
        dataclasses.replace(side, answer=dataclasses.replace(side.answer, contenders=(lead,)))
        for side, share in zip(found.sides, (30, 10), strict=True)
        for lead in [Contender("it", Proportion.of(share, 40), is_winner=True)]
    ]
    assert "by 50.0 points on the same validation images" in _sentence(ahead, True)
    assert _sentence(ahead, False) == "many leads other by 50.0 points, on other images."


def test_the_same_validation_images_under_other_labels_are_others(tmp_path: Path) -> None:
    one = synthetic_run(tmp_path, trials=30, images=280)
    one.journal.close()
    other = without_images(one, tmp_path / "runs", "train", 0)
    document = json.loads((other.folder / "dataset.json").read_text())
    file = next(file for file in document["files"] if file["split"] == "validation")
    file["label"] = next(name for name in CLASSES if name != file["label"])
    (other.folder / "dataset.json").write_text(json.dumps(document))
    assert "cannot be compared" in compare([read_run_data(one), read_run_data(other)]).common
