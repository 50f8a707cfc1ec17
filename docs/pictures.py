"""Draws docs/pictures/live.svg and report.jpg from a real search, for the README.

    python docs/pictures.py                                   # on scikit-learn's digits
    python docs/pictures.py photos --weights FILE --image-size 64 --max-epochs 10

The live view is drawn as it stands in the middle of the search; the page is looked at in the
system's Chromium.
"""

import argparse
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
_COLUMNS, _LINES = 92, 24
_PAGE = {"width": 1280, "height": 590}
_QUALITY = 80


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of the README.")
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--max-epochs", type=int, default=9)
    parser.add_argument("--fix", action="append", default=[], help="as for tune search")
    parser.add_argument("--cache-dir", type=Path, default=ROOT / ".demo-cache")
    asked = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    os.environ |= {"COLUMNS": str(_COLUMNS), "LINES": str(_LINES)}  # Rich asks these
    with tempfile.TemporaryDirectory() as runs:
        draw(asked, Path(runs))


def draw(asked: argparse.Namespace, runs: Path) -> None:
    """Searches, and draws both pictures."""
    from tuner.cache import Cache
    from tuner.evaluation import evaluate_winner
    from tuner.report import write_report
    from tuner.search import SearchFolders, search
    from tuner.settings import SearchSettings, parse_fixed

    settings = SearchSettings(
        data=None if asked.data is None else str(asked.data.absolute()),
        weights=asked.weights,
        image_size=asked.image_size,
        max_epochs=asked.max_epochs,
        fixed=parse_fixed(asked.fix),
    )
    title = "tune search" if asked.data is None else f"tune search {asked.data.name}"
    with Cache(asked.cache_dir) as cache:
        camera = camera_of(settings.objective, cache, title)
        with camera:
            run = search(
                settings,
                "first",
                SearchFolders(runs, asked.cache_dir),
                observer=camera,
                on_progress=camera.counting,
            )
        (FOLDER / "live.svg").write_text(camera.picture, "utf-8")
        evaluate_winner(run, run.dataset(), cache)
        page = runs / "report.html"
        write_report(run, page, cache, camera.counting)
    photograph(page, FOLDER / "report.jpg")
    shutil.rmtree(run.folder)


def camera_of(objective: str, cache: Any, title: str) -> Any:
    """A live view that draws itself once, when seven tenths of the epochs are done."""
    from tuner.progress import SearchProgress

    class Camera(SearchProgress):
        picture = ""
        done = 0

        def search_begins(self, schedule: Any, *others: Any) -> None:
            super().search_begins(schedule, *others)
            self.total = schedule.total_epochs

        def epoch_ends(self, trial: Any, epoch: int, metrics: Any) -> None:
            super().epoch_ends(trial, epoch, metrics)
            self.done += 1
            if not self.picture and self.done >= 0.7 * self.total:
                self.picture = drawing(self.drawn(), title)

    return Camera(objective, cache_bytes=lambda: sum(entry.size_bytes for entry in cache.entries()))


def drawing(view: Any, title: str) -> str:
    """What stands on a terminal, as SVG that asks no network for a font."""
    from rich.console import Console
    from rich.terminal_theme import DEFAULT_TERMINAL_THEME

    console = Console(
        record=True,
        width=_COLUMNS,
        height=_LINES,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        highlight=False,
    )
    console.print(view)
    svg = console.export_svg(title=title, theme=DEFAULT_TERMINAL_THEME)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def photograph(page: Path, picture: Path) -> None:
    """What a reader of the page sees first."""
    from tests.browser import chromium, watched_page

    with (
        chromium() as browser,
        watched_page(browser, viewport=_PAGE, color_scheme="light") as watched,
    ):
        watched.page.goto(page.as_uri())
        watched.page.wait_for_load_state("networkidle")
        watched.page.screenshot(path=picture, type="jpeg", quality=_QUALITY)
        if watched.errors or watched.outside:
            raise SystemExit(f"the page is not sound: {watched.errors or watched.outside}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
