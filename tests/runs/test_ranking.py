"""Which trial wins, the order of the others, and the simplest within one standard error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.ranking import (
    may_be_simplest,
    near_best,
    rank,
    rank_all,
    simplest,
    standard_error,
    values_of,
)
from tuner.runs.records import (
    COMPLETED,
    FAILED,
    RUNNING,
    STOPPED,
    RungRecord,
    TrialRecord,
    trial_name,
)

IMAGES = 100
LABELS = np.zeros(IMAGES, np.int32)


def trial(
    number: int, *scores: float, status: str = STOPPED, parameters: int | None = 10
) -> TrialRecord:
    rungs = tuple(RungRecord(i, i + 1, score, 1.0) for i, score in enumerate(scores))
    return TrialRecord(number, None, 0, 0, {}, status, parameters, None, rungs)


def ids(records: list[TrialRecord]) -> list[int]:
    return [record.id for record in records]


def test_only_the_highest_rung_can_win() -> None:
    records = [trial(0, 0.9), trial(1, 0.5, 0.6), trial(2, 0.5, 0.7)]
    assert ids(rank(records, "max")) == [2, 1]
    assert ids(rank(records, "min")) == [1, 2]
    assert ids(rank_all(records, "max")) == [2, 1, 0]


def test_failed_trials_cannot_win() -> None:
    records = [trial(0, 0.5, 0.9, status=FAILED), trial(1, 0.4), trial(2, status=FAILED)]
    assert ids(rank(records, "max")) == [1]
    assert ids(rank_all(records, "max")) == [1, 0, 2]


def test_a_trial_without_a_rung_cannot_win() -> None:
    assert rank([trial(0, status=RUNNING)], "max") == []
    assert rank([], "max") == []
    assert ids(rank_all([trial(0, status=RUNNING)], "max")) == [0]


def test_ties_go_to_the_smaller_then_to_the_earlier() -> None:
    records = [
        trial(0, 0.5, parameters=20),
        trial(1, 0.5, parameters=10),
        trial(2, 0.5, parameters=10),
    ]
    assert ids(rank(records, "max")) == ids(rank(records, "min")) == [1, 2, 0]


def test_a_promoted_trial_that_runs_again_keeps_its_place() -> None:
    records = [trial(0, 0.5, status=COMPLETED), trial(1, 0.6, status=RUNNING)]
    assert ids(rank(records, "max")) == [1, 0]


@given(st.lists(st.lists(st.floats(0, 1), max_size=3)), st.sampled_from(["max", "min"]), st.data())
def test_every_trial_is_listed_once(
    scores: list[list[float]], direction: str, data: st.DataObject
) -> None:
    statuses = st.sampled_from([RUNNING, STOPPED, COMPLETED, FAILED])
    records = [trial(i, *s, status=data.draw(statuses)) for i, s in enumerate(scores)]
    assert sorted(ids(rank_all(records, direction))) == list(range(len(records)))
    best = rank(records, direction)
    assert rank_all(records, direction)[: len(best)] == best
    if best:
        assert all(r.status != FAILED and r.epochs == best[0].epochs for r in best)


def test_trial_names() -> None:
    assert [trial_name(number) for number in (0, 42, 12345)] == ["0000", "0042", "12345"]


def search(folder: Path, *trials: tuple[int, int], keep: bool = True) -> Journal:
    """A journal of trials, each (right predictions of 100, trained scalars)."""
    journal = Journal.create(folder / "journal.db")
    for number, (right, parameters) in enumerate(trials):
        journal.begin_trial({}, slot=(0, 0))
        journal.set_parameters(number, parameters)
        sure = np.where(np.arange(IMAGES) < right, 0.75, 0.25)
        made = Outcomes.of(np.stack([sure, 1 - sure], axis=1), LABELS)
        rung = RungRecord(0, 1, right / IMAGES, 1.0)
        outcomes = made if keep else None
        journal.finish_rung(number, rung, [{}], outcomes=outcomes, completed=True)
    return journal


def test_the_simplest_within_one_standard_error(tmp_path: Path) -> None:
    # The best's error is 4 points: 0.77 is within it, 0.75 is not.
    journal = search(tmp_path, (75, 1), (77, 20), (80, 30), (78, 20), (78, 20))
    found = simplest(journal, LABELS, "val_accuracy")
    assert found is not None
    trial, error = found
    assert error == pytest.approx(0.04)
    assert trial.id == 3  # the better of those that are as cheap
    near = near_best(journal, LABELS, "val_accuracy")
    assert near is not None
    assert [each.id for each in near[0]] == [2, 3, 4, 1]
    assert may_be_simplest(near[0]) == {2, 3}  # of equal cost the worse falls out first


def test_nothing_to_choose_from(tmp_path: Path) -> None:
    assert simplest(search(tmp_path), LABELS, "val_accuracy") is None
    (tmp_path / "old").mkdir()
    old = search(tmp_path / "old", (80, 1), keep=False)
    assert simplest(old, LABELS, "val_accuracy") is None


def test_standard_errors_of_each_objective() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [180, 20]).astype(np.int32)
    made = Outcomes.of(random.dirichlet([1, 1], 200), labels)
    right = values_of(made, labels, "val_accuracy")
    assert right.mean() == made.right(labels).mean()
    share = right.mean()
    expected = np.sqrt(share * (1 - share) / 200)
    assert standard_error(right, labels, "val_accuracy") == pytest.approx(expected)
    losses = values_of(made, labels, "val_loss")
    assert losses.mean() == pytest.approx(-np.log(made.probability.astype(float)).mean())
    # The rare class alone makes nearly all of it.
    rare = np.sqrt(right[180:].var() / 20) / 2
    balanced = standard_error(right, labels, "val_balanced_accuracy")
    assert rare < balanced < 1.2 * rare


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(0, 20),
)
def test_the_simplest_keeps_its_weights_whatever_the_bound_becomes(
    found: list[tuple[int, int]], bound: int
) -> None:
    records = [
        TrialRecord(number, None, 0, 0, {}, COMPLETED, cost, None, (RungRecord(0, 1, score, 1.0),))
        for number, (score, cost) in enumerate(found)
    ]
    ranked = sorted(records, key=lambda t: (-t.rungs[-1].score, t.parameters or 0, t.id))
    inside = [trial for trial in ranked if trial.rungs[-1].score >= bound]
    if inside:
        chosen = min(inside, key=lambda trial: trial.parameters or 0)
        assert chosen.id in may_be_simplest(ranked)
