"""Views: fixed, seeded, cached, and only for training."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.repository import ROOT
from tests.support.small_search import write_photos
from tuner.data import views as views_module
from tuner.data.views import MODES, draw_view, prepare_views
from tuner.errors import SettingsError
from tuner.search.pipeline import run_search
from tuner.search.tuner import HyperbandTuner
from tuner.settings import AUGMENTATIONS, SearchFolders, SearchSettings
from tuner.storage.cache import Cache
from tuner.training.rows import Rows
from tuner.training.sources import TrialRows
from tuner.training.trainer import EpochMetrics

SIZE = 32


def smooth_images(count: int) -> np.ndarray:
    """No two alike, no two sides alike, and smooth like photos."""
    random = np.random.default_rng(5)
    small = random.integers(0, 256, (count, 5, 5, 3)).astype(np.uint8)
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
            for image in small
        ]
    )


PIXELS = smooth_images(20)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as cache:
        yield cache


def mirrored(images: np.ndarray) -> np.ndarray:
    return images[..., ::-1, :]


def digest(views: list[np.ndarray]) -> str:
    return hashlib.sha256(np.stack(views).tobytes()).hexdigest()


# A view


def test_flip_gives_the_image_or_its_mirror_by_turns() -> None:
    first = []
    for image in PIXELS:
        views = [draw_view(image, "flip", view) for view in range(4)]
        first.append(np.array_equal(views[0], image))
        for number, view in enumerate(views):
            plain = (number % 2 == 0) == first[-1]
            np.testing.assert_array_equal(view, image if plain else mirrored(image), strict=True)
    assert 0 < sum(first) < len(PIXELS), "the mirrored half would be the same in every epoch"


@pytest.mark.parametrize("size", [1, 2, 33])
def test_flip_is_exact_at_any_size(size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    found = {draw_view(image, "flip", view).tobytes() for view in range(2)}
    assert found == {image.tobytes(), mirrored(image).tobytes()}


@pytest.mark.parametrize("mode", ["light", "strong"])
def test_every_view_is_another_one(mode: str) -> None:
    for image in PIXELS[:5]:
        views = [draw_view(image, mode, view) for view in range(6)]
        assert len({view.tobytes() for view in (image, mirrored(image), *views)}) == 8
        for view in views:
            assert view.shape == image.shape
            assert view.dtype == np.uint8


def distance(mode: str) -> float:
    """Mean distance in levels of a view from its image or from its mirror, whichever is nearer."""
    found = []
    for image in PIXELS:
        for number in range(8):
            view = draw_view(image, mode, number).astype(float)
            found.append(min(np.abs(view - near).mean() for near in (image, mirrored(image))))
    return float(np.mean(found))


def test_a_stronger_mode_goes_further() -> None:
    flip, light, strong = (distance(mode) for mode in ("flip", "light", "strong"))
    assert flip == 0
    assert 2 < light < strong / 1.5
    assert strong < 60, "what is left has nothing to do with the image"


@pytest.mark.parametrize("mode", ["light", "strong"])
def test_half_of_the_views_are_mirrored(mode: str) -> None:
    """The left half is dark, the right half bright."""
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:, SIZE // 2 :] = 200
    random = np.random.default_rng(0)
    for _ in range(5):
        image[0, 0] = random.integers(0, 9, 3)  # another content
        bright = [
            bool(np.diff([half.mean() for half in np.array_split(draw_view(image, mode, n), 2, 1)]))
            and draw_view(image, mode, n)[:, -8:].mean() > draw_view(image, mode, n)[:, :8].mean()
            for n in range(8)
        ]
        assert bright in ([True, False] * 4, [False, True] * 4)


def test_a_view_depends_on_nothing_but_mode_number_and_content() -> None:
    alone = draw_view(PIXELS[7], "strong", 2)
    for other in (3, 7, 1):
        draw_view(PIXELS[other], "light", 0)
    np.testing.assert_array_equal(draw_view(PIXELS[7].copy(), "strong", 2), alone)
    changed = PIXELS[7].copy()
    changed[0, 0, 0] ^= 1
    assert (draw_view(changed, "strong", 2) != alone).mean() > 0.5


def test_a_view_stays_within_the_image() -> None:
    """A grey image has no other colour to show, at its borders either."""
    grey = np.full((SIZE, SIZE, 3), 100, np.uint8)
    for view in range(20):
        drawn = draw_view(grey, "strong", view)
        assert np.ptp(drawn) == 0
        assert 70 <= drawn[0, 0, 0] <= 130  # 30 % darker or brighter


def test_a_view_writes_nothing_into_its_image() -> None:
    image = PIXELS[0].copy()
    image.flags.writeable = False
    draw_view(image, "strong", 1)
    np.testing.assert_array_equal(image, PIXELS[0])


# Views of a set


def test_the_views_of_a_set(cache: Cache) -> None:
    for mode in MODES:
        views = prepare_views(PIXELS, mode, 3, cache)
        assert len(views) == 3
        for number, view in enumerate(views):
            assert view.shape == PIXELS.shape
            assert view.dtype == np.uint8
            assert not view.flags.writeable
            for drawn, image in zip(view, PIXELS, strict=True):
                np.testing.assert_array_equal(drawn, draw_view(image, mode, number))


def test_none_gives_the_pixels_themselves(cache: Cache) -> None:
    (view,) = prepare_views(PIXELS, "none", 1, cache)
    assert view is PIXELS
    assert cache.entries() == []


def test_the_modes_are_those_of_the_settings() -> None:
    assert tuple(AUGMENTATIONS) == ("none", *MODES)


def test_an_unknown_mode_is_refused_with_the_choices(cache: Cache) -> None:
    with pytest.raises(SettingsError, match=r"'mixup'.*none, flip, light, strong"):
        prepare_views(PIXELS, "mixup", 2, cache)
    assert cache.entries() == []


def test_views_are_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def noting(image: np.ndarray, mode: str, view: int) -> np.ndarray:
        drawn.append((mode, view))
        return draw_view(image, mode, view)

    monkeypatch.setattr(views_module, "draw_view", noting)
    first = prepare_views(PIXELS, "light", 2, cache)
    assert len(drawn) == 2 * len(PIXELS)
    assert len(cache.entries()) == 2
    with Cache(cache.folder) as other:
        again = prepare_views(PIXELS, "light", 2, other)
        assert len(drawn) == 2 * len(PIXELS)
        for one, two in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, two)
        more = prepare_views(PIXELS, "light", 3, other)  # the third alone is new
        assert drawn[2 * len(PIXELS) :] == [("light", 2)] * len(PIXELS)
        np.testing.assert_array_equal(more[0], first[0])
    prepare_views(PIXELS, "strong", 1, cache)
    prepare_views(PIXELS[1:], "light", 1, cache)
    assert len(drawn) == 3 * len(PIXELS) + len(PIXELS) + len(PIXELS) - 1


def test_progress_counts_all_views(cache: Cache) -> None:
    seen: list[tuple[str, int, int]] = []
    prepare_views(PIXELS, "flip", 2, cache, lambda *progress: seen.append(progress))
    assert seen == [("drawing views", number + 1, 40) for number in range(40)]


ELSEWHERE = """
import hashlib, sys
from pathlib import Path
import numpy as np
from tuner.data.views import prepare_views
from tuner.storage.cache import Cache
folder = Path(sys.argv[1])
for mode in ("flip", "light", "strong"):
    views = prepare_views(np.load(folder / "pixels.npy"), mode, 3, Cache(folder / "cache"))
    print(hashlib.sha256(np.stack(views).tobytes()).hexdigest())
"""


def test_views_are_the_same_in_every_process(cache: Cache, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "pixels.npy", PIXELS)
    root = ROOT
    finished = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(elsewhere)],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    here = [digest(prepare_views(PIXELS, mode, 3, cache)) for mode in MODES]
    assert finished.stdout.split() == here
    assert len(set(here)) == 3


# In a search


def test_epoch_e_has_view_e_mod_k() -> None:
    source = RecordingSource(3)
    rows = source.rows({})
    assert [int(rows.training(epoch).x[0]) for epoch in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert rows.validation is source.validation


class RecordingSource:
    """Trainers that learn nothing, and write down which view they were given in which epoch."""

    def __init__(self, views: int) -> None:
        label = np.zeros(1, int)
        self.views = [Rows(np.array([number]), label) for number in range(views)]
        self.validation = Rows(np.array([-1]), label)
        self.met: dict[int, list[tuple[int, int]]] = {}

        self.fingerprint = {"images": "noise"}

    def rows(self, hyperparameters: Any) -> TrialRows:
        return TrialRows(self.views, self.validation)

    def epoch_seconds(self, hyperparameters: Any) -> None:
        """Nothing is known."""

    def forget(self) -> None:
        """Nothing is kept."""

    def trainer(self, hyperparameters: Any, trial: int, batch_size: int | None = None) -> Any:
        met = self.met.setdefault(trial, [])
        trainer = SimpleNamespace(parameters=1, model=None, epoch=0, outcomes=lambda: None)

        def run_epoch(training: Rows, validation: Rows) -> EpochMetrics:
            met.append((int(training.x[0]), int(validation.x[0])))
            trainer.epoch += 1
            return EpochMetrics(1.0, 0.5, 1.0, 1 / (trial + 2), 0.5)

        def restore(state: dict[str, np.ndarray]) -> None:
            trainer.epoch = int(state["epoch"])

        trainer.run_epoch, trainer.restore = run_epoch, restore
        trainer.state = lambda final=False: {"epoch": np.array(trainer.epoch)}
        return trainer


def test_a_trial_meets_the_views_by_turns_over_all_its_rungs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> None:
    from search_spaces.resnet50 import ResNet50Space

    source = RecordingSource(3)
    monkeypatch.setattr("tuner.search.components.make_source", lambda *_, **__: source)
    tuner = HyperbandTuner(
        ResNet50Space(3, SIZE, "none"), max_epochs=9, directory=tmp_path, cache=cache
    )
    labels = np.zeros(20, int)
    tuner.search([PIXELS] * 3, labels, validation_data=(PIXELS, labels))
    records = tuner.oracle.records()
    assert max(len(record.rungs) for record in records) == 3  # to epoch 1, 3 and 9
    for record in records:
        expected = [(epoch % 3, -1) for epoch in range(record.epochs)]
        assert source.met[record.id] == expected


def test_a_search_varies_the_training_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def recording(self: Any, x: Any, y: np.ndarray, validation_data: Any) -> None:
        x = [x] if isinstance(x, np.ndarray) else x
        given.update(x=[view.copy() for view in x], validation=np.array(validation_data[0]))

    monkeypatch.setattr(HyperbandTuner, "search", recording)
    write_photos(tmp_path / "photos", per_class=8)
    folders = SearchFolders(tmp_path / "runs", tmp_path / "cache")
    options: dict[str, Any] = {"weights": "none", "image_size": SIZE}
    settings = SearchSettings(str(tmp_path / "photos"), **options)
    run_search(settings, "plain", folders)
    plain = dict(given)
    assert len(plain["x"]) == 1
    run_search(
        SearchSettings(str(tmp_path / "photos"), augment="strong", views=2, **options),
        "varied",
        folders,
    )
    np.testing.assert_array_equal(given["validation"], plain["validation"])
    assert len(given["x"]) == 2
    for number, view in enumerate(given["x"]):
        for drawn, image in zip(view, plain["x"][0], strict=True):
            np.testing.assert_array_equal(drawn, draw_view(image, "strong", number))
