"""What does reading a folder cost an image, in time and memory, as folders grow?

    python benchmarks/scale.py

Folders of small JPEG files, each in a fresh process: the survey (reading, hashing, decoding,
finding copies), the same again with what the cache remembers, the split, and the decoded store.
Memory is RssAnon, what the process holds besides files that are mapped; it grows with what is kept
of each image, a few kilobytes, and not with pixels.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    RESULTS,
    PeakMemory,
    Report,
    progress,
    rss_anon_bytes,
    run_arm,
    scratch_folder,
)
from PIL import Image

CLASSES = 10
MB = 1e6


def main() -> None:
    options = _parse()
    report = Report("scale", "What does reading a folder cost an image, as folders grow?", options)
    rows = []
    with scratch_folder(options) as scratch:
        for count in options.images:
            progress(f"{count} images")
            folder = scratch / str(count)
            write(folder / "images", count, options.image_size)
            rows.append(run_arm(measure, folder=str(folder), count=count, size=options.image_size))
            shutil.rmtree(folder)
    report.table("Reading folders of more and more images", rows)
    report.write()


def write(folder: Path, count: int, size: int) -> None:
    """Images of coarse noise, no two alike, in class folders."""
    random = np.random.default_rng(count)
    for number in range(CLASSES):
        (folder / f"class {number}").mkdir(parents=True)
    for number in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        image.save(folder / f"class {number % CLASSES}" / f"{number:07}.jpg", quality=90)


def measure(folder: str, count: int, size: int) -> dict[str, Any]:
    """An arm: one folder."""
    from tuner.data import near_duplicates
    from tuner.data.dataset import SplitOptions, split_survey
    from tuner.data.pixel_store import prepare_images
    from tuner.data.survey import survey
    from tuner.storage.cache import Cache

    data, row = Path(folder) / "images", {"images": count}
    spent: list[float] = []
    near_pairs = near_duplicates.near_pairs

    def timed_pairs(fingerprints: Any) -> Any:
        begun = time.perf_counter()
        found = near_pairs(fingerprints)
        spent.append(time.perf_counter() - begun)
        return found

    near_duplicates.near_pairs = timed_pairs
    with Cache(Path(folder) / "cache") as cache:
        before = rss_anon_bytes()
        with PeakMemory() as peak:
            found, seconds = _timed(lambda: survey(data, cache))
        row |= {
            "survey, ms an image": (seconds - spent[0]) / count * 1e3,
            "copies, s": spent[0],
            "peak, MB": peak.bytes / MB,
            "growth, KB an image": (peak.bytes - before) / count / 1e3,
        }
        _, seconds = _timed(lambda: survey(data, cache))
        row["again, ms an image"] = (seconds - spent[1]) / count * 1e3
        dataset, seconds = _timed(lambda: split_survey(found, SplitOptions()))
        row["splitting, s"] = seconds
        prepare_images(dataset.files[:1], data, size, cache)  # imports TensorFlow
        before = rss_anon_bytes()
        with PeakMemory() as peak:
            _, seconds = _timed(lambda: prepare_images(dataset.files, data, size, cache))
        row |= {
            "decoded store, ms an image": seconds / count * 1e3,
            "its growth, MB": (peak.bytes - before) / MB,
        }
    return row


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
