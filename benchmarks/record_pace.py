"""What did each rung of a search take? Records whole runs for the tests of the time left.

    python benchmarks/record_pace.py digits.json --seed 0
    python benchmarks/record_pace.py drawings.json --data PHOTOS --image-size 64 --weights FILE

Writes one JSON file: the schedule, and for every rung in the order in which they were trained its
trial, hyperparameters, epochs, score, the wall time since the rung before it, after how much of it
each of its epochs ended, both by the processor's clock too, which other work on the machine hardly
touches, and what the cost model expected of an epoch before anything was measured.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import import_all


def main() -> None:
    options = _parse()
    import_all()
    from spaces import UpTo

    from tuner.observer import (
        EpochEnds,
        RungBegins,
        RungEnds,
        SearchBegins,
        SearchEvent,
        SearchObserver,
    )
    from tuner.search.tuner import HyperbandTuner
    from tuner.storage.cache import Cache, default_cache_dir

    x, y, validation, classes = _images(options)
    rungs: list[dict[str, Any]] = []

    class Recorder(SearchObserver):
        def on_event(self, event: SearchEvent) -> None:
            match event:
                case SearchBegins():
                    self.last = _clocks()
                case RungBegins():
                    self.ends: list[np.ndarray] = []
                case EpochEnds():
                    self.ends.append(_clocks() - self.last)
                case RungEnds(trial):
                    self.end_rung(trial)

        def end_rung(self, trial: Any) -> None:
            now, rung = _clocks(), trial.rungs[-1]
            seconds, processor = (now - self.last).round(4).tolist()
            ends = np.reshape(self.ends, (-1, 2)).round(4).T.tolist()
            rungs.append(
                {
                    "trial": trial.id,
                    "recipe": trial.recipe,
                    "iteration": trial.iteration,
                    "bracket": trial.bracket,
                    "hyperparameters": trial.hyperparameters,
                    "start_epoch": rung.start_epoch,
                    "end_epoch": rung.end_epoch,
                    "score": rung.score,
                    "seconds": seconds,
                    "epoch_ends": ends[0],
                    "processor_seconds": processor,
                    "processor_epoch_ends": ends[1],
                    "expected_epoch_seconds": tuner._source.epoch_seconds(trial.hyperparameters),
                }
            )
            self.last = now
            schedule = tuner.oracle.schedule
            document = {
                "max_epochs": schedule.max_epochs,
                "factor": options.factor,
                "brackets": len(schedule.brackets),
                "iterations": schedule.iterations,
                "recipes": list(schedule.recipes),
                "rungs": rungs,
            }
            options.file.write_text(json.dumps(document) + "\n")

    space = UpTo(options.deepest, classes, image_size=options.image_size, weights=options.weights)
    with tempfile.TemporaryDirectory() as runs, Cache(default_cache_dir()) as cache:
        tuner = HyperbandTuner(
            space,
            max_epochs=options.max_epochs,
            factor=options.factor,
            iterations=options.iterations,
            seed=options.seed,
            directory=runs,
            cache=cache,
            observer=Recorder(),
        )
        tuner.search(x, y, validation)
    print(f"{len(rungs)} rungs, {sum(rung['seconds'] for rung in rungs):.0f} s")


def _clocks() -> np.ndarray:
    """Seconds of wall time, and of the processor in all threads of this process."""
    return np.array([time.monotonic(), time.process_time()])


def _images(options: argparse.Namespace) -> Any:
    """Training images and labels, (validation images, labels), number of classes."""
    from tuner.data.dataset import SplitOptions
    from tuner.data.load import digits_dataset, load_dataset
    from tuner.data.pixel_store import prepare_images
    from tuner.storage.cache import Cache, default_cache_dir

    split = SplitOptions()
    with Cache(default_cache_dir()) as cache:
        if options.data is None:
            dataset = digits_dataset(default_cache_dir(), split)
        else:
            dataset = load_dataset(options.data, split)
        pairs = [
            (
                prepare_images(dataset.of(name), dataset.root, options.image_size, cache),
                dataset.labels(name),
            )
            for name in ("train", "validation")
        ]
        (x, y), (held, labels) = pairs
        step = max(1, len(y) // options.train)
        step_held = max(1, len(labels) // (options.train // 3))
        # Every so many, since images of one class stand together.
        return x[::step], y[::step], (held[::step_held], labels[::step_held]), len(dataset.classes)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("file", type=Path, help="JSON file to write")
    add("--data", type=Path, help="folder of class folders; left out, digits")
    add("--weights", default="none", help="none (random), or a weights file")
    add("--image-size", type=int, default=32, help="pixels a side (32)")
    add("--train", type=int, default=300, help="about so many training images (300)")
    add("--max-epochs", type=int, default=9, help="epochs of the last rung (9)")
    add("--factor", type=int, default=3, help="of the brackets (3)")
    add("--iterations", type=int, default=1, help="Hyperband iterations (1)")
    add("--deepest", type=int, default=16, help="most blocks that are unfrozen (16)")
    add("--seed", type=int, default=0, help="of the search (0)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
