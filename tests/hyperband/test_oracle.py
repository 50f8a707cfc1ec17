"""The oracle over a journal: its draws, tasks and ranking. Nothing is trained."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_tuner.engine import trial as kt_trial

from search_spaces.recipes import RECIPES
from search_spaces.resnet50 import ResNet50Space
from tuner.errors import SettingsError
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.pinning import pin
from tuner.hyperband.schedule import Schedule, hyperband, shortened
from tuner.runs.journal import Journal
from tuner.runs.ranking import rank
from tuner.runs.records import (
    COMPLETED,
    FAILED,
    RUNNING,
    STOPPED,
    RungRecord,
    TrialRecord,
    trial_name,
)

RUNGS = list[tuple[str, dict[str, Any]]]


def resnet50() -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    ResNet50Space(num_classes=2).declare_hyperparameters(space)
    return space


def mixed() -> keras_tuner.HyperParameters:
    """One hyperparameter of each kind."""
    space = keras_tuner.HyperParameters()
    space.Choice("layers", [0, 1, 2])
    space.Choice("factor", [1.0, 0.3, 0.1])
    space.Choice("activation", ["relu", "Tanh"])
    space.Int("units", 8, 32, step=8)
    space.Boolean("batchnorm")
    space.Float("dropout", 0.0, 0.6)
    space.Float("rate", 1e-5, 1e-2, sampling="log")
    return space


def six() -> keras_tuner.HyperParameters:
    """A space of six configurations."""
    space = keras_tuner.HyperParameters()
    space.Choice("a", [1, 2, 3])
    space.Boolean("b")
    return space


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[..., JournalOracle]]:
    """Makes an oracle on a journal of its own."""
    journals: list[Journal] = []

    def make(space: keras_tuner.HyperParameters | None = None, **options: Any) -> JournalOracle:
        journals.append(Journal.create(tmp_path / f"{len(journals)}.db"))
        return JournalOracle(journals[-1], space or resnet50(), **options)

    yield make
    for journal in journals:
        journal.close()


def random_score(trial: kt_trial.Trial) -> float:
    """A number from 0 to 1 that a trial's configuration and epochs decide."""
    values = sorted(trial.hyperparameters.values.items())
    return zlib.crc32(repr(values).encode()) / 2**32


def end(oracle: JournalOracle, trial: kt_trial.Trial, failure_rate: float = 0.0) -> None:
    """Pretends that the trial was trained through its rung."""
    start, stop = (trial.hyperparameters.values[f"tuner/{n}"] for n in ("initial_epoch", "epochs"))
    score = random_score(trial)
    if score < failure_rate:
        trial.status, trial.message = kt_trial.TrialStatus.FAILED, "failed at random"
    else:
        epochs = [{"val_accuracy": score}] * (stop - start)
        oracle.finish_rung(trial, RungRecord(start, stop, score, 0.5), epochs)
        trial.status = kt_trial.TrialStatus.COMPLETED
    oracle.end_trial(trial)


def search(oracle: JournalOracle, failure_rate: float = 0.0, most: float = np.inf) -> RUNGS:
    """The rungs that the oracle returns up to the end of the search, or to its `most`th rung."""
    rungs: RUNGS = []
    while len(rungs) < most:
        trial = oracle.create_trial("tuner0")
        if trial.status != kt_trial.TrialStatus.RUNNING:
            assert trial.status == kt_trial.TrialStatus.STOPPED
            break
        rungs.append((trial.trial_id, dict(trial.hyperparameters.values)))
        end(oracle, trial, failure_rate)
    return rungs


def configurations(oracle: JournalOracle) -> list[dict[str, Any]]:
    return [record.hyperparameters for record in oracle.records()]


# What is drawn


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_the_same_seed_draws_the_same(new: Callable[..., JournalOracle], seed: int) -> None:
    first, second = new(max_epochs=10, seed=seed), new(max_epochs=10, seed=seed)
    assert search(first) == search(second)
    assert first.records() == second.records()


def test_neighbouring_seeds_share_no_configuration(new: Callable[..., JournalOracle]) -> None:
    drawn = []
    for seed in range(4):
        oracle = new(max_epochs=10, seed=seed)
        search(oracle)
        drawn += [repr(values) for values in configurations(oracle)]
        # nor any number of the continuous ones, as a sequence shifted by one would
        drawn += [values["learning_rate"] for values in configurations(oracle)]
    assert max(Counter(drawn).values()) == 1


def test_configurations_never_repeat(new: Callable[..., JournalOracle]) -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("a", list(range(8)))
    space.Choice("b", list(range(8)))
    oracle = new(space, max_epochs=30)
    search(oracle)
    drawn = [tuple(values.values()) for values in configurations(oracle)]
    assert len(drawn) == 62
    assert len(set(drawn)) == 62


def test_the_draws_cover_the_space(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=30, seed=3)
    search(oracle, most=34)
    drawn = configurations(oracle)
    assert {values["head_layers"] for values in drawn} == {0, 1, 2}
    assert {values["unfreeze_blocks"] for values in drawn} == {0, 1, 2, 3, 6, 9, 16}
    rates = np.log10([values["learning_rate"] for values in drawn])
    assert -5 <= rates.min() < -4.4
    assert -2.6 < rates.max() <= -2


def test_inactive_hyperparameters_are_absent(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=30)
    search(oracle)
    assert len(oracle.records()) == 62
    for values in configurations(oracle):
        assert ("backbone_lr_factor" in values) == (values["unfreeze_blocks"] > 0)
        assert ("head_width" in values) == (values["head_layers"] > 0)
        assert ("head_batchnorm" in values) == (values["head_layers"] > 0)
        assert {"dropout", "l2", "learning_rate"} <= values.keys()


# What is pinned


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("layers", "2", 2),
        ("layers", "0", 0),
        ("factor", "1", 1.0),
        ("factor", "1.0", 1.0),
        ("factor", "3e-1", 0.3),
        ("activation", "tanh", "Tanh"),
        ("units", "24", 24),
        ("batchnorm", "True", True),
        ("batchnorm", "false", False),
        ("dropout", "0", 0.0),
        ("dropout", "0.6", 0.6),
        ("rate", "1e-4", 1e-4),
    ],
)
def test_a_pin_has_the_declared_type(name: str, text: str, value: Any) -> None:
    pinned = pin(mixed(), {name: text})
    assert pinned == {name: value}
    assert type(pinned[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "choices"),
    [
        ("layers", "3", "Choose 0, 1, 2."),
        ("layers", "1.5", "Choose 0, 1, 2."),
        ("layers", "two", "Choose 0, 1, 2."),
        ("factor", "0.2", "Choose 1.0, 0.3, 0.1."),
        ("activation", "gelu", "Choose relu, Tanh."),
        ("units", "12.5", "a whole number from 8 to 32"),
        ("units", "40", "a whole number from 8 to 32"),
        ("units", "inf", "a whole number from 8 to 32"),
        ("units", "nan", "a whole number from 8 to 32"),
        ("batchnorm", "maybe", "Choose True, False."),
        ("dropout", "0.61", "from 0 to 0.6"),
        ("dropout", "-0.1", "from 0 to 0.6"),
        ("dropout", "nan", "from 0 to 0.6"),
        ("dropout", "some", "from 0 to 0.6"),
        ("rate", "1", "from 1e-05 to 0.01"),
    ],
)
def test_a_bad_pin_names_the_choices(name: str, text: str, choices: str) -> None:
    with pytest.raises(SettingsError) as raised:
        pin(mixed(), {name: text})
    message = str(raised.value)
    assert choices in message
    assert name in message
    assert repr(text) in message


def test_an_unknown_pin_lists_the_names() -> None:
    with pytest.raises(SettingsError, match="no hyperparameter 'depth' to fix") as raised:
        pin(resnet50(), {"dropout": "0.5", "depth": "3"})
    for hyperparameter in resnet50().space:
        assert hyperparameter.name in str(raised.value)


def test_every_configuration_has_the_pinned_values(
    new: Callable[..., JournalOracle],
) -> None:
    pinned = {"unfreeze_blocks": 0, "head_layers": 1, "dropout": 0.5}
    oracle = new(max_epochs=10, pinned=pinned)
    search(oracle)
    for values in configurations(oracle):
        assert (values["unfreeze_blocks"], values["head_layers"]) == (0, 1)
        assert values["dropout"] == 0.5
        assert "backbone_lr_factor" not in values


def test_a_pin_changes_no_other_draw(new: Callable[..., JournalOracle]) -> None:
    free, pinned = new(max_epochs=10), new(max_epochs=10, pinned={"dropout": 0.5})
    search(free, most=12)
    search(pinned, most=12)
    for one, other in zip(configurations(free), configurations(pinned), strict=True):
        assert one | {"dropout": 0.5} == other


# Recipes


def all_recipes() -> dict[str, dict[str, Any]]:
    return {name: recipe() for name, recipe in RECIPES.items()}


def test_recipes_go_first_to_the_full_number_of_epochs(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=10, recipes=all_recipes())
    rungs = search(oracle, most=3)
    for (_, values), recipe in zip(rungs, all_recipes().values(), strict=False):
        rung = {"tuner/initial_epoch": 0, "tuner/epochs": 10, "tuner/round": 0}
        assert values == recipe | rung
    names = [record.recipe for record in oracle.records()]
    assert names == [*RECIPES, None]
    assert oracle.schedule.total_trials == 22 + len(RECIPES)


@pytest.mark.parametrize(
    ("pinned", "omitted"),
    [
        ({}, ()),
        ({"head_layers": 2}, ("plain head",)),
        ({"head_layers": 1}, ("plain head", "blog head")),
        ({"unfreeze_blocks": 0}, ()),
        ({"unfreeze_blocks": 3}, ("plain head", "blog head")),
        ({"head_width": 256}, ("blog head",)),  # the plain head has no width
    ],
)
def test_recipes_that_contradict_a_pin_are_omitted(
    new: Callable[..., JournalOracle], pinned: dict[str, int], omitted: tuple[str, ...]
) -> None:
    oracle = new(max_epochs=4, pinned=pinned, recipes=all_recipes())
    assert oracle.omitted_recipes == omitted
    search(oracle)
    begun = {record.recipe for record in oracle.records()} - {None}
    assert begun == RECIPES.keys() - set(omitted)


def test_a_recipe_is_not_drawn_again(new: Callable[..., JournalOracle]) -> None:
    oracle = new(six(), max_epochs=10, recipes={"known": {"a": 2, "b": True}})
    search(oracle)
    assert len(oracle.records()) == 6
    assert len({tuple(values.values()) for values in configurations(oracle)}) == 6


# Which trial is best


def record(
    number: int,
    *scores: float,
    parameters: int | None = 100,
    status: str = STOPPED,
    each: int = 2,
) -> TrialRecord:
    rungs = tuple(
        RungRecord(each * rung, each * (rung + 1), score, 1.0) for rung, score in enumerate(scores)
    )
    return TrialRecord(number, None, 0, 0, {}, status, parameters, None, rungs)


def ranked(*records: TrialRecord, direction: str = "max") -> list[int]:
    return [record.id for record in rank(records, direction)]


def test_rank_of_nothing() -> None:
    assert ranked() == []
    assert ranked(record(0, status=RUNNING), record(1, status=FAILED)) == []


def test_rank_compares_the_highest_completed_rung_alone() -> None:
    records = (record(0, 0.9), record(1, 0.2, 0.5), record(2, 0.9, 0.6), record(3, 0.99))
    assert ranked(*records) == [2, 1]
    assert ranked(*records, direction="min") == [1, 2]


def test_rank_counts_epochs_and_not_rungs() -> None:
    assert ranked(record(0, 0.9, 0.9), record(1, 0.1, each=10)) == [1]


def test_ties_go_to_fewer_parameters_then_to_the_earlier() -> None:
    records = (
        record(0, 0.5, parameters=300),
        record(2, 0.5, parameters=200),
        record(1, 0.5, parameters=200),
        record(3, 0.6, parameters=900),
    )
    assert ranked(*records) == [3, 1, 2, 0]
    assert ranked(*records, direction="min") == [1, 2, 0, 3]


def test_failed_trials_never_win() -> None:
    assert ranked(record(0, 0.9, 0.99, status=FAILED), record(1, 0.1, 0.2)) == [1]
    # nor does what a failed trial had reached shut out those that are sound
    assert ranked(record(0, 0.9, 0.99, status=FAILED), record(1, 0.1)) == [1]


def test_a_running_promoted_trial_counts_on_its_last_rung() -> None:
    assert ranked(record(0, 0.9, status=RUNNING), record(1, 0.1)) == [0, 1]
    assert ranked(record(0, 0.9, status=RUNNING), record(1, 0.1, 0.2)) == [1]


@settings(deadline=None)
@given(
    scores=st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=3), min_size=1, max_size=8
    ),
    data=st.data(),
)
def test_rank_does_not_depend_on_the_order(scores: list[list[float]], data: st.DataObject) -> None:
    records = [
        record(
            number,
            *reached,
            parameters=data.draw(st.integers(1, 3)),
            status=data.draw(st.sampled_from([STOPPED, FAILED])),
        )
        for number, reached in enumerate(scores)
    ]
    best = rank(records, "max")
    assert best == rank(data.draw(st.permutations(records)), "max")
    assert all(record.status != FAILED and record.rungs for record in best)
    assert len({record.epochs for record in best}) <= 1


# The cycle of create_trial and end_trial


def test_a_whole_search_without_failures(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=10, recipes=all_recipes())
    rungs = search(oracle)
    spans = Counter((values["tuner/initial_epoch"], values["tuner/epochs"]) for _, values in rungs)
    assert spans == {(0, 2): 12, (2, 4): 4, (4, 10): 4, (0, 4): 6, (0, 10): 4 + 2}
    records = oracle.records()
    assert [record.id for record in records] == list(range(24))
    assert Counter(record.status for record in records) == {COMPLETED: 10, STOPPED: 14}
    assert all(record.status == COMPLETED or record.epochs < 10 for record in records)
    assert sum(record.epochs for record in records) == oracle.schedule.total_epochs


def test_a_promotion_keeps_the_trial_and_its_configuration(
    new: Callable[..., JournalOracle],
) -> None:
    oracle = new(max_epochs=10)
    rungs: dict[str, dict[str, Any]] = {}
    for name, values in search(oracle):
        begun = rungs.setdefault(name, values)
        assert {k: v for k, v in values.items() if not k.startswith("tuner/")} == {
            k: v for k, v in begun.items() if not k.startswith("tuner/")
        }
    assert len(rungs) == 22


def test_failed_trials_are_replaced(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=10)
    search(oracle, failure_rate=0.2)
    records = oracle.records()
    failed = [record for record in records if record.status == FAILED]
    assert failed
    assert {record.message for record in failed} == {"failed at random"}
    for bracket in oracle.schedule.brackets:
        members = [record for record in records if record.bracket == bracket.number]
        reached = Counter(rung.end_epoch for record in members for rung in record.rungs)
        assert reached == {rung.end_epoch: rung.size for rung in bracket.rungs}
    assert oracle.winner() not in failed


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    failure_rate=st.sampled_from([0.0, 0.15, 0.4]),
    restarts=st.sets(st.integers(1, 30)),
    iterations=st.integers(1, 2),
)
def test_a_resumed_search_equals_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    failure_rate: float,
    restarts: set[int],
    iterations: int,
) -> None:
    folder = tmp_path_factory.mktemp("oracle")
    options: dict[str, Any] = {
        "max_epochs": 4,
        "seed": seed,
        "iterations": iterations,
        "recipes": all_recipes(),
    }
    journal = Journal.create(folder / "whole.db")
    whole = search(JournalOracle(journal, resnet50(), **options), failure_rate)
    records = journal.trials()
    journal.close()

    Journal.create(folder / "parts.db").close()
    parts: RUNGS = []
    for stop in [*sorted(restarts), np.inf]:
        journal = Journal.open(folder / "parts.db")
        oracle = JournalOracle(journal, resnet50(), **options)
        parts += search(oracle, failure_rate, stop - len(parts))
        journal.close()
    assert parts == whole
    assert oracle.schedule.total_trials <= len(records)
    journal = Journal.open(folder / "parts.db")
    assert journal.trials() == records
    journal.close()


# Any search, with failures and restarts


def plain_space() -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    space.Float("rate", 0.0, 1.0)
    return space


def plain(journal: Journal, **options: Any) -> JournalOracle:
    return JournalOracle(journal, plain_space(), **options)


def train(oracle: JournalOracle, trial: kt_trial.Trial, failing: set[tuple[int, int]]) -> None:
    """Pretends to train a rung; what comes out depends on the trial and its rung alone."""
    values = trial.hyperparameters.values
    number, rung = int(trial.trial_id), values["tuner/round"]
    if (number, rung) in failing:
        trial.status, trial.message = kt_trial.TrialStatus.FAILED, f"trial {number} fails"
    else:
        score = zlib.crc32(f"{number} {rung}".encode()) % 16 / 16  # with ties
        start, stop = values["tuner/initial_epoch"], values["tuner/epochs"]
        epochs = [{"val_accuracy": score}] * (stop - start)
        oracle.finish_rung(trial, RungRecord(start, stop, score, 0.5), epochs)
        trial.status = kt_trial.TrialStatus.COMPLETED
    oracle.end_trial(trial)


def train_all(
    path: Path, failing: set[tuple[int, int]], restarts: set[int], **options: Any
) -> tuple[list[TrialRecord], Schedule]:
    """A search whose process ends before the results of some of its steps, by number, are noted."""
    journal = Journal.create(path)
    oracle, step = plain(journal, **options), 0
    while (trial := oracle.create_trial("tuner0")).status == kt_trial.TrialStatus.RUNNING:
        if step in restarts:
            restarts = restarts - {step}
            rungs = dict(trial.hyperparameters.values)
            journal.close()
            journal = Journal.open(path)
            oracle = plain(journal, **options)
            assert not oracle.complete
            trial = oracle.create_trial("tuner0")
            assert trial.hyperparameters.values == rungs
        train(oracle, trial, failing)
        step += 1
    assert trial.status == kt_trial.TrialStatus.STOPPED
    assert oracle.complete
    records = oracle.records()
    journal.close()
    return records, oracle.schedule


def check_slot(records: list[TrialRecord], schedule: Schedule, slot: tuple[int, int]) -> None:
    """Each rung of a bracket has the scheduled size, and holds the best of the one below."""
    bracket = next(b for b in schedule.brackets if b.number == slot[1])
    members = [r for r in records if (r.iteration, r.bracket) == slot]
    for number, rung in enumerate(bracket.rungs):
        spans = [(rung.start_epoch, rung.end_epoch)]
        inside = [r for r in members if len(r.rungs) > number]
        assert [(r.rungs[number].start_epoch, r.rungs[number].end_epoch) for r in inside] == (
            spans * len(inside)
        )
        fell = [r for r in members if r.status == FAILED and len(r.rungs) == number]
        left = [r for r in members if len(r.rungs) == number and r.status != FAILED]
        if number == 0:
            assert len(inside) == rung.size
            assert not left
            continue
        assert len(inside) == rung.size or (len(inside) < rung.size and not left)

        def place(record: TrialRecord, below: int = number - 1) -> tuple[float, int]:
            return (-record.rungs[below].score, record.id)

        if left and inside:
            best = min(map(place, left))
            assert max(map(place, [*inside, *fell])) < best


@settings(deadline=None, max_examples=25)
@given(
    max_epochs=st.integers(1, 12),
    factor=st.integers(2, 4),
    iterations=st.integers(1, 2),
    seed=st.integers(0, 2**32),
    failing=st.sets(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=12),
    restarts=st.sets(st.integers(0, 60), max_size=6),
)
def test_any_search_follows_its_schedule_and_restarts_change_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    max_epochs: int,
    factor: int,
    iterations: int,
    seed: int,
    failing: set[tuple[int, int]],
    restarts: set[int],
) -> None:
    folder = tmp_path_factory.mktemp("oracle")
    options: dict[str, Any] = {
        "max_epochs": max_epochs,
        "factor": factor,
        "iterations": iterations,
        "seed": seed,
        "recipes": {"known": {"rate": 0.5}},
    }
    records, schedule = train_all(folder / "whole.db", failing, set(), **options)
    for iteration in range(iterations):
        for bracket in schedule.brackets:
            check_slot(records, schedule, (iteration, bracket.number))
    assert [record.recipe for record in records].count("known") == 1
    assert len({repr(record.hyperparameters) for record in records}) == len(records)
    assert not any(record.status == RUNNING for record in records)
    assert all((r.id, len(r.rungs)) in failing for r in records if r.status == FAILED)
    for record in records:
        if record.status == COMPLETED:
            assert record.epochs == max_epochs
    again, _ = train_all(folder / "parts.db", failing, restarts, **options)
    assert again == records


def test_an_interrupted_trial_comes_before_new_ones(path: Path) -> None:
    journal = Journal.create(path)
    first = plain(journal, max_epochs=4, factor=2)
    train(first, first.create_trial("tuner0"), set())
    rungs = first.create_trial("tuner0")
    second = plain(journal, max_epochs=4, factor=2)
    again = second.create_trial("tuner0")
    assert again.trial_id == rungs.trial_id == "0001"
    assert again.hyperparameters.values == rungs.hyperparameters.values
    assert len(second.records()) == 2
    # but not twice in one process
    assert second.create_trial("tuner1").trial_id == "0002"
    journal.close()


def test_more_iterations_continue_where_fewer_ended(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_epochs": 4, "factor": 2, "seed": 3}
    expected, _ = train_all(tmp_path / "two.db", {(1, 0)}, set(), iterations=2, **options)
    train_all(tmp_path / "one.db", {(1, 0)}, set(), iterations=1, **options)
    journal = Journal.open(tmp_path / "one.db")
    one = journal.trials()
    oracle = plain(journal, iterations=2, **options)
    assert not oracle.complete
    while (trial := oracle.create_trial("tuner0")).status == kt_trial.TrialStatus.RUNNING:
        train(oracle, trial, {(1, 0)})
    assert oracle.records() == expected
    assert expected[: len(one)] == one
    journal.close()


def test_an_oracle_follows_another_schedule(new: Callable[..., JournalOracle]) -> None:
    oracle = new(plain_space(), max_epochs=9)
    short = shortened(oracle.schedule, 3, 3, 1)
    oracle.follow(short)
    rungs = search(oracle)
    assert Counter(values["tuner/epochs"] for _, values in rungs) == {1: 3, 3: 1}
    assert oracle.complete
    assert [r.status for r in oracle.records()].count(COMPLETED) == 1


def test_the_leader_is_trained_to_the_end(
    new: Callable[..., JournalOracle],
) -> None:
    oracle = new(plain_space(), max_epochs=9)
    assert oracle.leader() is None
    search(oracle, most=4)
    leader = max(oracle.records(), key=lambda record: record.score or 0)
    assert oracle.leader() == leader
    oracle.closing = True
    rungs = search(oracle)
    assert [(name, values["tuner/epochs"]) for name, values in rungs] == [
        (trial_name(leader.id), 3),
        (trial_name(leader.id), 9),
    ]
    assert oracle.leader() is None
    assert not oracle.complete
    oracle.closing = False  # there is time again
    search(oracle)
    reached = Counter((r.bracket, rung.end_epoch) for r in oracle.records() for rung in r.rungs)
    assert reached == {
        (bracket.number, rung.end_epoch): rung.size
        for bracket in hyperband(9, 3)
        for rung in bracket.rungs
    }


def test_a_search_is_complete_when_its_last_rung_is(new: Callable[..., JournalOracle]) -> None:
    oracle = new(plain_space(), max_epochs=2, factor=2)
    while (trial := oracle.create_trial("tuner0")).status == kt_trial.TrialStatus.RUNNING:
        assert not oracle.complete
        end(oracle, trial)
    assert oracle.complete


def test_an_exhausted_space_completes_a_search(
    new: Callable[..., JournalOracle],
) -> None:
    oracle = new(six(), max_epochs=10)
    assert not oracle.complete
    search(oracle)
    assert oracle.complete


def test_configurations_are_known_before_they_begin(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=4, recipes=all_recipes())
    upcoming = [oracle.configuration(number) for number in range(8)]
    assert oracle.records() == []
    search(oracle)
    assert upcoming == configurations(oracle)[:8]
    assert upcoming == [oracle.configuration(number) for number in range(8)]


def test_a_smaller_batch_is_kept_with_the_trial(new: Callable[..., JournalOracle]) -> None:
    oracle = new(plain_space(), max_epochs=2)
    trial = oracle.create_trial("tuner0")
    oracle._journal.set_batch_size(0, 8)
    end(oracle, trial)
    assert oracle.records()[0].batch_size == 8


def test_a_small_space_is_trained_to_the_end_once(new: Callable[..., JournalOracle]) -> None:
    oracle = new(six(), max_epochs=10)
    rungs = search(oracle)
    assert len(rungs) == 3 * 6
    assert [record.epochs for record in oracle.records()] == [10] * 6
    assert len({tuple(values.values()) for values in configurations(oracle)}) == 6


def test_a_second_worker_waits_for_the_rung(new: Callable[..., JournalOracle]) -> None:
    oracle = new(six(), max_epochs=4)  # 5 trials to 2 epochs, 2 of them to 4; then 3 to 4
    trials = [oracle.create_trial(f"tuner{n}") for n in range(5)]
    for trial in trials[:4]:
        end(oracle, trial)
    assert oracle.create_trial("tuner0").status == kt_trial.TrialStatus.IDLE
    assert len(oracle.records()) == 5
    end(oracle, trials[4])
    promoted = oracle.create_trial("tuner0")
    best = max(oracle.records(), key=lambda record: record.score or 0)
    assert promoted.trial_id == trial_name(best.id)
    assert promoted.hyperparameters.values["tuner/initial_epoch"] == 2
    assert oracle.records()[best.id].status == RUNNING


def test_the_least_loss_is_best(new: Callable[..., JournalOracle]) -> None:
    oracle = new(six(), objective="val_loss", max_epochs=4)
    search(oracle)
    records = oracle.records()
    first = [record for record in records if record.bracket == 1]
    promoted = {record.id for record in first if len(record.rungs) == 2}
    by_loss = sorted(first, key=lambda record: record.rungs[0].score)
    assert promoted == {record.id for record in by_loss[:2]}
    full = [record for record in records if record.epochs == 4]
    assert oracle.winner() == min(full, key=lambda record: record.score or 0)


def test_get_best_trials_is_the_ranking(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=10)
    assert oracle.get_best_trials() == []
    assert oracle.winner() is None
    search(oracle, failure_rate=0.1)
    best = rank(oracle.records(), "max")
    trials = oracle.get_best_trials(100)
    assert [trial.trial_id for trial in trials] == [trial_name(record.id) for record in best]
    assert [trial.score for trial in trials] == [record.score for record in best]
    assert trials[0].hyperparameters.values == best[0].hyperparameters
    assert {trial.best_step for trial in trials} == {9}


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_needed_checkpoints_are_of_the_best_the_recipes_and_the_promotable(
    new: Callable[..., JournalOracle], keep: int
) -> None:
    oracle = new(max_epochs=10, recipes=all_recipes())
    search(oracle, most=8)
    # nothing was compared yet: the recipes and the first of the first rung
    assert oracle.needed_checkpoints(keep) == set(range(8))
    running = oracle.create_trial("tuner0")
    assert oracle.needed_checkpoints(keep) == set(range(9))
    end(oracle, running)
    search(oracle)
    best = [record.id for record in rank(oracle.records(), "max")]
    assert oracle.needed_checkpoints(keep) == {0, 1, *best[: max(keep, 1)]}


def test_fewer_parameters_win_a_tie(new: Callable[..., JournalOracle]) -> None:
    oracle = new(max_epochs=1, iterations=3)
    for parameters in (300, 100, 200):
        trial = oracle.create_trial("tuner0")
        oracle._journal.set_parameters(int(trial.trial_id), parameters)
        oracle.finish_rung(trial, RungRecord(0, 1, 0.5, 1.0), [{"val_accuracy": 0.5}])
        trial.status = kt_trial.TrialStatus.COMPLETED
        oracle.end_trial(trial)
    assert [trial.trial_id for trial in oracle.get_best_trials(3)] == ["0001", "0002", "0000"]
