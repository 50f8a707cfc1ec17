"""How large is a report of 200 trials and 10,000 images, and how soon does it show something?

    python benchmarks/report_page.py

The run is that of `tests/support/synthetic_run.py`, which was never searched: 197 trials follow
Hyperband's schedule, and each of the 24 mistakes and 24 doubtful labels has a picture of noise, the
worst for JPEG. The page is opened from a file in the system's headless Chromium, in a context of
its own each time, and the browser says when it painted the first of its content.
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from common import RESULTS, Report, median

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES, MOST_SECONDS = 8_000_000, 1.0
QUESTION = "How large is a report of 200 trials, and how soon is it painted?"
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
_POLL_MS = 20


def main() -> None:
    options = _parse()
    report = Report("report_page", QUESTION, options)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        trials, images = write_page(page)
        size_bytes = page.stat().st_size
        seconds = first_paints(page, options.loads)
    middle = median(seconds)
    rows = [
        {
            "trials": trials,
            "images": images,
            "megabytes": size_bytes / 1e6,
            "first paint, seconds": middle,
            "the slowest": max(seconds),
        }
    ]
    report.table(f"The page, and {options.loads} loads of it", rows)
    report.keep("size_bytes", size_bytes)
    report.keep("first_paint_seconds", seconds)
    report.note(
        f"{size_bytes / 1e6:.1f} MB, where {MOST_BYTES / 1e6:.0f} are allowed; painted after "
        f"{middle:.2f} s, where {MOST_SECONDS:.0f} s is."
    )
    report.write()
    if size_bytes > MOST_BYTES or middle > MOST_SECONDS:
        raise SystemExit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", type=int, default=9, help="how often it is opened (9)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


def write_page(path: Path) -> tuple[int, int]:
    """Writes the report, and returns its trials and images."""
    from tests.support.synthetic_run import many_contents
    from tuner.report.page import render

    contents = many_contents()
    path.write_text(render(contents, datetime.now(UTC)), "utf-8")
    assert contents.data.dataset is not None
    return len(contents.data.trials), len(contents.data.dataset.files)


def first_paints(path: Path, loads: int) -> list[float]:
    """Seconds from the beginning of each load to the first paint of content."""
    from tests.support.browser import chromium, watched_page

    found = []
    with chromium() as browser:
        for _ in range(loads):
            with watched_page(browser) as watched:
                watched.page.goto(path.as_uri())
                while (painted := watched.page.evaluate(_PAINT)) is None:
                    watched.page.wait_for_timeout(_POLL_MS)
            if watched.errors:
                raise SystemExit(f"the page is not sound: {watched.errors}")
            found.append(painted / 1000)
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
