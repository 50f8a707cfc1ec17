"""Wall time before training, added up over the processes of a run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.errors import StoppedError
from tuner.runs.journal import Journal
from tuner.runs.timings import note_seconds, noted, timed


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by one second on each call."""
    monkeypatch.setattr(time, "monotonic", iter(range(100)).__next__)


def test_a_new_run_has_no_timings(journal: Journal) -> None:
    assert journal.notes().prepared_seconds is None


def test_times_of_one_name_add_up() -> None:
    seconds: dict[str, float] = {}
    for _ in range(2):
        with timed(seconds, "reading"):
            pass
    assert seconds == {"reading": 2}


def test_later_processes_add_their_seconds(journal: Journal) -> None:
    note_seconds(journal, {"reading": 2.5})
    note_seconds(journal, {"reading": 1.0, "decoding": 4.0})
    assert journal.notes().prepared_seconds == {"reading": 3.5, "decoding": 4.0}


def test_interrupted_blocks_are_noted(journal: Journal) -> None:
    with pytest.raises(StoppedError), noted(journal, "features"):
        raise StoppedError
    assert journal.notes().prepared_seconds == {"features": 1}
