"""Which trial wins, and the order of the others."""

from hypothesis import given
from hypothesis import strategies as st

from tuner.runs.ranking import rank, rank_all
from tuner.runs.records import (
    COMPLETED,
    FAILED,
    RUNNING,
    STOPPED,
    RungRecord,
    TrialRecord,
    trial_name,
)


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
        trial(0, 0.5, parameters=20), trial(1, 0.5, parameters=10), trial(2, 0.5, parameters=10)
    ]  # fmt: skip
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
