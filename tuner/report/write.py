"""Write the report of a run, or the comparison of several."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tuner.counting import Progress
from tuner.errors import SettingsError
from tuner.report.comparison import compare
from tuner.report.contents import gather
from tuner.report.page import render, render_comparison
from tuner.report.run_data import read_run_data
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
    if path.exists():
        with path.open("rb") as file:
            if b"Content-Security-Policy" not in file.read(200):  # every page of ours has it first
                raise SettingsError(
                    f"{path} exists and is not a page of this program. Choose another file: --out "
                    "FILE.html."
                )


def write_report(run: Run, path: Path, cache: Cache, on_progress: Progress) -> None:
    """Write the report of a run in any state; the test images are not opened.

    Raises:
        RunError: there is no journal, or another version wrote it.
        OSError: the page cannot be written.
    """
    write_text(path, render(gather(run, cache, on_progress), datetime.now().astimezone()))


def write_comparison(runs: Sequence[Run], path: Path) -> None:
    """Write a page that compares at least two runs, without opening images; as `write_report`."""
    comparison = compare([read_run_data(run) for run in runs])
    write_text(path, render_comparison(comparison, datetime.now().astimezone()))
