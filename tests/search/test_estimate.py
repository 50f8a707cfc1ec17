"""What a search would do: as it would do it, and without leaving a trace in the runs folder."""

import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from search_spaces import resnet50
from tests.support.small_search import write_photos
from tuner.data.dataset import Dataset
from tuner.errors import DataError, SettingsError
from tuner.features.store import FeatureStore
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.search.estimate import Estimate, estimate
from tuner.search.pipeline import run_search
from tuner.settings import SearchFolders, SearchSettings
from tuner.storage.cache import Cache

SECONDS = 1e-9  # for a multiply-accumulate


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_photos(folder, per_class=10)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> SearchFolders:
    return SearchFolders(tmp_path / "runs", tmp_path / "cache")


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch, random_backbone: keras.Model) -> None:
    """A machine of a known speed, and a backbone that is built already."""

    def measure(self: FeatureStore, image_size: int) -> None:
        self._seconds_each = SECONDS

    monkeypatch.setattr(FeatureStore, "measure", measure)
    monkeypatch.setattr(resnet50.ResNet50Space, "build_backbone", lambda self: random_backbone)


@pytest.fixture
def estimated(photos: Path, folders: SearchFolders) -> Any:
    def of(**changes: Any) -> Estimate:
        values = {"data": str(photos), "weights": "none", "image_size": 32, "max_epochs": 9}
        return estimate(SearchSettings(**values | changes), folders)

    return of


class Other(resnet50.ResNet50Space):
    """A space that builds in a way of its own."""

    def build(self, hp: Any) -> Any:
        return super().build(hp)


def test_a_search_is_estimated_and_nothing_is_written(
    photos: Path, tmp_path: Path, folders: SearchFolders
) -> None:
    seen: list[Dataset] = []
    progress: list[str] = []
    settings = SearchSettings(data=str(photos), weights="none", image_size=32, max_epochs=9)
    found = estimate(settings, folders, seen.append, lambda what, *_: progress.append(what))
    assert found.schedule == Schedule(hyperband(9, 3), 1, ("plain head", "blog head"))
    assert found.preparation_seconds is not None
    assert found.training_seconds is not None
    assert found.preparation_seconds > 0
    assert found.training_seconds > found.schedule.total_trials
    assert not folders.runs_dir.exists()
    assert len(seen[0].files) == 30
    assert set(progress) == {"reading images"}


def test_a_slower_machine_takes_longer(monkeypatch: pytest.MonkeyPatch, estimated: Any) -> None:
    fast = estimated()
    monkeypatch.setattr(
        FeatureStore, "measure", lambda self, size: setattr(self, "_seconds_each", 10 * SECONDS)
    )
    slow = estimated()
    assert slow.training_seconds > 2 * fast.training_seconds
    assert slow.schedule == fast.schedule


def test_heads_alone_take_less_than_the_whole_space(estimated: Any) -> None:
    heads = estimated(fixed={"unfreeze_blocks": "0"})
    assert heads.training_seconds < estimated().training_seconds
    assert heads.schedule == estimated().schedule


def test_a_time_budget_shortens_the_schedule(estimated: Any) -> None:
    whole = estimated()
    seconds = whole.training_seconds / 3 + whole.preparation_seconds
    short = estimated(time_budget_seconds=seconds)
    assert short.schedule.total_epochs < whole.schedule.total_epochs
    assert short.schedule == shortened(
        whole.schedule, 3, short.schedule.max_epochs, len(short.schedule.brackets)
    )
    assert short.preparation_seconds + short.training_seconds < seconds
    assert estimated(time_budget_seconds=1e6).schedule == whole.schedule


def test_what_would_be_stored_is_what_a_search_stores(photos: Path, folders: SearchFolders) -> None:
    settings = SearchSettings(
        data=str(photos), weights="none", image_size=32, max_epochs=2, factor=2,
        fixed={"unfreeze_blocks": "0", "head_layers": "0"},
    )  # fmt: skip
    found = estimate(settings, folders)
    run = run_search(settings, "first", folders)
    with Cache(folders.cache_dir) as cache:
        stored = [entry for entry in cache.entries() if entry.kind == "features"]
    # Each has a header and a checksum besides.
    assert 0 < sum(entry.size_bytes for entry in stored) - found.stored_bytes < 300 * len(stored)
    assert len(run.journal.trials()) == found.schedule.total_trials


def test_of_a_space_that_builds_in_its_own_way_only_the_schedule_is_known(
    photos: Path, folders: SearchFolders
) -> None:
    settings = SearchSettings(
        data=str(photos), weights="none", image_size=32, max_epochs=9, space=f"{__name__}:Other"
    )
    found = estimate(settings, folders)
    assert found == Estimate(found.schedule, None, None, 0)
    assert found.schedule.max_epochs == 9


def test_imbalance_is_noted_as_in_a_search(photos: Path, tmp_path: Path, estimated: Any) -> None:
    assert estimated().imbalance is None
    uneven = Path(shutil.copytree(photos, tmp_path / "uneven"))
    for number in range(50):
        pixels = np.full((32, 32, 3), number, np.uint8)
        Image.fromarray(pixels).save(uneven / "red brick" / f"more{number}.png")
    told = estimated(data=str(uneven)).imbalance
    assert re.match(r"Class red brick has 42 training images and class blue sky \d+: ", told), told
    assert "--objective" in told and "--class-weights" in told
    weighted = estimated(
        data=str(uneven), class_weights="balanced", space=f"{__name__}:Other"
    ).imbalance
    assert "--objective" in weighted and "--class-weights" not in weighted


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"data": "/nowhere"}, DataError), ({"fixed": {"depth": "3"}}, SettingsError)],
)
def test_what_a_search_refuses_is_refused(
    estimated: Any, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        estimated(**changes)
