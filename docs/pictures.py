"""Draws docs/pictures/live.svg and report.jpg from a real search, for the README.

    make pictures DATA=FOLDER WEIGHTS=FILE
    python docs/pictures.py FOLDER --weights FILE

What the README shows is a search over heads alone, of up to 10 epochs and with --seed 1 (with 0 the
plain head led from the beginning, and no score rose), on a folder of emoji drawn by Google: 1,636
JPEG of 64 x 64 pixels in 8 class folders, as `benchmarks/emojis.py` makes them of the npm package
emoji-datasource-google 16.0.0. The weights are those of a ResNet50 that was trained at 64 pixels on
other drawings, as Keras writes them (.weights.h5). Any folder of class folders will do, and any
weights that `tune search` takes.

The live view is drawn as it stands at seven tenths of the search; then `tune best` opens the test
images, and the page on the run is looked at in the system's Chromium.
"""

import argparse
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
_COLUMNS, _LINES = 92, 24
_PAGE = {"width": 1280, "height": 690}
_QUALITY = 80
_FIXED = ["unfreeze_blocks=0"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of the README.")
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--weights", required=True, help="as for tune search")
    parser.add_argument("--image-size", type=int, default=64, help="in pixels")
    parser.add_argument("--max-epochs", type=int, default=10)
    parser.add_argument("--fix", action="append", help="as for tune search (unfreeze_blocks=0)")
    parser.add_argument("--seed", type=int, default=0, help="as for tune search (0)")
    parser.add_argument("--keep", type=Path, help="runs folder that the run is left in")
    asked = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    os.environ |= {"COLUMNS": str(_COLUMNS), "LINES": str(_LINES)}  # Rich asks these
    with tempfile.TemporaryDirectory() as scratch:  # the search finds nothing stored
        draw(asked, asked.keep or Path(scratch, "runs"), Path(scratch, "cache"))


def draw(asked: argparse.Namespace, runs: Path, cache_dir: Path) -> None:
    """Searches, and draws both pictures."""
    from tuner.evaluate.evaluation import evaluate_winner
    from tuner.report.write import write_report
    from tuner.search.pipeline import run_search
    from tuner.settings import SearchFolders, SearchSettings, parse_fixed
    from tuner.storage.cache import Cache

    settings = SearchSettings(
        data=str(asked.data.absolute()),
        weights=asked.weights,
        image_size=asked.image_size,
        max_epochs=asked.max_epochs,
        seed=asked.seed,
        fixed=parse_fixed(asked.fix or _FIXED),
    )
    title = f"tune search {asked.data.name}"
    with Cache(cache_dir) as cache:
        camera = camera_of(settings.objective, cache, title)
        with camera:
            run = run_search(
                settings,
                "first",
                SearchFolders(runs, cache_dir),
                observer=camera,
            )
        (FOLDER / "live.svg").write_text(camera.picture, "utf-8")
        evaluate_winner(run, run.dataset(), cache)
        page = run.folder / "report.html"
        write_report(run, page, cache, camera.count)
    photograph(page, FOLDER / "report.jpg")


def camera_of(objective: str, cache: Any, title: str) -> Any:
    """A live view that draws itself once, when seven tenths of the epochs are done."""
    from tuner.observer import EpochEnds, SearchBegins, SearchEvent
    from tuner.terminal.search_progress import SearchProgress

    class Camera(SearchProgress):
        picture = ""
        done = 0

        def on_event(self, event: SearchEvent) -> None:
            super().on_event(event)
            match event:
                case SearchBegins(schedule):
                    self.total = schedule.total_epochs
                case EpochEnds():
                    self.done += 1
                    if not self.picture and self.done >= 0.7 * self.total:
                        self.picture = drawing(self.drawn(), title)

    return Camera(objective, cache_bytes=lambda: sum(entry.size_bytes for entry in cache.entries()))


def drawing(view: Any, title: str) -> str:
    """What stands on a terminal, as SVG that asks no network for a font."""
    from rich.console import Console
    from rich.terminal_theme import SVG_EXPORT_THEME

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
    svg = console.export_svg(title=title, theme=SVG_EXPORT_THEME)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def photograph(page: Path, picture: Path) -> None:
    """What a reader of the page sees first."""
    from tests.support.browser import chromium, watched_page

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
