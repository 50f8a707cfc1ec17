"""Wall time before training: reading and decoding images, computing features."""

import contextlib
import time
from collections.abc import Iterator, Mapping

from tuner.errors import TuneError
from tuner.runs.journal import Journal
from tuner.runs.notes import Notes

READING, DECODING, FEATURES = "reading images", "decoding images", "computing frozen features"


@contextlib.contextmanager
def timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Add the wall time of a `with` block to `seconds[what]`."""
    begun = time.monotonic()
    try:
        yield
    finally:
        seconds[what] = seconds.get(what, 0.0) + time.monotonic() - begun


@contextlib.contextmanager
def noted(journal: Journal, what: str) -> Iterator[None]:
    """Note the wall time of a `with` block, even if it is interrupted."""
    seconds: dict[str, float] = {}
    try:
        with timed(seconds, what):
            yield
    finally:
        with contextlib.suppress(TuneError):  # such as a full disk, which ends the search anyway
            note_seconds(journal, seconds)


def note_seconds(journal: Journal, seconds: Mapping[str, float]) -> None:
    """Add seconds to those that earlier processes of the run noted."""
    known = dict(journal.notes().prepared_seconds or {})
    for name, spent in seconds.items():
        known[name] = known.get(name, 0.0) + spent
    journal.set_notes(Notes(prepared_seconds=known), durable=False)
