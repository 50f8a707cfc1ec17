"""A trial through a rung: from where it was, saved on the way, and the same bit for bit."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import numpy as np
import pytest

from search_spaces.backbone import PretrainedBackbone, build_backbone
from search_spaces.resnet50 import ResNet50Space
from tests.support.stand_in import Arithmetic
from tuner.errors import StoppedError
from tuner.hyperband.time_budget import TimeBudget
from tuner.interrupt import StopRequest
from tuner.runs.checkpoint import Checkpoint, read_checkpoint, state_file, write_checkpoint
from tuner.runs.records import RUNNING, RungRecord, TrialRecord
from tuner.search import rung as rung_module
from tuner.search.rung import RungResult, RungTrainer, TimeIsUp
from tuner.storage.atomic import read_arrays, write_arrays
from tuner.storage.cache import Cache
from tuner.training.rows import Rows
from tuner.training.sources import FromFeatures, Images, TrialRows
from tuner.training.trainer import EpochMetrics, Trainer

MAX_EPOCHS = 6


class Place:
    """A run's folder, and what happens in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stop = StopRequest()
        self.budget: Any = TimeBudget()
        self.trained: list[tuple[int, int]] = []  # epochs that were computed, each with its view
        self.notes: list[str] = []
        self.batch_size = 4

    @property
    def state(self) -> Path:
        return state_file(self.folder, 2)

    # As a source

    def trainer(self, values: Mapping[str, Any], trial: int, batch_size: int | None) -> Arithmetic:
        return Arithmetic(trial, batch_size or self.batch_size, self.note)

    def note(self, trainer: Arithmetic, training: Rows) -> None:
        self.trained.append((trainer.epoch, int(training.y[0])))

    def rows(self, values: Mapping[str, Any]) -> TrialRows:
        views = [Rows(np.zeros((1, 1)), np.asarray([view])) for view in range(3)]
        return TrialRows(views, Rows(np.zeros((1, 1)), np.asarray([0])))

    # As a search

    def run(
        self,
        end: int,
        record: TrialRecord | None = None,
        on_epoch: Callable[[int], None] = lambda epoch: None,
    ) -> RungResult:
        self.trained.clear()
        rungs = RungTrainer(
            self,  # type: ignore[arg-type]
            self.folder,
            max_epochs=MAX_EPOCHS,
            stop=self.stop,
            budget=self.budget,
            on_note=self.notes.append,
        )  # fmt: skip
        return rungs.run(record or trial(), end, lambda trainer, metrics: on_epoch(trainer.epoch))

    def stopped_after(self, epoch: int, end: int, record: TrialRecord | None = None) -> None:
        def on_epoch(done: int) -> None:
            self.stop.made = done == epoch

        with pytest.raises(StoppedError):
            self.run(end, record, on_epoch)
        self.stop.made = False


def trial(*ends: int, batch_size: int | None = None) -> TrialRecord:
    """Trial 2, on the rung after those that end there."""
    starts = (0, *ends)
    rungs = tuple(RungRecord(*span, 0.5, 1.0) for span in zip(starts, ends, strict=False))
    return TrialRecord(2, None, 0, 0, {}, RUNNING, None, None, rungs, batch_size)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "run")


@pytest.fixture
def whole(tmp_path: Path) -> tuple[dict[str, np.ndarray], tuple[Mapping[str, float], ...]]:
    """What four epochs in a row give."""
    place = Place(tmp_path / "whole")
    result = place.run(4)
    return dict(read_checkpoint(place.state).state), result.epochs


def same(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        (one[name].dtype, one[name].tobytes()) == (other[name].dtype, other[name].tobytes())
        for name in one
    )


def test_a_rung_from_the_beginning(place: Place) -> None:
    told: list[int] = []
    result = place.run(4, on_epoch=told.append)
    assert place.trained == [(0, 0), (1, 1), (2, 2), (3, 0)]
    assert told == [1, 2, 3, 4]
    assert (len(result.epochs), result.parameters) == (4, 3)
    found = read_checkpoint(place.state)
    assert (found.epoch, found.start_epoch, found.epochs) == (4, 0, result.epochs)
    assert place.notes == []


def test_a_promoted_trial_continues_from_its_checkpoint(place: Place, whole: Any) -> None:
    first, second = place.run(1), place.run(4, trial(1))
    assert place.trained == [(1, 1), (2, 2), (3, 0)]
    assert same(read_checkpoint(place.state).state, whole[0])
    assert (*first.epochs, *second.epochs) == whole[1]
    assert read_checkpoint(place.state).start_epoch == 1


@pytest.mark.parametrize("ends", [(), (1,)])
@pytest.mark.parametrize("epochs", [(2,), (3,), (2, 3)])
def test_a_stopped_rung_resumes_after_its_last_epoch(
    place: Place, whole: Any, ends: tuple[int, ...], epochs: tuple[int, ...]
) -> None:
    for end in ends:
        place.run(end)
    before = ends[-1] if ends else 0
    for epoch in epochs:
        place.stopped_after(epoch, 4, trial(*ends))
        assert [number for number, _ in place.trained] == list(range(before, epoch))
        before = epoch
    result = place.run(4, trial(*ends))
    assert [number for number, _ in place.trained] == list(range(before, 4))
    assert same(read_checkpoint(place.state).state, whole[0])
    assert result.epochs == whole[1][ends[-1] if ends else 0 :]
    assert place.notes == []


def test_a_request_in_the_last_epoch_does_not_stop_the_rung(place: Place) -> None:
    def stop(epoch: int) -> None:
        place.stop.made = epoch == 4

    assert len(place.run(4, on_epoch=stop).epochs) == 4
    assert read_checkpoint(place.state).epoch == 4


def test_where_time_is_up_the_last_epoch_is_saved(place: Place, whole: Any) -> None:
    place.budget = SimpleNamespace(left=lambda: 2.5 - len(place.trained))
    with pytest.raises(TimeIsUp):
        place.run(4)
    assert len(place.trained) == 3
    assert read_checkpoint(place.state).epoch == 3
    place.budget = TimeBudget()
    assert place.run(4).epochs == whole[1]
    assert len(place.trained) == 1


def test_a_stop_during_the_decision_to_save_loses_nothing(place: Place) -> None:
    """The budget is used up, or the request made, while it is decided whether to save."""
    asked = []

    def left() -> float:
        asked.append(place.trained[-1])
        return 1.0 if len(asked) < 2 else -1.0

    place.budget = SimpleNamespace(left=left)
    with pytest.raises(TimeIsUp):
        place.run(4)
    assert read_checkpoint(place.state).epoch == len(place.trained)


def test_a_checkpoint_ahead_of_the_journal_loses_no_epoch(place: Place, whole: Any) -> None:
    place.run(1)
    place.run(4, trial(1))  # and the process was killed before the journal knew
    before, result = place.state.read_bytes(), place.run(4, trial(1))
    assert place.trained == []
    assert result.epochs == whole[1][1:]
    assert place.state.read_bytes() == before


def test_seconds_of_the_processes_before_are_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ten_seconds_each(_: int = 0) -> float:
        return 10.0 * len(place.trained)

    clock = SimpleNamespace(monotonic=ten_seconds_each)
    monkeypatch.setattr(rung_module, "time", clock)
    place.stopped_after(3, 4)
    assert read_checkpoint(place.state).seconds == 30.0
    place.trained.clear()
    assert place.run(4).seconds == 40.0
    assert place.run(4).seconds == 40.0  # nothing was left to do


def damaged(path: Path) -> None:
    data = path.read_bytes()
    at = data.index(b"weights.npy") + 160  # behind the names and the header
    path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b"") and None,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]) and None,
    "flipped": damaged,
    "of another network": lambda path: write_checkpoint(
        path, dataclasses.replace(read_checkpoint(path), state={"epoch": np.asarray(2)})
    ),
    "without optimizer": lambda path: write_arrays(
        path, {name: array for name, array in read_arrays(path).items() if name != "momentum"}
    ),
    "of a later rung": lambda path: write_checkpoint(
        path, Checkpoint({"epoch": np.asarray(5)}, 5, 4, (), 1.0)
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_lost_checkpoint_is_trained_again_to_the_same_bits(
    place: Place, whole: Any, name: str
) -> None:
    place.run(2)
    DAMAGES[name](place.state)
    result = place.run(4, trial(2))
    assert [epoch for epoch, _ in place.trained] == [0, 1, 2, 3]
    assert same(read_checkpoint(place.state).state, whole[0])
    assert result.epochs == whole[1][2:]
    assert place.notes == [
        "The weights of trial 0002 were lost: its first 2 epochs are trained again."
    ]


@pytest.mark.parametrize("name", DAMAGES)
def test_a_checkpoint_lost_within_a_rung_is_trained_again_too(
    place: Place, whole: Any, name: str
) -> None:
    place.run(2)
    place.stopped_after(3, 4, trial(2))
    DAMAGES[name](place.state)
    assert place.run(4, trial(2)).epochs == whole[1][2:]
    assert same(read_checkpoint(place.state).state, whole[0])
    assert len(place.notes) == 1


def test_a_checkpoint_lost_in_the_first_rung_is_noted(place: Place, whole: Any) -> None:
    place.stopped_after(2, 4)
    damaged(place.state)
    assert place.run(4).epochs == whole[1]
    assert place.notes == ["The weights of trial 0002 were lost: it is trained again."]


def test_a_stop_request_ends_repeated_training(place: Place) -> None:
    place.run(4)
    place.state.unlink()
    place.stop.made = True
    with pytest.raises(StoppedError):
        place.run(6, trial(4))
    assert len(place.trained) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_nan_loss_fails_and_is_not_saved(
    place: Place, monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    place.run(1)
    before = place.state.read_bytes()
    run_epoch = Arithmetic.run_epoch

    def diverging(self: Arithmetic, training: Rows, validation: Rows) -> EpochMetrics:
        metrics = run_epoch(self, training, validation)
        return dataclasses.replace(metrics, val_loss=bad) if self.epoch == 3 else metrics

    monkeypatch.setattr(Arithmetic, "run_epoch", diverging)
    told: list[int] = []
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="NaN or infinite in epoch 3"):
        place.run(4, trial(1), told.append)
    assert told == [2]
    assert place.state.read_bytes() == before


def test_a_smaller_batch_is_that_of_the_trial(place: Place) -> None:
    place.run(2, trial(batch_size=2))
    halved = read_checkpoint(place.state).state
    place.state.unlink()
    place.batch_size = 2
    place.run(2)
    assert same(read_checkpoint(place.state).state, halved)


def test_the_last_epoch_of_all_keeps_no_optimizer(place: Place) -> None:
    place.run(MAX_EPOCHS - 1)
    assert "momentum" in read_checkpoint(place.state).state
    place.run(MAX_EPOCHS, trial(MAX_EPOCHS - 1))
    assert set(read_checkpoint(place.state).state) == {"epoch", "weights"}


# How often it is saved


def saves(place: Place, monkeypatch: pytest.MonkeyPatch, epoch: float, save: float) -> list[int]:
    """Epochs after which it was saved, if an epoch and saving take so long."""
    clock, saved = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(rung_module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def write(path: Path, checkpoint: Checkpoint) -> None:
        clock.now += save
        saved.append(checkpoint.epoch)

    def on_epoch(_: int) -> None:
        clock.now += epoch

    monkeypatch.setattr(rung_module, "write_checkpoint", write)
    place.run(30, on_epoch=on_epoch)
    return saved


def test_short_epochs_are_saved_at_the_end_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert saves(place, monkeypatch, epoch=0.1, save=0.01) == [30]


def test_long_epochs_are_saved_each(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert saves(place, monkeypatch, epoch=60.0, save=0.5) == list(range(1, 31))


def test_saving_takes_a_small_part_of_the_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = saves(place, monkeypatch, epoch=60.0, save=10.0)
    assert 2 < len(saved) < 8
    assert saved[-1] == 30


# With real networks


CLASSES, SIZE = 3, 32
HEAD = {
    "unfreeze_blocks": 0, "head_layers": 1, "head_width": 128, "head_batchnorm": True,
    "dropout": 0.4, "l2": 1e-4, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FromFeatures:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (60, SIZE, SIZE, 3)).astype(np.uint8)
    y = random.integers(0, CLASSES, 60)
    images = Images([x[:40], x[:40, ::-1]], y[:40], Rows(x[40:], y[40:]))
    return FromFeatures(
        ResNet50Space(CLASSES, SIZE, "none"), PretrainedBackbone(build_backbone(SIZE, "none")),
        images, Cache(tmp_path_factory.mktemp("cache")), {0: 100.0}, batch_size=16, seed=1,
    )  # fmt: skip


BLOCK = HEAD | {"unfreeze_blocks": 1, "backbone_lr_factor": 0.3}


@pytest.mark.parametrize(
    ("values", "lost"),
    [(HEAD, False), (HEAD, True), pytest.param(BLOCK, False, marks=pytest.mark.slow)],
)
def test_weights_slots_statistics_and_seeds_resume_bit_for_bit(
    tmp_path: Path, source: FromFeatures, values: dict[str, Any], lost: bool
) -> None:
    trainer: Trainer = source.trainer(values, 2)
    rows = source.rows(values)
    metrics = [
        dataclasses.asdict(trainer.run_epoch(rows.training(epoch), rows.validation))
        for epoch in range(3)
    ]
    expected = trainer.state()
    assert any("seed_generator" in name for name in expected)
    assert any("optimizer" in name for name in expected)
    assert any("moving_variance" in name for name in expected)

    def on_epoch(trainer: Trainer, metrics: EpochMetrics) -> None:
        stop.made = trainer.epoch == 2

    stop, notes = StopRequest(), list[str]()
    rungs = RungTrainer(
        source,
        tmp_path,
        max_epochs=MAX_EPOCHS,
        stop=stop,
        budget=TimeBudget(),
        on_note=notes.append,
    )
    record = dataclasses.replace(trial(), hyperparameters=values)
    first = rungs.run(record, 1, on_epoch)
    record = dataclasses.replace(trial(1), hyperparameters=values)
    with pytest.raises(StoppedError):
        rungs.run(record, 3, on_epoch)
    stop.made = False
    if lost:
        state_file(tmp_path, 2).unlink()
    second = rungs.run(record, 3, lambda trainer, metrics: None)
    assert [*first.epochs, *second.epochs] == metrics
    found = read_checkpoint(state_file(tmp_path, 2)).state
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True, err_msg=name)
    assert len(notes) == lost
