"""Does a diagnosis name the fault that was planted?

    python benchmarks/planted.py FOLDER --weights FILE --healthy CLASS CLASS [CLASS ...]

Nine times something is wrong, with the images or with a model of the user's, or nothing is, and
`tune diagnose`'s own function is called. It is right if the cause that it ranks first is the one
that was planted; of the healthy set, some classes that are easy to separate with a sound model,
if it finds no cause, and nothing wrong with the model. Faults of the images are planted in copies
of the folder; faults of a model in one that is built on the given weights, saved where that is
possible, and loaded as `--model` loads it.

Thresholds of the diagnosis must not have been set on FOLDER: `emojis.py` makes ones that had no
part in that.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import plants
from common import RESULTS, Report, progress, run_arm, scratch_folder

HEALTHY = "nothing"


def main() -> None:
    options = _parse()
    report = Report("planted", "Does a diagnosis name the fault that was planted?", options)
    faults = options.only or list(plants.FAULTS)
    with scratch_folder(options) as scratch:
        some = scratch / "some"
        plants.some_images(options.data, some, options.images_a_class)

        def arm(faults: list[str]) -> dict[str, Any]:
            return run_arm(
                diagnose_all,
                faults=faults,
                data=str(options.data),
                some=str(some),
                healthy=options.healthy,
                weights=str(options.weights),
                image_size=options.image_size,
                network_images=(options.network_training, options.network_validation),
                scratch=str(scratch),
            )

        with ThreadPoolExecutor(options.jobs) as pool:
            parts = list(
                pool.map(arm, (faults[job :: options.jobs] for job in range(options.jobs)))
            )
    diagnoses = {fault: part[fault] for fault in faults for part in parts if fault in part}
    rows = [each.pop("row") for each in diagnoses.values()]
    report.table("What was planted, and the cause that was ranked first", rows)
    right = sum(row["verdict"] == "right" for row in rows)
    report.note(f"{right} of {len(rows)} are right.")
    report.keep("diagnoses", diagnoses)
    report.write()


def diagnose_all(
    faults: list[str], data: str, some: str, healthy: list[str], scratch: str, **how: Any
) -> dict[str, Any]:
    """An arm: one fault after the other, each in images and a cache of its own."""
    found = {}
    for fault in faults:
        own = Path(scratch) / fault.replace(" ", "-")
        own.mkdir()
        # What is healthy should be so with all images that there are.
        source = data if fault == HEALTHY else some
        found[fault] = diagnose(fault, source, healthy, scratch=str(own), **how)
        progress(" | ".join(f"{key}: {value}" for key, value in found[fault]["row"].items()))
    return found


def diagnose(
    fault: str,
    data: str,
    healthy: list[str],
    *,
    weights: str,
    image_size: int,
    network_images: tuple[int, int],
    scratch: str,
) -> dict[str, Any]:
    """Plants one fault and diagnoses it."""
    from tuner.data.dataset import SplitOptions
    from tuner.data.load import load_dataset
    from tuner.diagnose.experiments import run_diagnosis
    from tuner.diagnose.result import Options
    from tuner.storage.cache import Cache

    planted = plants.FAULTS[fault]
    folder = plants.images(fault, Path(data), healthy, Path(scratch) / "images")
    classes = len(list(next(iter(folder.glob("train")), folder).iterdir()))
    model = plants.model(fault, classes, image_size, weights, Path(scratch))
    options = Options(
        weights, image_size, treatments=("frozen",), network_images=network_images
    )  # the others take long and have no part in the verdict
    begun = time.monotonic()
    with Cache(Path(scratch) / "cache") as cache:
        dataset = load_dataset(folder, SplitOptions(), cache=cache)
        found = run_diagnosis(dataset, cache, options, model)
    document = found.to_json()
    document["seconds"] = time.monotonic() - begun
    first = found.causes[0] if found.causes else None
    named = first.cause if first else HEALTHY
    wrong_model = bool(found.model)
    right = named == planted and not (planted == HEALTHY and wrong_model)
    row = {
        "planted": fault,
        "ranked first": named,
        "verdict": "right" if right else "wrong",
        "gain, points": 100 * first.gain if first else None,
        "p": first.corrected_p_value if first else None,
        "further causes": ", ".join(cause.cause for cause in found.causes[1:]),
        "images": found.images_in_all,
        "accuracy, %": 100 * found.accuracy,
        "seconds": round(document["seconds"]),
    }
    return {"row": row, **_told(document)}


def _told(document: dict[str, Any]) -> dict[str, Any]:
    """What a diagnosis said, without each image's part."""
    kept = ("accuracy", "train_accuracy", "causes", "excluded", "prices", "model")
    return {key: document[key] for key in kept}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path, help="folder of class folders")
    add("--weights", type=Path, required=True, help="pretrained weights")
    add("--healthy", nargs="+", required=True, metavar="CLASS", help="classes easy to separate")
    add("--image-size", type=int, default=64, help="pixels a side (64)")
    add("--images-a-class", type=int, default=60, help="at most, but for the healthy set (60)")
    add("--network-training", type=int, default=160, help="images of BatchNorm's treatments (160)")
    add("--network-validation", type=int, default=80, help="and that validate them (80)")
    add("--jobs", type=int, default=1, help="diagnoses at a time (1)")
    add("--only", nargs="+", choices=list(plants.FAULTS), help="some faults instead of all")
    add("--scratch", type=Path, help="folder for temporary files")
    add("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    options = parser.parse_args()
    options.data, options.weights = options.data.resolve(), options.weights.resolve()
    return options


if __name__ == "__main__":
    main()
