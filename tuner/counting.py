"""The progress callback of everything that takes more than a moment.

Called as `on_progress("decoding images", 3, 200)`.
"""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # what is done, done so far, of how many


def silent(what: str, done: int, count: int) -> None:
    """Show no progress."""
