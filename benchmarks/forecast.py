"""Do forecasts of accuracy from a learning curve come true?

    python benchmarks/forecast.py --data FOLDER --weights FILE --image-size 64

Image sets are drawn from a folder and from scikit-learn's digits: all classes, some of them, few
images. Each is split at random into training, validation (15 %) and other images (30 %), and the
curve that `tune diagnose` draws is measured on both of the latter. Then laws are fitted

- to the smaller half of the sizes, up to n/2, to predict 3/4 n and n;
- to a curve of a half, a fifth, a tenth of the training images alone, as if there were no more, to
  predict all of them.

Fits see the validation images alone. A forecast holds if the accuracy that was measured later lies
inside its interval: on the same validation images, and on the other images, whose own chance the
interval does not allow for.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report, progress, run_arm, scratch_folder
from leaks import pooled

# Draws of classes and splits begin here: those before it served to choose the grid of laws.
FIRST_SEED = 100
PARTS = (1 / 2, 1 / 5, 1 / 10)
Point = dict[str, Any]


@dataclass(frozen=True)
class Images:
    """A set of images: its name, features of shape (images, features), and class numbers."""

    name: str
    x: np.ndarray
    y: np.ndarray


def main() -> None:
    options = _parse()
    report = Report("forecast", "Do forecasts from a learning curve hold what comes?", options)
    with scratch_folder(options) as scratch:
        found = run_arm(
            measure_all,
            folder=str(options.data),
            weights=str(options.weights),
            image_size=options.image_size,
            seeds=options.seeds,
            cache=str(scratch),
        )
    points = found["points"]
    for kind in ("the smaller half of a curve", "a part of the images alone"):
        chosen = [point for point in points if point["fitted to"] == kind]
        report.table(f"Fitted to {kind}", _rows(chosen))
        held = [point["held"] for point in chosen]
        report.note(f"{sum(held)} of {len(held)} points lie inside: {100 * np.mean(held):.0f} %.")
    report.table("Seconds of the whole folder's curve", [found["speed"]])
    report.keep("points", points)
    report.write()


def measure_all(
    folder: str, weights: str, image_size: int, seeds: int, cache: str
) -> dict[str, Any]:
    """An arm: the points of all image sets, and how long one curve takes."""
    whole = _folder_images(Path(folder), weights, image_size, Path(cache))
    points: list[Point] = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for images in _image_sets(whole, np.random.default_rng(seed)):
            points += _points(images, seed)
        progress(f"seed {seed}: {len(points)} points")
    return {"points": points, "speed": _speed(whole)}


def _folder_images(folder: Path, weights: str, image_size: int, cache: Path) -> Images:
    from tuner.data.survey import survey
    from tuner.storage.cache import Cache

    with Cache(cache) as opened:
        found = survey(folder, opened)
        paths = [picture.path for picture in found.pictures]
        labels = np.array([found.classes.index(picture.label) for picture in found.pictures])
        return Images("folder", pooled(folder, paths, weights, image_size, opened), labels)


def _image_sets(whole: Images, random: np.random.Generator) -> Iterator[Images]:
    """The sets of one seed: both sources, with all classes, half of them, three, and few images."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for source in (whole, Images("digits", digits.data, digits.target)):
        classes = len(np.unique(source.y))
        yield source
        yield _some_classes(source, classes // 2, random)
        yield _some_classes(source, min(3, classes), random)
        few = random.permutation(len(source.y))[: len(source.y) // 2]
        yield Images(f"{source.name}, half of the images", source.x[few], source.y[few])


def _some_classes(images: Images, count: int, random: np.random.Generator) -> Images:
    chosen = np.sort(random.choice(np.unique(images.y), count, replace=False))
    rows = np.isin(images.y, chosen)
    labels = np.searchsorted(chosen, images.y[rows])
    return Images(f"{images.name}, {count} classes", images.x[rows], labels)


def _points(images: Images, seed: int) -> list[Point]:
    """Every forecast of one image set beside what was measured."""
    from tuner.diagnose.learning_curve import LEAST_SIZES, measure, nested_subsets
    from tuner.diagnose.power_laws import fit_laws
    from tuner.training.rows import Rows

    order = np.random.default_rng(seed).permutation(len(images.y))
    validation, other = round(0.15 * len(order)), round(0.3 * len(order))
    held_out, train = order[: validation + other], order[validation + other :]
    scored = Rows(images.x[held_out], images.y[held_out])

    def curve(rows: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
        return measure(Rows(images.x[rows], images.y[rows]), scored, draws=10, seed=seed)

    def point(kind: str, laws: Any, place: int) -> Point:
        forecast = laws.forecast(sizes[place])
        accuracies = right[:, place, :validation], right[:, place, validation:]
        return _point(kind, images.name, seed, laws.images, forecast, accuracies)

    sizes, right = curve(train)
    smaller = [place for place, size in enumerate(sizes) if size <= len(train) // 2 + 1]
    laws = fit_laws([sizes[place] for place in smaller], right[:, smaller, :validation], len(train))
    larger = range(len(smaller), len(sizes))
    points = [point("the smaller half of a curve", laws, place) for place in larger]
    parts = nested_subsets(images.y[train], PARTS[::-1], np.random.default_rng((seed, 1)))
    for part in parts:
        few_sizes, few_right = curve(train[part])
        if len(few_sizes) >= LEAST_SIZES:
            laws = fit_laws(few_sizes, few_right[:, :, :validation], len(part))
            points.append(point("a part of the images alone", laws, len(sizes) - 1))
    return points


def _point(
    kind: str,
    name: str,
    seed: int,
    known: int,
    forecast: Any,
    accuracies: tuple[np.ndarray, np.ndarray],
) -> Point:
    same, other = (float(each.mean()) for each in accuracies)
    return {
        "fitted to": kind,
        "images": name,
        "seed": seed,
        "known": known,
        "asked": forecast.images,
        "accuracy": same,
        "of other images": other,
        "forecast": forecast.accuracy,
        "low": forecast.low,
        "high": forecast.high,
        "held": forecast.low <= same <= forecast.high,
        "held of other images": forecast.low <= other <= forecast.high,
    }


def _rows(points: list[Point]) -> list[dict[str, Any]]:
    """A row for each source and each number of times as many images, and one for all."""
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        times = point["asked"] / point["known"]
        times = min((1.5, 2, 5, 10), key=lambda known: abs(known - times))
        groups[point["images"].split(",")[0], f"{times:g} times"].append(point)
    rows = [_row(*key, group) for key, group in sorted(groups.items())]
    return [*rows, _row("all", "", points)]


def _row(source: str, times: str, points: list[Point]) -> dict[str, Any]:
    return {
        "images": source,
        "asked about": times,
        "points": len(points),
        "inside, %": 100 * statistics.mean(point["held"] for point in points),
        "of other images, %": 100 * statistics.mean(p["held of other images"] for p in points),
        "width, points": 100 * statistics.median(p["high"] - p["low"] for p in points),
        "forecast - truth, points": 100
        * statistics.mean(p["forecast"] - p["accuracy"] for p in points),
    }


def _speed(images: Images) -> dict[str, Any]:
    """How long `learning_curve` takes on the whole folder, split as usual."""
    from tuner.diagnose.learning_curve import learning_curve
    from tuner.training.rows import Rows

    order = np.random.default_rng(0).permutation(len(images.y))
    held_out, train = np.split(order, [round(0.15 * len(order))])
    begun = time.perf_counter()
    learning_curve(*(Rows(images.x[rows], images.y[rows]) for rows in (train, held_out)))
    return {"training images": len(train), "seconds": time.perf_counter() - begun}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", default="none", help="none, imagenet, or a weights file")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--seeds", type=int, default=5, help="of classes and splits (5)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
