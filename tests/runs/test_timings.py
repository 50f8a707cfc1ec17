"""What goes before the training is timed, and added up over the processes of a run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.errors import StoppedError
from tuner.runs.journal import Journal
from tuner.runs.timings import note_seconds, noted, prepared_seconds, timed


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the time is told one second more than the one before."""
    monkeypatch.setattr(time, "monotonic", iter(range(100)).__next__)


def test_a_run_that_noted_nothing_has_none(journal: Journal) -> None:
    assert prepared_seconds(journal) == {}


def test_what_is_timed_twice_is_added_up() -> None:
    seconds: dict[str, float] = {}
    for _ in range(2):
        with timed(seconds, "reading"):
            pass
    assert seconds == {"reading": 2}


def test_later_processes_add_to_it(journal: Journal) -> None:
    note_seconds(journal, {"reading": 2.5})
    note_seconds(journal, {"reading": 1.0, "decoding": 4.0})
    assert prepared_seconds(journal) == {"reading": 3.5, "decoding": 4.0}


def test_what_was_interrupted_is_noted_too(journal: Journal) -> None:
    with pytest.raises(StoppedError), noted(journal, "features"):
        raise StoppedError
    assert prepared_seconds(journal) == {"features": 1}
