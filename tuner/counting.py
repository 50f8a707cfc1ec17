"""The progress callback of everything that takes more than a moment.

A function that does the work takes `on_progress: Progress = silent` and calls it with what is done,
how much of it is done so far, and of how much: `on_progress("decoding images", 3, 200)`.
"""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # what is done, done so far, of how many


def silent(what: str, done: int, count: int) -> None:
    """Show no progress."""


Told = Callable[[int, int], None] | None


def telling(on_progress: Progress | None, what: str) -> Callable[[int, int], None]:
    """Tells of one experiment; tells nobody where nobody wants to know."""

    def tell(done: int, count: int) -> None:
        if on_progress is not None:
            on_progress(what, done, count)

    return tell


def tell_counts(on_progress: Told, done: int, count: int) -> None:
    """Tells how much of how many is done; nobody where nobody wants to know."""
    if on_progress is not None:
        on_progress(done, count)
