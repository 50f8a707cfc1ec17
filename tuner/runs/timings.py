"""What a search spends before it trains: reading and decoding images, computing features."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from tuner.errors import TuneError
from tuner.runs.journal import Journal
from tuner.runs.notes import Notes

READING, DECODING, FEATURES = "reading images", "decoding images", "computing frozen features"


@contextlib.contextmanager
def timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Adds the wall time of a `with` block to what is known of that name."""
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds[what] = seconds.get(what, 0.0) + time.monotonic() - begun


@contextlib.contextmanager
def noted(journal: Journal, what: str) -> Iterator[None]:
    """Notes the wall time of a `with` block, one that was interrupted too."""
    seconds: dict[str, float] = {}
    try:
        with timed(seconds, what):
            yield
    finally:
        with contextlib.suppress(TuneError):  # a full disk, say, that has ended the search
            note_seconds(journal, seconds)


def note_seconds(journal: Journal, seconds: Mapping[str, float]) -> None:
    """Adds to what the run's earlier processes spent, by what was done."""
    known = prepared_seconds(journal)
    added = {name: known.get(name, 0.0) + spent for name, spent in seconds.items()}
    journal.set_notes(Notes(prepared_seconds=known | added), durable=False)


def prepared_seconds(journal: Journal) -> dict[str, float]:
    """Wall time of all the run's processes by what was done; empty where none was noted."""
    return dict(journal.notes().prepared_seconds or {})
