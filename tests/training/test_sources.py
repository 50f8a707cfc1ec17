"""Rows of trials: from features if possible, else from images with a note."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from search_spaces.backbone import PretrainedBackbone, build_backbone
from search_spaces.resnet50 import ResNet50Space
from tuner.data.views import prepare_views
from tuner.features.shards import StoredRows
from tuner.features.store import FeatureStore, RecomputedRows
from tuner.hyperband.pinning import declared_space
from tuner.hyperband.schedule import running_or_promotable
from tuner.observer import Counting, Note, RungBegins, RungEnds, SearchEvent, SearchObserver
from tuner.runs.checkpoint import state_file
from tuner.runs.records import TrialRecord
from tuner.search.tuner import HyperbandTuner
from tuner.storage.atomic import read_arrays
from tuner.storage.cache import Cache
from tuner.training.rows import Rows
from tuner.training.sources import FromFeatures, FromImages, Images

CLASSES, SIZE, BATCH = 3, 32, 16
TRAINING, VALIDATION = 70, 40
SPACE = ResNet50Space(CLASSES, SIZE, "none")
HEAD = {"unfreeze_blocks": 0, "head_layers": 0, "dropout": 0.1, "l2": 1e-4, "learning_rate": 1e-3}
BLOCK = HEAD | {"unfreeze_blocks": 1, "backbone_lr_factor": 0.1}


@pytest.fixture(scope="module")
def pretrained() -> PretrainedBackbone:
    return PretrainedBackbone(build_backbone(SIZE, "none"))


@pytest.fixture(scope="module")
def images(digits: tuple[np.ndarray, np.ndarray]) -> Images:
    """Digits under so much noise that scores differ."""
    x, y = digits
    chosen = np.flatnonzero(y < CLASSES)[: TRAINING + VALIDATION]
    noise = np.random.default_rng(0).normal(0, 90, (len(chosen), SIZE, SIZE, 3))
    x, y = (x[chosen] + noise).clip(0, 255).astype(np.uint8), y[chosen]
    return Images([x[:TRAINING]], y[:TRAINING], Rows(x[TRAINING:], y[TRAINING:]))


class Diary(SearchObserver):
    def __init__(self, on_rung: Callable[[], None] = lambda: None) -> None:
        self.notes: list[str] = []
        self.counted: dict[str, list[tuple[int, int]]] = {}
        self.on_rung = on_rung

    def on_event(self, event: SearchEvent) -> None:
        match event:
            case Note(text):
                self.notes.append(text)
            case Counting(what, done, count):
                self.counted.setdefault(what, []).append((done, count))
            case RungBegins():
                self.on_rung()


def searched(
    folder: Path,
    images: Images,
    space: keras_tuner.HyperModel = SPACE,
    cache: Cache | None = None,
    **options: Any,
) -> HyperbandTuner:
    tuner = HyperbandTuner(
        space,
        batch_size=BATCH,
        directory=folder,
        cache=cache or Cache(folder / "cache"),
        **{"max_epochs": 3, **options},
    )
    tuner.search(
        images.views, images.labels, validation_data=(images.validation.x, images.validation.y)
    )
    return tuner


def without_seconds(tuner: HyperbandTuner) -> list[TrialRecord]:
    return [
        dataclasses.replace(
            record, rungs=tuple(dataclasses.replace(rung, seconds=0.0) for rung in record.rungs)
        )
        for record in tuner.oracle.records()
    ]


def source_of(
    images: Images, cache: Cache, backbone: PretrainedBackbone, **epochs: float
) -> FromFeatures:
    expected = {int(name.removeprefix("depth")): count for name, count in epochs.items()}
    return FromFeatures(SPACE, backbone, images, cache, expected, batch_size=BATCH, seed=3)


# From features


def test_rows_are_the_features_at_the_trials_own_cut(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    with Cache(tmp_path) as cache:
        source = source_of(images, cache, pretrained, depth0=1000.0)
        assert source.stored == (0,)
        store = FeatureStore(pretrained.lend(0), cache)
        store.stored = ()
        for values, kind in ((HEAD, StoredRows), (BLOCK, RecomputedRows)):
            cut = int(values["unfreeze_blocks"])
            rows = source.rows(values)
            (view,) = rows.views
            assert isinstance(view.x, kind)
            assert isinstance(rows.validation.x, kind)
            np.testing.assert_array_equal(
                view.x[:], store.open(images.views[0]).rows(cut)[:], strict=True
            )
            np.testing.assert_array_equal(
                rows.validation.x[:], store.open(images.validation.x).rows(cut)[:], strict=True
            )
            np.testing.assert_array_equal(view.y, images.labels)
            np.testing.assert_array_equal(rows.validation.y, images.validation.y)
            trainer = source.trainer(values, 0)
            assert trainer.epoch == 0
            assert trainer.model.input_shape[1:] == view.x.shape[1:]


def test_every_view_has_its_features_and_validation_is_plain(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    with Cache(tmp_path) as cache:
        views = prepare_views(images.views[0], "strong", 3, cache)
        source = source_of(
            dataclasses.replace(images, views=views), cache, pretrained, depth0=1000.0
        )
        rows = source.rows(HEAD)
        assert len(rows.views) == 3
        store = FeatureStore(pretrained.lend(0), cache)
        for view, features in zip(views, rows.views, strict=True):
            np.testing.assert_array_equal(features.x[:], store.open(view).rows(0)[:])
        plain = store.open(images.validation.x).rows(0)[:]
        np.testing.assert_array_equal(rows.validation.x[:], plain)
        assert [rows.views.index(rows.training(epoch)) for epoch in (0, 2, 3)] == [0, 2, 0]


def test_trials_have_seeds_of_their_own(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    with Cache(tmp_path) as cache:
        source = source_of(images, cache, pretrained, depth0=1000.0)
        kernels = [
            source.trainer(HEAD, trial).model.get_layer("head_logits").kernel.numpy()
            for trial in (0, 1, 0)
        ]
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert (kernels[0] != kernels[1]).all()


def test_what_is_stored_keeps_to_the_limit(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    """Padding included: 70 and 40 images take 96 and 64 rows."""
    depths = {f"depth{cut}": 1e9 for cut in (3, 1, 0)}
    with Cache(tmp_path / "all") as cache:
        assert source_of(images, cache, pretrained, **depths).stored[-3:] == (3, 1, 0)
        everything = sum(entry.size_bytes for entry in cache.entries())
    for share in (0.3, 1.0):
        limit = int(share * everything)
        with Cache(tmp_path / f"limited {share}", limit) as cache:
            stored = source_of(images, cache, pretrained, **depths).stored
            used = sum(entry.size_bytes for entry in cache.entries())
        assert used <= limit
        assert stored


# A whole search


def test_a_search_from_features_says_what_it_counts_and_nothing_else(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    diary = Diary()
    options: dict[str, Any] = {
        "max_epochs": 1,
        "backbone": pretrained,
        "observer": diary,
        "fixed": {"unfreeze_blocks": "0", "head_layers": "0"},
    }
    searched(tmp_path, images, project_name="one", **options)
    # One epoch would not pay for its features, but the schedule has more than one.
    assert diary.notes == []
    assert diary.counted == {
        "training features": [(TRAINING, TRAINING)],
        "validation features": [(VALIDATION, VALIDATION)],
    }
    searched(tmp_path, images, project_name="two", **options)
    assert len(diary.counted["training features"]) == 1  # they were there


def test_the_cache_changes_no_result_of_a_search(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    """Without any room, and with a folder that is deleted while the search runs."""
    folder = tmp_path / "cache"
    results = {}
    for name, limit, observer in (
        ("no room", 0, Diary()),
        ("deleted", None, Diary(lambda: shutil.rmtree(folder, ignore_errors=True))),
    ):
        tuner = searched(
            tmp_path / name,
            images,
            cache=Cache(folder / name, limit),
            backbone=pretrained,
            observer=observer,
            fixed={
                "unfreeze_blocks": "0",
                "head_layers": "1",
                "head_width": "128",
                "head_batchnorm": "True",
            },
        )
        results[name] = without_seconds(tuner)
        assert bool(observer.counted) == (name != "no room")
    assert not folder.exists()
    assert results["deleted"] == results["no room"]
    assert len({record.score for record in results["no room"]}) > 2


# From images


class ForeignSpace(keras_tuner.HyperModel):
    """Another network altogether."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        width = hp.Choice("width", [4, 8, 16])
        rate = hp.Float("rate", 1e-3, 1e-2, sampling="log")
        inputs = keras.Input((SIZE, SIZE, 3))
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.AveragePooling2D(8)(x)
        x = keras.layers.Dense(width, activation="relu")(keras.layers.Flatten()(x))
        model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        return model


def test_a_foreign_space_trains_from_images_with_a_note(tmp_path: Path, images: Images) -> None:
    diary = Diary()
    tuner = searched(tmp_path, images, space=ForeignSpace(), observer=diary)
    (note,) = diary.notes
    assert "ForeignSpace" in note
    assert "every epoch computes the whole network" in note
    assert len(note.splitlines()) == 1
    assert diary.counted == {}
    assert isinstance(tuner._source, FromImages)
    assert not (tmp_path / "cache" / "entries" / "features").exists()
    winner = tuner.oracle.winner()
    assert winner is not None
    assert winner.epochs == 3


def test_from_images_gives_the_images_themselves(images: Images) -> None:
    space = ForeignSpace()
    views = [images.views[0], images.views[0][..., ::-1, :]]
    source = FromImages(
        space, declared_space(space), dataclasses.replace(images, views=views),
        batch_size=BATCH, seed=0,
    )  # fmt: skip
    values = {"width": 8, "rate": 1e-3}
    rows = source.rows(values)
    assert [view.x is given for view, given in zip(rows.views, views, strict=True)] == [True, True]
    assert rows.validation is images.validation
    assert source.trainer(values, 0).parameters == 48 * 8 + 8 + 8 * CLASSES + CLASSES
    kernels = [source.trainer(values, trial).model.get_weights()[0] for trial in (0, 1, 0)]
    np.testing.assert_array_equal(kernels[0], kernels[2])
    assert (kernels[0] != kernels[1]).any()


def from_images(images: Images) -> FromImages:
    space = ForeignSpace()
    return FromImages(space, declared_space(space), images, batch_size=BATCH, seed=0)


def changed(images: Images, part: str) -> Images:
    """The same images but for one pixel or label."""
    views, labels = [images.views[0].copy()], images.labels.copy()
    x, y = images.validation.x.copy(), images.validation.y.copy()
    array = {"pixels": views[0], "labels": labels, "validation": x, "validation labels": y}[part]
    array.flat[-1] ^= 1
    return Images(views, labels, Rows(x, y))


@pytest.mark.parametrize("part", ["pixels", "labels", "validation", "validation labels"])
def test_the_fingerprint_is_that_of_images_and_labels(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images, part: str
) -> None:
    other, moved = changed(images, part), changed(changed(images, part), part)
    assert from_images(images).fingerprint == from_images(moved).fingerprint
    assert from_images(images).fingerprint["images"] != from_images(other).fingerprint["images"]
    with Cache(tmp_path) as cache:
        ours, same, others = (
            source_of(given, cache, pretrained, depth0=1.0).fingerprint
            for given in (images, moved, other)
        )
    assert ours == same
    assert ours["images"] != others["images"]
    assert ours["weights"] == others["weights"] != ""


def test_the_fingerprint_does_not_depend_on_what_is_stored(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    fingerprints = []
    for limit in (0, None):
        with Cache(tmp_path, limit) as cache:
            source = source_of(images, cache, pretrained, depth0=1000.0)
            fingerprints.append((len(source.stored), source.fingerprint))
    (few, one), (many, other) = fingerprints
    assert few < many
    assert one == other


def test_an_epoch_takes_longer_the_more_of_it_is_trained(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    with Cache(tmp_path) as cache:
        source = source_of(images, cache, pretrained, depth0=1000.0, depth1=1000.0)
        wide = HEAD | {"head_layers": 1, "head_width": 2048, "head_batchnorm": False}
        deep = BLOCK | {"unfreeze_blocks": 16}
        seconds = {
            name: source.epoch_seconds(values)
            for name, values in (("head", HEAD), ("wide", wide), ("block", BLOCK), ("deep", deep))
        }
    assert seconds["head"] < seconds["wide"]
    assert seconds["head"] < seconds["block"] < seconds["deep"]
    assert from_images(images).epoch_seconds({"width": 8, "rate": 1e-3}) is None


class ChangedSpace(ResNet50Space):
    """Ours with another network in it, which the suffix knows nothing of."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        self.declare_hyperparameters(hp)
        return ForeignSpace().build(keras_tuner.HyperParameters())


def test_a_space_that_builds_its_own_network_gets_it(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    diary = Diary()
    tuner = searched(
        tmp_path, images, space=ChangedSpace(CLASSES, SIZE, "none"), observer=diary,
        backbone=pretrained, max_epochs=1, fixed={"unfreeze_blocks": "0", "head_width": "128"},
    )  # fmt: skip
    assert isinstance(tuner._source, FromImages)
    assert diary.notes


# What stays on disk


class StateWatcher(SearchObserver):
    """Record the checkpoints on disk after each rung."""

    tuner: HyperbandTuner

    def __init__(self, run: Path) -> None:
        self.run = run
        self.looked = 0
        self.dropped = 0

    def on_event(self, event: SearchEvent) -> None:
        if not isinstance(event, RungEnds):
            return
        oracle = self.tuner.oracle
        records = oracle.records()
        on_disk = states_below(self.run)
        needed = {record.id for record in records if record.recipe}
        needed |= running_or_promotable(oracle.schedule, oracle.standings(records))
        assert event.best is not None
        assert on_disk == {*needed, event.best.id}
        self.looked += 1
        self.dropped += len(records) - len(on_disk)


def states_below(run: Path) -> set[int]:
    return {int(path.parent.name) for path in (run / "trials").rglob("state.npz")}


@pytest.mark.parametrize(
    ("keep", "fixed"),
    [(1, {"head_width": "256", "head_layers": "1"}), (3, {"head_width": "128"})],
    ids=["the winner", "three and a recipe"],
)
def test_states_that_nothing_can_need_are_deleted(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images, keep: int, fixed: dict[str, str]
) -> None:
    run = tmp_path / "search"
    watcher = StateWatcher(run)
    tuner = HyperbandTuner(
        SPACE, batch_size=BATCH, directory=tmp_path, cache=Cache(tmp_path / "cache"), keep=keep,
        max_epochs=9, fixed={"unfreeze_blocks": "0", **fixed},
        backbone=pretrained, observer=watcher if keep == 1 else None,
    )  # fmt: skip
    watcher.tuner = tuner
    tuner.search(
        images.views, images.labels, validation_data=(images.validation.x, images.validation.y)
    )
    records = tuner.oracle.records()
    recipes = {record.id for record in records if record.recipe}
    best = {int(trial.trial_id) for trial in tuner.oracle.get_best_trials(keep)}
    assert len(best) == keep
    assert len(recipes) == (keep == 3)
    assert states_below(run) == recipes | best
    assert {path.name for path in (run / "trials").iterdir()} == {
        f"{number:04d}" for number in recipes | best
    }
    if keep == 3:
        return
    assert watcher.looked == sum(len(record.rungs) for record in records)
    assert watcher.dropped > 0
    winner = tuner.oracle.winner()
    assert winner is not None
    state = state_file(run, winner.id)
    hidden = 2048 * 256 * 4
    assert hidden < state.stat().st_size < 1.02 * hidden  # 2 MB, no optimizer's slots
    arrays = read_arrays(state)
    assert not any(name.startswith("optimizer/") for name in arrays)
    assert not any("conv" in name for name in arrays)
    assert int(arrays["epoch"]) == 9


def test_a_trial_that_may_go_on_keeps_its_slots(
    tmp_path: Path, pretrained: PretrainedBackbone, images: Images
) -> None:
    seen: list[list[str]] = []

    class Looking(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if not isinstance(event, RungEnds):
                return
            path = state_file(tmp_path / "search", event.trial.id)
            if event.trial.epochs < 3 and path.exists():
                seen.append([name for name in read_arrays(path) if name.startswith("optimizer/")])

    searched(
        tmp_path, images, backbone=pretrained, observer=Looking(),
        fixed={"unfreeze_blocks": "0", "head_layers": "0"},
    )  # fmt: skip
    assert seen
    assert all(len(slots) >= 2 + 2 * 2 for slots in seen)
