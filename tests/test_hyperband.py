"""A whole search with a small network: what it trains, keeps, tells and gives back."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from search_spaces.optimizer import TransferAdam
from tuner.cache import Cache
from tuner.errors import RunError, SettingsError, TuneError
from tuner.hyperband import HyperbandTuner, SearchObserver, state_file
from tuner.journal import COMPLETED, FAILED, RUNNING, STOPPED, Journal, TrialRecord
from tuner.ranking import rank
from tuner.schedule import Schedule
from tuner.sources import trial_seed
from tuner.training import EpochMetrics, Trainer

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
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []

    def search_begins(self, schedule: Schedule, omitted_recipes: tuple[str, ...]) -> None:
        self.entries.append(("search begins", schedule, omitted_recipes))

    def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
        self.entries.append(("rung begins", trial, end_epoch))

    def epoch_ends(self, trial: TrialRecord, epoch: int, metrics: EpochMetrics) -> None:
        self.entries.append(("epoch ends", trial, epoch, metrics))

    def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        self.entries.append(("rung ends", trial, best))

    def search_ends(self, trials: list[TrialRecord]) -> None:
        self.entries.append(("search ends", trials))


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
    "options", [{"objective": "val_f1"}, {"factor": 1}, {"max_epochs": 0}, {"batch_size": 0}]
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
    assert {path.name for path in files - states} <= {
        "journal.db", "journal.db-wal", "journal.db-shm",
    }  # fmt: skip


def test_weights_that_were_not_kept_are_a_run_error(tuner: HyperbandTuner) -> None:
    with pytest.raises(RunError):
        tuner.get_best_models(4)


def test_the_observer_is_told_in_order(tuner: HyperbandTuner, diary: Diary) -> None:
    entries = iter(diary.entries)
    assert next(entries) == ("search begins", tuner.oracle.schedule, ())
    rungs: dict[int, list[tuple[int, int]]] = {}
    for entry in entries:
        if entry[0] == "search ends":
            break
        kind, trial, end = entry
        assert (kind, trial.status) == ("rung begins", RUNNING)
        assert [(rung.start_epoch, rung.end_epoch) for rung in trial.rungs] == rungs.get(
            trial.id, []
        )
        for epoch in range(trial.epochs + 1, end + 1):
            kind, same, number, metrics = next(entries)
            assert (kind, same, number) == ("epoch ends", trial, epoch)
        kind, ended, best = next(entries)
        assert (kind, ended.id, ended.epochs) == ("rung ends", trial.id, end)
        assert ended.score == metrics.val_accuracy
        assert best.epochs >= ended.epochs
        rungs.setdefault(trial.id, []).append((trial.epochs, end))
    assert best == tuner.oracle.winner()
    assert entry == ("search ends", tuner.oracle.records())
    assert next(entries, None) is None
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


def test_failed_trials_are_told_and_replaced(tmp_path: Path) -> None:
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
    told = [entry[1] for entry in diary.entries if entry[0] == "rung ends"]
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
        def rung_begins(self, trial: TrialRecord, end_epoch: int) -> None:
            if trial.id == 2:
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


class EnoughError(Exception):
    """Ends a search that would go on for ever."""


def test_a_search_in_which_everything_fails_ends_with_the_reason(tmp_path: Path) -> None:
    class Patient(SearchObserver):
        def rung_ends(self, trial: TrialRecord, best: TrialRecord | None) -> None:
            if trial.id == 100:
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
