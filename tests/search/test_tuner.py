"""A whole search with a small network: training, checkpoints, events, results."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces.backbone import PretrainedBackbone
from search_spaces.optimizer import TransferAdam
from search_spaces.resnet50 import ResNet50Space
from tests.support.stand_in import Arithmetic, Space, StandIn
from tuner.errors import (
    DamagedJournalError,
    DataError,
    RunError,
    SettingsError,
    StoppedError,
    TuneError,
)
from tuner.hyperband import time_budget as budget_module
from tuner.hyperband import time_left as time_left_module
from tuner.hyperband.schedule import Schedule, shortened
from tuner.interrupt import StopRequest
from tuner.observer import (
    Counting,
    EpochEnds,
    Note,
    RungBegins,
    RungEnds,
    SearchBegins,
    SearchEnds,
    SearchEvent,
    SearchObserver,
    TimeLeft,
)
from tuner.runs.checkpoint import read_checkpoint, state_file
from tuner.runs.journal import Journal
from tuner.runs.lock import sole_writer
from tuner.runs.ranking import rank
from tuner.runs.records import COMPLETED, FAILED, RUNNING, STOPPED, TrialRecord
from tuner.search import components
from tuner.search import rung as rung_module
from tuner.search.tuner import HyperbandTuner
from tuner.storage.cache import Cache
from tuner.training.rows import Rows
from tuner.training.sources import trial_seed
from tuner.training.trainer import EpochMetrics, Trainer

CLASSES = 3


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy 8 x 8 images; the brightest colour is the class."""
    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, count)
    x = random.normal(128, 40, (count, 8, 8, 3))
    x[np.arange(count), :, :, y] += 12
    return x.clip(0, 255).astype(np.uint8), y


X, Y = images(70, seed=1)
VALIDATION = images(60, seed=2)


class SmallSpace(keras_tuner.HyperModel):
    """Heads on the pixels themselves; some kinds of network cannot be built, or diverge."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self.kinds = list(kinds)

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        hp.Int("width", 4, 64)
        hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        hp.Choice("kind", self.kinds)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        self.declare_hyperparameters(hp)
        if hp["kind"] == "raises":
            raise ValueError(f"no network of {hp['width']} units")
        initializer = keras.initializers.GlorotUniform(hp["width"])
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Rescaling(1 / 128, -1, name="rescaling")(inputs)
        if hp["kind"] == "diverges":
            x = keras.layers.Rescaling(np.nan, name="spoiling")(x)
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(hp["width"], kernel_initializer=initializer, name="head_dense_1")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name="head_batchnorm_1")(x)
        x = keras.layers.Dropout(0.2, seed=1, name="head_dropout")(x)
        outputs = keras.layers.Dense(
            CLASSES, activation="softmax", kernel_initializer=initializer, name="head_logits"
        )(x)
        model = keras.Model(inputs, outputs)
        model.compile(
            TransferAdam(hp["learning_rate"]),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model


class Diary(SearchObserver):
    """Keeps every event but the estimates of the time left."""

    def __init__(self) -> None:
        self.events: list[SearchEvent] = []

    def on_event(self, event: SearchEvent) -> None:
        if not isinstance(event, Counting | TimeLeft):
            self.events.append(event)


def searched(folder: Path, *kinds: str, **options: Any) -> HyperbandTuner:
    tuner = HyperbandTuner(
        SmallSpace(*kinds or ("sound",)),
        batch_size=16,
        directory=folder,
        cache=Cache(folder / "cache"),
        **options,
    )
    tuner.search(X, Y, validation_data=VALIDATION)
    return tuner


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    photo = tmp_path / "photos" / "cat.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"dear")
    for name in ("photos", ""):
        with pytest.raises(RunError, match="is not a run"):
            HyperbandTuner(
                SmallSpace("sound"), directory=tmp_path, project_name=name, overwrite=overwrite
            )
    assert photo.read_bytes() == b"dear"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "val_f1"},
        {"factor": 1},
        {"max_epochs": 0},
        {"batch_size": 0},
        {"class_weights": "uniform"},
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        HyperbandTuner(SmallSpace("sound"), directory=tmp_path, **options)
    assert not list(tmp_path.iterdir())


def without_seconds(records: list[TrialRecord]) -> list[TrialRecord]:
    return [
        dataclasses.replace(
            record, rungs=tuple(dataclasses.replace(rung, seconds=0.0) for rung in record.rungs)
        )
        for record in records
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def diary() -> Diary:
    return Diary()


@pytest.fixture(scope="module")
def tuner(folder: Path, diary: Diary) -> HyperbandTuner:
    """A search that has ended: 5 trials to 2 epochs, 2 of them to 4; 3 trials to 4."""
    return searched(folder, max_epochs=4, keep=3, observer=diary)


def test_the_records_of_a_search(tuner: HyperbandTuner, folder: Path) -> None:
    records = tuner.oracle.records()
    assert [record.id for record in records] == list(range(8))
    assert [record.bracket for record in records] == [1] * 5 + [0] * 3
    assert Counter(record.status for record in records) == {COMPLETED: 5, STOPPED: 3}
    spans = [[(rung.start_epoch, rung.end_epoch) for rung in r.rungs] for r in records]
    assert Counter(map(tuple, spans)) == {((0, 2),): 3, ((0, 2), (2, 4)): 2, ((0, 4),): 3}
    first_rung = sorted(records[:5], key=lambda record: (-record.rungs[0].score, record.id))
    assert {record.id for record in first_rung[:2]} == {
        record.id for record in records[:5] if record.status == COMPLETED
    }
    for record in records:
        # Dense and its bias, BatchNorm's gamma and beta, the output layer
        assert record.parameters == record.hyperparameters["width"] * (192 + 1 + 2 + 3) + 3
        assert record.seconds > 0
    reader = Journal.open(folder / "search" / "journal.db", read_only=True)
    assert reader.trials() == records
    for record in records:
        epochs = reader.epochs(record.id)
        assert len(epochs) == record.epochs
        assert [epochs[rung.end_epoch - 1]["val_accuracy"] for rung in record.rungs] == [
            rung.score for rung in record.rungs
        ]
    reader.close()


def test_there_is_something_to_choose_between(tuner: HyperbandTuner) -> None:
    scores = {record.score for record in tuner.oracle.records()}
    assert len(scores) > 3
    winner = tuner.oracle.winner()
    assert winner is not None
    assert winner.score is not None
    assert winner.score > 0.6


def test_the_best_model_has_the_accuracy_that_won(tuner: HyperbandTuner) -> None:
    ranking = rank(tuner.oracle.records(), "max")
    models = tuner.get_best_models(3)
    assert len(models) == 3
    for model, record in zip(models, ranking, strict=False):
        x, y = VALIDATION
        _, accuracy = model.evaluate(x, y, batch_size=16, verbose=0)
        assert accuracy == pytest.approx(record.score, abs=1e-6)
    assert ranking[0] == tuner.oracle.winner()


def test_the_best_hyperparameters(tuner: HyperbandTuner) -> None:
    ranking = rank(tuner.oracle.records(), "max")
    best = tuner.get_best_hyperparameters(100)
    assert [hyperparameters.values for hyperparameters in best] == [
        record.hyperparameters for record in ranking
    ]
    assert tuner.hypermodel.build(best[0]).count_params() > 0


def test_the_summary(tuner: HyperbandTuner, capsys: pytest.CaptureFixture[str]) -> None:
    tuner.results_summary(2)
    printed = capsys.readouterr().out
    ranking = rank(tuner.oracle.records(), "max")
    for record in ranking[:2]:
        assert f"Trial {record.id:04d} summary" in printed
        assert f"Score: {record.score}" in printed
    assert f"Trial {ranking[2].id:04d} summary" not in printed


def test_only_the_best_keep_their_weights(tuner: HyperbandTuner, folder: Path) -> None:
    run = folder / "search"
    files = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    states = {path for path in files if path.parts[0] == "trials"}
    best = rank(tuner.oracle.records(), "max")[:3]
    assert states == {state_file(run, record.id).relative_to(run) for record in best}
    summaries = {path for path in files if path.name.startswith("events.out.tfevents")}
    assert {path.name for path in files - states - summaries} <= {
        "journal.db", "journal.db-wal", "journal.db-shm", "lock",
    }  # fmt: skip


def test_weights_that_were_not_kept_are_a_run_error(tuner: HyperbandTuner) -> None:
    with pytest.raises(RunError):
        tuner.get_best_models(4)


def test_events_arrive_in_order(tuner: HyperbandTuner, diary: Diary) -> None:
    events = iter(diary.events)
    note = next(events)
    assert isinstance(note, Note)
    assert "every epoch computes the whole network" in note.text
    # nothing is done before, and nothing is known of what an epoch of this space takes
    assert next(events) == SearchBegins(tuner.oracle.schedule)
    rungs: dict[int, list[tuple[int, int]]] = {}
    for event in events:
        if not isinstance(event, RungBegins):
            break
        trial, end = event.trial, event.end_epoch
        assert trial.status == RUNNING
        assert [(rung.start_epoch, rung.end_epoch) for rung in trial.rungs] == rungs.get(
            trial.id, []
        )
        for epoch in range(trial.epochs + 1, end + 1):
            epoch_ends = next(events)
            assert isinstance(epoch_ends, EpochEnds)
            assert (epoch_ends.trial, epoch_ends.epoch) == (trial, epoch)
        rung_ends = next(events)
        assert isinstance(rung_ends, RungEnds) and rung_ends.best is not None
        ended, best = rung_ends.trial, rung_ends.best
        assert (ended.id, ended.epochs) == (trial.id, end)
        assert ended.score == epoch_ends.metrics.val_accuracy
        assert best.epochs >= ended.epochs
        rungs.setdefault(trial.id, []).append((trial.epochs, end))
    assert best == tuner.oracle.winner()
    assert event == SearchEnds(tuple(tuner.oracle.records()))
    assert next(events, None) is None
    assert {number: len(done) for number, done in rungs.items()} == {
        record.id: len(record.rungs) for record in tuner.oracle.records()
    }


def test_the_same_seed_finds_the_same(tuner: HyperbandTuner, tmp_path: Path) -> None:
    again = searched(tmp_path, max_epochs=4)
    assert without_seconds(again.oracle.records()) == without_seconds(tuner.oracle.records())


def test_an_existing_run_is_refused_and_left_alone(tuner: HyperbandTuner, folder: Path) -> None:
    before = tuner.oracle.records()
    with pytest.raises(RunError, match=r"search exists\. .* overwrite=True"):
        HyperbandTuner(SmallSpace("sound"), directory=folder)
    assert tuner.oracle.records() == before
    assert list((folder / "search").glob("trials/*/state.npz"))


def test_overwrite_replaces_a_run(tmp_path: Path) -> None:
    searched(tmp_path, max_epochs=1)
    stray = tmp_path / "search" / "trials" / "0099"
    stray.mkdir()
    fresh = HyperbandTuner(SmallSpace("sound"), directory=tmp_path, overwrite=True)
    assert fresh.oracle.records() == []
    assert not stray.exists()
    assert not list(tmp_path.rglob("state.npz"))


def test_overwrite_takes_a_new_name_too(tmp_path: Path) -> None:
    fresh = HyperbandTuner(
        SmallSpace("sound"), directory=tmp_path / "a", project_name="b", overwrite=True
    )
    assert fresh.oracle.records() == []
    assert (tmp_path / "a" / "b" / "journal.db").exists()


def test_a_bad_pin_makes_no_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no hyperparameter 'depth'"):
        HyperbandTuner(SmallSpace("sound"), directory=tmp_path, fixed={"depth": "1"})
    assert list(tmp_path.iterdir()) == []


def test_failed_trials_are_reported_and_replaced(tmp_path: Path) -> None:
    diary = Diary()
    # 3 trials to 1 epoch, 1 of them to 3; 2 trials to 3
    tuner = searched(tmp_path, "sound", "raises", "diverges", max_epochs=3, seed=4, observer=diary)
    records = tuner.oracle.records()
    kinds = Counter(record.hyperparameters["kind"] for record in records)
    assert kinds["sound"] == 5
    assert kinds["raises"]
    assert kinds["diverges"]
    for record in records:
        if record.hyperparameters["kind"] == "sound":
            assert record.status in (STOPPED, COMPLETED)
            assert record.message is None
        else:
            width = record.hyperparameters["width"]
            assert (record.status, record.rungs) == (FAILED, ())
            assert record.message == (
                f"no network of {width} units"
                if record.hyperparameters["kind"] == "raises"
                else "the loss became NaN or infinite in epoch 1"
            )
    told = [event.trial for event in diary.events if isinstance(event, RungEnds)]
    assert [record for record in told if record.status == FAILED] == [
        record for record in records if record.status == FAILED
    ]
    spans = Counter(
        (rung.start_epoch, rung.end_epoch) for record in records for rung in record.rungs
    )
    assert spans == {(0, 1): 3, (1, 3): 1, (0, 3): 2}
    assert all(
        trial.hyperparameters["kind"] == "sound" for trial in tuner.oracle.get_best_trials(9)
    )


def test_a_promotion_that_fails_goes_to_the_next_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore, calls = Trainer.restore, []

    def failing_once(trainer: Trainer, state: dict[str, np.ndarray]) -> None:
        calls.append(trainer)
        if len(calls) == 1:
            raise RuntimeError("the disk is gone")
        restore(trainer, state)

    monkeypatch.setattr(Trainer, "restore", failing_once)
    tuner = searched(tmp_path, max_epochs=3)
    first, second, third = sorted(
        tuner.oracle.records()[:3], key=lambda record: (-record.rungs[0].score, record.id)
    )
    assert (first.status, first.message) == (FAILED, "the disk is gone")
    assert (second.status, second.epochs) == (COMPLETED, 3)
    assert (third.status, third.epochs) == (STOPPED, 1)
    assert first.epochs == 1
    assert tuner.oracle.winner() != first


def test_an_interruption_ends_the_search_and_keeps_what_is_done(tmp_path: Path) -> None:
    class Impatient(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, RungBegins) and event.trial.id == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, max_epochs=3, observer=Impatient())
    reader = Journal.open(tmp_path / "search" / "journal.db", read_only=True)
    assert [record.status for record in reader.trials()] == [STOPPED, STOPPED, RUNNING]
    assert reader.trial(2).message is None
    reader.close()


def test_the_least_loss_wins(tmp_path: Path) -> None:
    tuner = searched(tmp_path, max_epochs=3, objective="val_loss", fixed={"width": "8"})
    records = tuner.oracle.records()
    assert {record.hyperparameters["width"] for record in records} == {8}
    first = records[:3]
    promoted = min(first, key=lambda record: record.rungs[0].score)
    assert [record.id for record in first if record.status == COMPLETED] == [promoted.id]
    full = [record for record in records if record.status == COMPLETED]
    winner = tuner.oracle.winner()
    assert winner == min(full, key=lambda record: record.rungs[-1].score)
    model = tuner.get_best_models()[0]
    x, y = VALIDATION
    loss, _ = model.evaluate(x, y, batch_size=16, verbose=0)
    assert loss == pytest.approx(winner.score, abs=1e-5)


def test_the_best_mean_over_the_classes_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: type[StandIn]
) -> None:
    """Here it is the trial with the least accuracy."""
    run_epoch = Arithmetic.run_epoch

    def opposite(self: Arithmetic, training: Rows, validation: Rows) -> EpochMetrics:
        metrics = run_epoch(self, training, validation)
        return dataclasses.replace(metrics, val_balanced_accuracy=1 - metrics.val_accuracy)

    monkeypatch.setattr(Arithmetic, "run_epoch", opposite)
    tuner = arithmetically(tmp_path, objective="val_balanced_accuracy")
    reader = Journal.open(tmp_path / "search" / "journal.db", read_only=True)
    full = [record for record in reader.trials() if record.epochs == 9]
    accuracies = {record.id: reader.epochs(record.id)[-1]["val_accuracy"] for record in full}
    winner = tuner.oracle.winner()
    assert winner is not None
    assert winner.id == min(accuracies, key=lambda number: accuracies[number])
    assert winner.score == 1 - accuracies[winner.id] != 0.5


def test_balanced_weights_are_those_of_the_training_labels(tmp_path: Path) -> None:
    few = np.flatnonzero((Y != 1) | (np.arange(len(Y)) % 4 == 0))
    results = []
    for class_weights in ("none", "balanced"):
        tuner = HyperbandTuner(
            SmallSpace("sound"), batch_size=16, directory=tmp_path / class_weights, max_epochs=1,
            cache=Cache(tmp_path / "cache"), class_weights=class_weights,
        )  # fmt: skip
        tuner.search(X[few], Y[few], validation_data=VALIDATION)
        trainer = tuner._source.trainer(tuner.oracle.record(0).hyperparameters, 0)
        results.append(trainer._class_weights)
    assert results[0] is None
    counts = np.bincount(Y[few])
    np.testing.assert_allclose(results[1], len(few) / (CLASSES * counts), rtol=1e-6)


def test_a_dataset_is_searched_as_its_arrays_are(tmp_path: Path) -> None:
    found = []
    validation = tf.data.Dataset.from_tensor_slices(VALIDATION).batch(7)
    training = tf.data.Dataset.from_tensor_slices((X.astype("float32"), np.eye(CLASSES)[Y]))
    for arguments in ((X, Y, VALIDATION), (training, None, validation)):
        folder = tmp_path / str(len(found))
        tuner = HyperbandTuner(
            SmallSpace("sound"), batch_size=16, directory=folder, max_epochs=2,
            cache=Cache(tmp_path / "cache"),
        )  # fmt: skip
        tuner.search(*arguments)
        found.append((memory(folder / "search"), tuner._source.fingerprint))
    assert found[0] == found[1]


def test_invalid_images_are_refused_before_training(tmp_path: Path) -> None:
    tuner = HyperbandTuner(
        ResNet50Space(CLASSES, 32, "none"), directory=tmp_path, cache=Cache(tmp_path / "cache")
    )
    images = X.repeat(4, axis=1).repeat(4, axis=2)
    for x, y, validation, expected in (
        (images / 255, Y, VALIDATION, "x must hold whole RGB values"),
        (images, Y, (images / 255, Y), "validation_data must hold whole RGB values"),
        (images, Y + 1, VALIDATION, "x has the class number 3, but the space has 3 classes"),
        (images, Y, VALIDATION, "validation_data has images of 8 x 8 pixels, but .* 32 x 32"),
        (images, Y, None, "validation_data must be a pair"),
    ):
        with pytest.raises(DataError, match=expected):
            tuner.search(x, y, validation)
    assert tuner.oracle.records() == []


class EnoughError(Exception):
    """Ends a search that would go on for ever."""


def test_a_search_in_which_everything_fails_ends_with_the_reason(tmp_path: Path) -> None:
    class Patient(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, RungEnds) and event.trial.id == 100:
                raise EnoughError

    with pytest.raises(TuneError, match="no network of"):
        searched(tmp_path, "raises", max_epochs=3, observer=Patient())


class PlainSpace(keras_tuner.HyperModel):
    """As most people write one: no names, no seeds, no declaration apart from `build`."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Rescaling(1 / 128, -1),
                keras.layers.Flatten(),
                keras.layers.Dense(hp.Int("width", 4, 64), activation="relu"),
                keras.layers.Dense(CLASSES, activation="softmax"),
            ]
        )
        model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


def plainly_searched(folder: Path, max_epochs: int) -> list[TrialRecord]:
    tuner = HyperbandTuner(
        PlainSpace(),
        max_epochs=max_epochs,
        batch_size=16,
        directory=folder,
        cache=Cache(folder / "cache"),
    )
    tuner.search(X, Y, validation_data=VALIDATION)
    return tuner.oracle.records()


def test_an_ordinary_space_can_be_searched(tmp_path: Path) -> None:
    records = plainly_searched(tmp_path, 3)
    assert [record.message for record in records] == [None] * 5


def test_the_seed_decides_the_weights_of_an_ordinary_space(tmp_path: Path) -> None:
    one, other = plainly_searched(tmp_path / "a", 1), plainly_searched(tmp_path / "b", 1)
    epochs = [
        Journal.open(tmp_path / name / "search" / "journal.db").epochs(0) for name in ("a", "b")
    ]
    assert one[0].hyperparameters == other[0].hyperparameters
    assert epochs[0] == epochs[1]


def test_neighbouring_searches_share_no_seed() -> None:
    seeds = {trial_seed(search, trial) for search in range(50) for trial in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**31 for seed in seeds)


# Going on


def memory(folder: Path) -> dict[str, Any]:
    """All that a run remembers but the time that it took, to be compared bit for bit."""
    journal = Journal.open(folder / "journal.db", read_only=True)
    records = journal.trials()
    epochs = [journal.epochs(record.id) for record in records]
    outcomes = [
        [journal.outcomes(record.id, rung) for rung in range(len(record.rungs))]
        for record in records
    ]
    journal.close()
    states = {
        path.parent.name: {
            name: (array.dtype.str, array.shape, array.tobytes())
            for name, array in read_checkpoint(path).state.items()
        }
        for path in sorted(folder.glob("trials/*/*"))
    }
    return {
        "records": without_seconds(records),
        "epochs": epochs,
        "outcomes": [[rung and rung.to_bytes() for rung in rungs] for rungs in outcomes],
        "states": states,
    }


class Stopping(Diary):
    """Asks a search to stop, after so many epochs."""

    def __init__(self, after: float) -> None:
        super().__init__()
        self.stop = StopRequest()
        self._left = after

    def on_event(self, event: SearchEvent) -> None:
        super().on_event(event)
        if isinstance(event, EpochEnds):
            self._left -= 1
            self.stop.made = self._left == 0

    @property
    def epochs(self) -> list[tuple[int, int]]:
        return [(each.trial.id, each.epoch) for each in self.events if isinstance(each, EpochEnds)]

    @property
    def notes(self) -> list[str]:
        notes = [event.text for event in self.events if isinstance(event, Note)]
        return [note for note in notes if "builds its own networks" not in note]


def in_parts(search: Callable[..., HyperbandTuner], stops: Iterable[float]) -> list[Stopping]:
    """Run a search that is stopped again and again; return the events of each process."""
    told = []
    for after in (*stops, float("inf")):
        told.append(Stopping(after))
        try:
            search(resume=True, observer=told[-1], stop=told[-1].stop)
        except StoppedError:
            assert len(told[-1].epochs) == after
            continue
        return told
    raise AssertionError("it did not end")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a search remembers that was never interrupted; batch normalisation and dropout on."""
    folder = tmp_path_factory.mktemp("whole")
    searched(folder, max_epochs=3)
    return memory(folder / "search")


def test_a_search_that_is_stopped_after_every_epoch_ends_as_if_it_had_not_been(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    told = in_parts(lambda **options: searched(tmp_path, max_epochs=3, **options), [1] * 20)
    assert memory(tmp_path / "search") == whole
    epochs = [epoch for process in told for epoch in process.epochs]
    assert len(epochs) == len(set(epochs)) == sum(record.epochs for record in whole["records"])
    assert len(told) == len(epochs) + 1  # the last process has nothing left to train
    assert not any(process.notes for process in told)


def test_a_search_with_features_that_is_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], unweighted: keras.Model
) -> None:
    x, y = digits
    noise = np.random.default_rng(0).normal(0, 90, (150, 32, 32, 3))
    x, y = (x[:150] + noise).clip(0, 255).astype(np.uint8), y[:150]
    backbone = PretrainedBackbone(unweighted)

    def search(folder: Path, **options: Any) -> HyperbandTuner:
        fixed = {
            "unfreeze_blocks": "0", "head_layers": "1", "head_batchnorm": "true", "dropout": "0.4",
        }  # fmt: skip
        tuner = HyperbandTuner(
            ResNet50Space(10, 32, "none"), max_epochs=3, directory=folder, fixed=fixed, keep=9,
            cache=Cache(tmp_path / "cache"), backbone=backbone, **options,
        )  # fmt: skip
        tuner.search([x[:100], x[:100, :, ::-1]], y[:100], (x[100:], y[100:]))
        return tuner

    search(tmp_path / "whole")
    told = in_parts(lambda **options: search(tmp_path / "parts", **options), [4, 1])
    found = memory(tmp_path / "parts" / "search")
    assert found == memory(tmp_path / "whole" / "search")
    names = {name for state in found["states"].values() for name in state}
    assert any("moving_mean" in name for name in names)
    assert any("seed_generator" in name for name in names)
    assert len(told) == 3


class KilledError(BaseException):
    """Takes the place of a kill."""


@pytest.mark.parametrize("rung", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_a_kill_between_checkpoint_and_journal_loses_no_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any], rung: int
) -> None:
    finish, run_epoch = Journal.finish_rung, Trainer.run_epoch
    finished, epochs = [], []

    def killed(self: Journal, *arguments: Any, **options: Any) -> TrialRecord:
        finished.append(arguments)
        if len(finished) == rung + 1:
            raise KilledError
        return finish(self, *arguments, **options)

    def counted(self: Trainer, *arguments: Any) -> EpochMetrics:
        epochs.append(self.epoch)
        return run_epoch(self, *arguments)

    monkeypatch.setattr(Journal, "finish_rung", killed)
    monkeypatch.setattr(Trainer, "run_epoch", counted)
    with pytest.raises(KilledError):
        searched(tmp_path, max_epochs=3)
    tuner = searched(tmp_path, max_epochs=3, resume=True)
    assert memory(tmp_path / "search") == whole
    assert len(epochs) == tuner.oracle.schedule.total_epochs


@pytest.mark.parametrize(
    "damage",
    ["flipped", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gone", "cut"))],
)
def test_lost_weights_are_trained_again_to_the_same_bits(
    tmp_path: Path, whole: dict[str, Any], damage: str
) -> None:
    def search(**options: Any) -> HyperbandTuner:
        return searched(tmp_path, max_epochs=3, **options)

    first = Stopping(3)  # all of the first rung
    with pytest.raises(StoppedError):
        search(observer=first, stop=first.stop)
    states = list((tmp_path / "search").glob("trials/*/state.npz"))
    assert len(states) == 3
    for path in states:
        data = path.read_bytes()
        if damage == "gone":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        else:
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes(255 - b for b in data[middle:]))
    second = Stopping(float("inf"))
    search(resume=True, observer=second, stop=second.stop)
    assert memory(tmp_path / "search") == whole
    best = max(whole["records"][:3], key=lambda record: record.rungs[0].score)
    assert second.notes == [
        f"The weights of trial {best.id:04d} were lost: its first 1 epochs are trained again."
    ]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    searched(tmp_path, max_epochs=1)
    (state,) = (tmp_path / "search").glob("trials/*/state.npz")
    leftover = state.with_name(".state.npz.99999")
    leftover.write_bytes(b"begun")
    before = state.read_bytes()
    searched(tmp_path, max_epochs=1, resume=True)
    assert not leftover.exists()
    assert state.read_bytes() == before


def test_a_complete_search_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched(tmp_path, max_epochs=1)
    before = memory(tmp_path / "search")

    def never(self: Trainer, *_: Any) -> EpochMetrics:
        raise AssertionError("it trains")

    monkeypatch.setattr(Trainer, "run_epoch", never)
    searched(tmp_path, max_epochs=1, resume=True)
    assert memory(tmp_path / "search") == before


# The same with arithmetic for training


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[StandIn]:
    """What searches of `arithmetically` train with."""

    class Own(StandIn):
        on_epoch = staticmethod(lambda trainer, rows: None)  # type: ignore[assignment]

    monkeypatch.setattr(components, "FromImages", Own)
    return Own


def arithmetically(folder: Path, **options: Any) -> HyperbandTuner:
    tuner = HyperbandTuner(
        Space(), directory=folder, cache=Cache(folder / "cache"), keep=9,
        **{"max_epochs": 9, "batch_size": 16} | options,
    )  # fmt: skip
    tuner.search(X, Y, validation_data=VALIDATION)
    return tuner


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stops=st.lists(st.integers(1, 30), max_size=8),
    max_epochs=st.sampled_from([1, 4, 9]),
    failing=st.sets(st.tuples(st.integers(0, 12), st.integers(0, 4)), max_size=4),
    lost=st.sets(st.integers(0, 20)),
)
def test_interruptions_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    stand_in: type[StandIn],
    stops: list[float],
    max_epochs: int,
    failing: set[tuple[int, int]],
    lost: set[int],
) -> None:
    def fail(trainer: Arithmetic, rows: Rows) -> None:
        if (trainer.trial, trainer.epoch) in failing:
            raise ValueError(f"no epoch {trainer.epoch} of trial {trainer.trial}")

    stand_in.on_epoch = staticmethod(fail)  # type: ignore[assignment]
    folder = tmp_path_factory.mktemp("searches")
    arithmetically(folder / "whole", max_epochs=max_epochs)

    def search(**options: Any) -> HyperbandTuner:
        for number in lost:  # between the processes
            state_file(folder / "parts" / "search", number).unlink(missing_ok=True)
        return arithmetically(folder / "parts", max_epochs=max_epochs, **options)

    tuner = None
    for after in (*stops, float("inf")):
        told = Stopping(after)
        try:
            tuner = search(resume=True, observer=told, stop=told.stop)
            break
        except StoppedError:
            continue
    assert tuner is not None
    found = memory(folder / "parts" / "search")
    expected = memory(folder / "whole" / "search")
    assert found["records"] == expected["records"]
    assert found["epochs"] == expected["epochs"]
    # What was lost after it was last needed is not made again.
    assert found["states"].items() <= expected["states"].items()
    assert lost or found == expected
    assert not any(record.status == RUNNING for record in found["records"])


def test_a_resumed_search_reports_its_finished_trials(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    told = in_parts(lambda **options: arithmetically(tmp_path, **options), [7])
    begins = told[1].events[1]
    assert isinstance(begins, SearchBegins)
    assert begins.best == rank(begins.done, "max")[0]
    assert (len(begins.done), sum(record.epochs for record in begins.done)) == (7, 7)
    assert len(told[1].epochs) == begins.schedule.total_epochs - 7


def test_resuming_a_missing_run_begins_it(tmp_path: Path, stand_in: type[StandIn]) -> None:
    tuner = arithmetically(tmp_path, resume=True)
    assert tuner.oracle.complete
    assert (tmp_path / "search" / "journal.db").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"seed": 1}, "--seed was 0, not 1"),
        ({"max_epochs": 4, "factor": 2}, "--max-epochs was 9, not 4; --factor was 3, not 2"),
        ({"objective": "val_loss"}, "--objective was val_accuracy, not val_loss"),
        ({"batch_size": 8}, "--batch-size was 16, not 8"),
        ({"class_weights": "balanced"}, "--class-weights was none, not balanced"),
        ({"fixed": {"rate": "0.5"}}, "--fix was nothing, not rate=0.5"),
        ({"iterations": 1}, "--iterations was 2, not 1"),
    ],
)
def test_a_search_resumes_with_the_same_settings_only(
    tmp_path: Path,
    stand_in: type[StandIn],
    options: dict[str, Any],
    expected: str,
) -> None:
    stopped = Stopping(3)
    with pytest.raises(StoppedError):
        arithmetically(tmp_path, iterations=2, observer=stopped, stop=stopped.stop)
    before = memory(tmp_path / "search")
    asked = {"iterations": 2, "batch_size": 16, "max_epochs": 9} | options
    with pytest.raises(RunError, match=f"begun with other settings: {expected}. Go on"):
        HyperbandTuner(
            Space(), directory=tmp_path, cache=Cache(tmp_path / "cache"), resume=True, **asked
        )
    assert memory(tmp_path / "search") == before


def test_another_space_is_refused(tmp_path: Path, stand_in: type[StandIn]) -> None:
    arithmetically(tmp_path)
    with pytest.raises(RunError, match="the search space has changed"):
        HyperbandTuner(
            SmallSpace("sound"), directory=tmp_path, resume=True, batch_size=16, max_epochs=9
        )


def test_more_iterations_are_added_to_what_is_there(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    first = arithmetically(tmp_path, max_epochs=3)
    before = memory(tmp_path / "search")
    more = arithmetically(tmp_path, max_epochs=3, iterations=2, resume=True)
    after = memory(tmp_path / "search")
    count = len(before["records"])
    assert len(after["records"]) == 2 * count == more.oracle.schedule.total_trials
    assert after["records"][:count] == before["records"]
    assert after["epochs"][:count] == before["epochs"]
    assert before["states"].items() <= after["states"].items()
    assert {record.iteration for record in after["records"][count:]} == {1}
    assert more.oracle.complete
    whole = tmp_path / "whole"
    arithmetically(whole, max_epochs=3, iterations=2)
    assert memory(whole / "search") == after
    assert first.oracle.schedule.iterations == 1


@pytest.mark.parametrize("changed", ["pixels", "labels", "validation"])
def test_other_images_are_refused(tmp_path: Path, changed: str) -> None:
    images = {"pixels": X, "labels": Y, "validation": VALIDATION[1]}
    images[changed] = images[changed].copy()
    images[changed].flat[5] ^= 1
    searched(tmp_path / "real", max_epochs=1)
    tuner = HyperbandTuner(
        SmallSpace("sound"), directory=tmp_path / "real", max_epochs=1, batch_size=16, resume=True,
        cache=Cache(tmp_path / "cache"),
    )  # fmt: skip
    with pytest.raises(RunError, match="the images are not those that the run was begun with"):
        tuner.search(images["pixels"], images["labels"], (VALIDATION[0], images["validation"]))


def test_another_backbone_is_refused(tmp_path: Path, backbone: keras.Model) -> None:
    def search() -> None:
        tuner = HyperbandTuner(
            ResNet50Space(CLASSES, 32, "none"), max_epochs=1, directory=tmp_path, resume=True,
            fixed={"unfreeze_blocks": "0", "head_layers": "0"}, cache=Cache(tmp_path / "cache"),
            backbone=PretrainedBackbone(backbone),
        )  # fmt: skip
        x = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3)).astype(np.uint8)
        tuner.search(x, Y[:24], (x[:10], Y[:10]))

    search()
    before = memory(tmp_path / "search")
    kernel = next(variable for variable in backbone.variables if len(variable.shape) == 4)
    kernel.assign(kernel + 1e-3)
    with pytest.raises(RunError, match="the weights are not those that the run was begun with"):
        search()
    kernel.assign(kernel - 1e-3)
    assert memory(tmp_path / "search") == before


def test_a_second_search_in_a_run_is_refused(tmp_path: Path, stand_in: type[StandIn]) -> None:
    stopped = Stopping(3)
    with pytest.raises(StoppedError):
        arithmetically(tmp_path, observer=stopped, stop=stopped.stop)
    before = memory(tmp_path / "search")
    with sole_writer(tmp_path / "search"), pytest.raises(RunError, match="is being searched by"):
        arithmetically(tmp_path, resume=True)
    with sole_writer(tmp_path / "search"), pytest.raises(RunError, match="is being searched by"):
        arithmetically(tmp_path, overwrite=True)
    assert memory(tmp_path / "search") == before
    assert arithmetically(tmp_path, resume=True).oracle.complete


def test_a_damaged_journal_is_not_resumed(tmp_path: Path, stand_in: type[StandIn]) -> None:
    tuner = arithmetically(tmp_path)
    tuner._journal.close()
    path = tmp_path / "search" / "journal.db"
    path.write_bytes(path.read_bytes().replace(b'"rate": 0.', b'"rate": 1.'))
    with pytest.raises(DamagedJournalError, match="is damaged"):
        arithmetically(tmp_path, resume=True)


# Failures


def spans(records: Iterable[TrialRecord]) -> Counter[tuple[int | None, int]]:
    return Counter((record.bracket, rung.end_epoch) for record in records for rung in record.rungs)


def sizes(schedule: Schedule) -> dict[tuple[int, int], int]:
    return {
        (bracket.number, rung.end_epoch): rung.size
        for bracket in schedule.brackets
        for rung in bracket.rungs
    }


OUT_OF_MEMORY: list[Exception] = [
    tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor"),
    MemoryError("unable to allocate"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["TensorFlow", "Python"])
def test_a_trial_out_of_memory_continues_with_half_the_batch(
    tmp_path: Path, stand_in: type[StandIn], error: Exception
) -> None:
    def run_out(trainer: Arithmetic, rows: Rows) -> None:
        seen.append((trainer.trial, trainer.batch_size))
        if trainer.trial == 1 and trainer.batch_size > 8:
            raise error

    seen: list[tuple[int, int]] = []
    stand_in.on_epoch = staticmethod(run_out)  # type: ignore[assignment]
    told = Stopping(float("inf"))
    tuner = arithmetically(tmp_path, observer=told)
    records = tuner.oracle.records()
    assert [record.batch_size for record in records if record.id != 1] == [None] * (
        len(records) - 1
    )
    assert records[1].batch_size == 8
    assert records[1].rungs
    assert seen.count((1, 16)) == 1
    assert told.notes == [
        "Trial 0001 ran out of memory: it continues with 8 images per step instead of 16."
    ]
    assert not any(record.status == FAILED for record in records)
    assert spans(records) == sizes(tuner.oracle.schedule)


def test_a_batch_that_was_halved_stays_so_in_the_next_process(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    def run_out(trainer: Arithmetic, rows: Rows) -> None:
        seen.append((trainer.trial, trainer.batch_size))
        if trainer.batch_size > 8:
            raise MemoryError

    seen: list[tuple[int, int]] = []
    stand_in.on_epoch = staticmethod(run_out)  # type: ignore[assignment]
    told = in_parts(lambda **options: arithmetically(tmp_path, **options), [1] * 100)
    trials = len(Journal.open(tmp_path / "search" / "journal.db").trials())
    assert Counter(seen)[(0, 16)] == 1
    assert sum(size == 16 for _, size in seen) == trials
    assert sum(len(process.notes) for process in told) == trials


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["TensorFlow", "Python"])
def test_a_trial_out_of_memory_twice_fails_and_is_replaced(
    tmp_path: Path, stand_in: type[StandIn], error: Exception
) -> None:
    def run_out(trainer: Arithmetic, rows: Rows) -> None:
        seen.append((trainer.trial, trainer.batch_size))
        if trainer.trial in (1, 4):
            raise error

    seen: list[tuple[int, int]] = []
    stand_in.on_epoch = staticmethod(run_out)  # type: ignore[assignment]
    tuner = arithmetically(tmp_path)
    records = tuner.oracle.records()
    assert [record.id for record in records if record.status == FAILED] == [1, 4]
    assert records[4].batch_size == 8
    assert str(error) in (records[4].message or "")
    assert [entry for entry in seen if entry[0] in (1, 4)] == [(1, 16), (1, 8), (4, 16), (4, 8)]
    assert spans(records) == sizes(tuner.oracle.schedule)


def test_a_batch_is_halved_once_in_the_life_of_a_trial(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    def run_out(trainer: Arithmetic, rows: Rows) -> None:
        if trainer.epoch == 1 and trainer.batch_size == 8:
            promoted.append(trainer.trial)
        if trainer.batch_size > 8 or (trainer.epoch == 1 and trainer.trial == promoted[0]):
            raise MemoryError

    promoted: list[int] = []
    stand_in.on_epoch = staticmethod(run_out)  # type: ignore[assignment]
    told = Stopping(float("inf"))
    tuner = arithmetically(tmp_path, observer=told)
    records = tuner.oracle.records()
    (failed,) = [record for record in records if record.status == FAILED]
    assert (failed.id, failed.epochs, failed.batch_size) == (promoted[0], 1, 8)
    assert promoted.count(failed.id) == 1
    assert len(told.notes) == len(records)
    assert spans(records) - spans([failed]) + Counter({(failed.bracket, 1): 1}) == sizes(
        tuner.oracle.schedule
    )


def test_a_batch_of_one_cannot_be_halved(tmp_path: Path, stand_in: type[StandIn]) -> None:
    def run_out(trainer: Arithmetic, rows: Rows) -> None:
        if trainer.trial == 0:
            raise MemoryError

    stand_in.on_epoch = staticmethod(run_out)  # type: ignore[assignment]
    told = Stopping(float("inf"))
    records = arithmetically(tmp_path, batch_size=1, observer=told).oracle.records()
    assert (records[0].status, records[0].message) == (FAILED, "MemoryError")
    assert told.notes == []


def test_memory_of_an_exhausted_network_is_released(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    def run_out(trainer: Arithmetic, rows: Rows) -> None:
        done.append("epoch")
        if len(done) == 1:
            raise MemoryError

    def forget(self: StandIn) -> None:
        done.append("forgotten")

    done: list[str] = []
    stand_in.on_epoch = staticmethod(run_out)  # type: ignore[assignment]
    stand_in.forget = forget  # type: ignore[method-assign]
    arithmetically(tmp_path)
    assert done[:3] == ["epoch", "forgotten", "epoch"]
    assert done.count("forgotten") == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_nan_loss_never_wins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stand_in: type[StandIn],
    value: float,
    name: str,
) -> None:
    run_epoch = Arithmetic.run_epoch

    def diverging(self: Arithmetic, training: Rows, validation: Rows) -> EpochMetrics:
        metrics = run_epoch(self, training, validation)
        if (self.trial == 2 and self.epoch == 2) or self.trial % 5 == 3:
            return dataclasses.replace(metrics, **{name: value, "val_accuracy": 1.0})
        if self.trial == 2:  # it would be promoted
            return dataclasses.replace(metrics, val_accuracy=1.0)
        return metrics

    monkeypatch.setattr(Arithmetic, "run_epoch", diverging)
    tuner = arithmetically(tmp_path)
    records = tuner.oracle.records()
    failed = [record for record in records if record.status == FAILED]
    assert {record.id for record in failed} == {
        record.id for record in records if record.id == 2 or record.id % 5 == 3
    }
    assert records[2].message == "the loss became NaN or infinite in epoch 2"
    assert records[2].epochs == 1
    assert spans(record for record in records if record.status != FAILED) + spans(
        [records[2]]
    ) == Counter(sizes(tuner.oracle.schedule))
    winner = tuner.oracle.winner()
    assert winner is not None
    assert winner.status == COMPLETED
    assert not {int(t.trial_id) for t in tuner.oracle.get_best_trials(99)} & {r.id for r in failed}


def test_five_failures_in_a_row_end_the_search_with_the_commonest_reason(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    def fail(trainer: Arithmetic, rows: Rows) -> None:
        reasons = ["odd", "common", "odd", "common", "common"]
        if trainer.trial > 1:
            raise ValueError(reasons[trainer.trial - 2])

    stand_in.on_epoch = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(TuneError) as raised:
        arithmetically(tmp_path)
    assert str(raised.value) == "5 trials in a row failed, most with: common."
    records = Journal.open(tmp_path / "search" / "journal.db").trials()
    assert [record.status for record in records] == [STOPPED] * 2 + [FAILED] * 5


def test_a_completed_trial_resets_the_count_of_failures(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    def fail(trainer: Arithmetic, rows: Rows) -> None:
        if trainer.trial % 5 != 4:
            raise ValueError("four in five")

    stand_in.on_epoch = staticmethod(fail)  # type: ignore[assignment]
    tuner = arithmetically(tmp_path, max_epochs=3)
    records = tuner.oracle.records()
    assert len(records) == 25
    assert sum(record.status == FAILED for record in records) == 20
    assert spans(records) == sizes(tuner.oracle.schedule)


def test_a_failed_search_resumes_once_the_fault_is_fixed(
    tmp_path: Path, stand_in: type[StandIn]
) -> None:
    def fail(trainer: Arithmetic, rows: Rows) -> None:
        raise ValueError("no data")

    stand_in.on_epoch = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(TuneError, match="no data"):
        arithmetically(tmp_path)
    stand_in.on_epoch = staticmethod(lambda *_: None)  # type: ignore[assignment]
    tuner = arithmetically(tmp_path, resume=True)
    records = tuner.oracle.records()
    assert [record.status == FAILED for record in records[:5]] == [True] * 5
    assert spans(records) == sizes(tuner.oracle.schedule)


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), TuneError("the disk is full.")]
)
def test_a_fault_of_the_machine_fails_no_trial(
    tmp_path: Path, stand_in: type[StandIn], error: Exception
) -> None:
    def fail(trainer: Arithmetic, rows: Rows) -> None:
        if trainer.trial == 2:
            raise error

    stand_in.on_epoch = staticmethod(fail)  # type: ignore[assignment]
    with pytest.raises(type(error), match=str(error.args[-1])):
        arithmetically(tmp_path)
    stand_in.on_epoch = staticmethod(lambda *_: None)  # type: ignore[assignment]
    arithmetically(tmp_path, resume=True)
    arithmetically(tmp_path / "whole")
    assert memory(tmp_path / "search") == memory(tmp_path / "whole" / "search")


# Time


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, stand_in: type[StandIn]) -> None:
        self.now, self.epoch_seconds = 0.0, 1.0
        for module in (budget_module, time_left_module, rung_module):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        stand_in.on_epoch = staticmethod(self.pass_epoch)  # type: ignore[assignment]

    def pass_epoch(self, trainer: Arithmetic, rows: Rows) -> None:
        self.now += self.epoch_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, stand_in: type[StandIn]) -> Clock:
    return Clock(monkeypatch, stand_in)


@pytest.mark.parametrize("seconds", [0.5, 3.5, 11.0, 20.5, 47.0])
def test_a_budget_is_overdrawn_by_one_epoch_at_most_and_the_rest_is_noted(
    tmp_path: Path, clock: Clock, seconds: float
) -> None:
    told = Stopping(float("inf"))
    tuner = arithmetically(tmp_path, time_budget_seconds=seconds, observer=told)
    assert seconds <= clock.now < seconds + 1.0
    assert not tuner.oracle.complete
    assert len(told.epochs) == clock.now
    not_planned, note = told.notes
    assert not_planned.startswith("How long an epoch of this space takes is not known")
    assert note.startswith("The time budget is used up: ")
    assert f"of {tuner.oracle.schedule.total_epochs} planned epochs are left, about" in note
    assert isinstance(told.events[-1], SearchEnds)
    if seconds > 10:
        assert max(record.epochs for record in tuner.oracle.records()) == 9


def test_the_time_left_is_sent_within_a_rung_and_never_exceeds_the_budget(
    tmp_path: Path, clock: Clock
) -> None:
    told: list[tuple[float, float | None]] = []

    class Watch(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            if isinstance(event, TimeLeft):
                told.append((clock.now, event.seconds))

    arithmetically(tmp_path, time_budget_seconds=11.0, max_epochs=3, observer=Watch())
    assert told[0] == (0.0, None)  # nothing is known yet
    assert {now for now, _ in told} == set(range(12))  # after every epoch of a second
    known = [(now, seconds) for now, seconds in told if seconds is not None]
    assert all(seconds <= 11.0 - now for now, seconds in known)
    assert any(seconds == 11.0 - now for now, seconds in known)


def test_a_planned_search_is_complete_in_its_time(
    tmp_path: Path, clock: Clock, stand_in: type[StandIn]
) -> None:
    stand_in.expected_seconds = 1.0
    told = Stopping(float("inf"))
    tuner = arithmetically(tmp_path, time_budget_seconds=60.0, observer=told)
    notes = tuner._journal.notes()
    assert notes.finished_iterations == 1
    assert notes.plan is not None
    (planned, more) = told.notes
    assert "Planned for the time budget" in planned
    assert more.startswith("The plan is complete with ")
    # Resumed without a budget it keeps to its plan, which is complete.
    again = arithmetically(tmp_path, resume=True)
    assert again.oracle.schedule == shortened(again.oracle.whole, 3, *notes.plan)
    assert again.oracle.complete


def test_the_rest_of_a_budget_is_used(
    tmp_path: Path, clock: Clock, stand_in: type[StandIn]
) -> None:
    stand_in.expected_seconds = 1.0
    tuner = arithmetically(tmp_path, time_budget_seconds=60.0)
    planned = tuner._journal.notes().plan
    assert planned is not None
    plan = shortened(tuner.oracle.whole, 3, *planned)
    records = tuner.oracle.records()
    assert 54 < clock.now < 61
    assert len(records) > plan.total_trials
    assert {record.iteration for record in records} >= {0, 1}
    whole = arithmetically(tmp_path / "whole", time_budget_seconds=1e6)
    assert whole.oracle.schedule == whole.oracle.whole  # nothing was shortened
    assert {record.iteration for record in whole.oracle.records()} == {0}


def test_a_plan_survives_interruptions_and_changes_nothing_else(
    tmp_path: Path, clock: Clock, stand_in: type[StandIn]
) -> None:
    stand_in.expected_seconds = 1.0

    def search(folder: Path, **options: Any) -> HyperbandTuner:
        return arithmetically(folder, time_budget_seconds=60.0, **options)

    search(tmp_path / "whole")
    in_parts(lambda **options: search(tmp_path / "parts", **options), [4, 1, 9])
    found = memory(tmp_path / "parts" / "search")
    assert found == memory(tmp_path / "whole" / "search")


def test_a_budget_is_for_all_processes_together(tmp_path: Path, clock: Clock) -> None:
    told = in_parts(
        lambda **options: arithmetically(tmp_path, time_budget_seconds=20.0, **options), [4, 5]
    )
    assert clock.now == 20.0
    assert [len(process.epochs) for process in told] == [4, 5, 11]


def test_a_larger_budget_resumes_to_the_same_result(tmp_path: Path, clock: Clock) -> None:
    arithmetically(tmp_path, time_budget_seconds=21.5)
    tuner = arithmetically(tmp_path, time_budget_seconds=1000.0, resume=True)
    records = tuner.oracle.records()
    assert tuner.oracle.complete
    assert spans(records) == sizes(tuner.oracle.schedule)
    assert not any(record.status == RUNNING for record in records)
