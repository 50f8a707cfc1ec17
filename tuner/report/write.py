"""Write the report of a run, or the comparison of several."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tuner.errors import SettingsError
from tuner.report.comparison import compare
from tuner.report.contents import gather
from tuner.report.page import render, render_comparison
from tuner.runs.run import Run, is_writable
from tuner.storage.atomic import write_text
from tuner.storage.cache import Cache

FILE_NAME = "report.html"
COMPARISON_NAME = "comparison.html"


def check_page(path: Path) -> None:
    """Raises SettingsError unless a page can be written to that file."""
    if path.is_dir():
        raise SettingsError(f"{path} is a folder. Name the page: --out FILE.html.")
    if not path.parent.is_dir():
        raise SettingsError(f"there is no folder {path.parent} to write the page to. Make it.")
    if not is_writable(path.parent):
        raise SettingsError(f"{path.parent} cannot be written. Choose another file: --out FILE.")


def write_report(
    run: Run, path: Path, cache: Cache, on_progress: Callable[[str, int, int], None]
) -> None:
    """Writes the report of a run, in whatever state it is.

    The test images are not opened: what `tune best` measured is shown, or that nobody has.

    Args:
        run: the run.
        path: of the page; one that is there is replaced once the new one is whole.
        cache: holds images and features of the search.
        on_progress: called with (what is done, done so far, of how many).

    Raises:
        RunError: there is no journal, or another version wrote it.
        OSError: the page cannot be written.
    """
    write_text(path, render(gather(run, cache, on_progress), _now()))


def write_comparison(runs: Sequence[Run], path: Path) -> None:
    """Writes a page that puts runs side by side; no image is opened.

    Args:
        runs: at least two.
        path: of the page, as for `write_report`.

    Raises:
        RunError: as for `write_report`.
        OSError: the page cannot be written.
    """
    write_text(path, render_comparison(compare(runs), _now()))


def _now() -> datetime:
    return datetime.now().astimezone()
