"""The progress callback of everything that takes more than a moment."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
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


def named(on_progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    """The same for one thing that is done; None where nobody wants to know."""
    if on_progress is None:
        return None
    return lambda done, count: on_progress(what, done, count)
