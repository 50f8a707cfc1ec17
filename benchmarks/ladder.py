"""What does each way of treating the backbone's BatchNorm cost?

    python benchmarks/ladder.py --data FOLDER --weights FILE --image-size 64

The same head, images, order and seeds over every treatment that `tune diagnose` knows, on disjoint
folds: each image validates once, so that the paired permutation test over all of them, which gives
the chance of the difference from `frozen`, counts no image twice. Accuracies are means over folds
and seeds. What is trained end to end gets the first fold, all seeds and `--end-to-end-epochs`, and
stands beside `frozen` on that fold.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, image_arguments, progress, run_arm, scratch_folder

END_TO_END = ("tutorial", "thawed")


def main() -> None:
    options = _parse()
    report = Report("ladder", "What does each treatment of the backbone's BatchNorm cost?", options)
    with scratch_folder(options) as scratch:
        found = run_arm(
            measure,
            data=str(options.data),
            weights=str(options.weights),
            image_size=options.image_size,
            folds=options.folds,
            seeds=options.seeds,
            end_to_end_epochs=options.end_to_end_epochs,
            cache=str(scratch),
        )
    report.table("The BatchNorm ladder", found["ladder"])
    report.table("legacy against frozen, fold by fold", found["folds"])
    report.write()


def measure(
    data: str,
    weights: str,
    image_size: int,
    folds: int,
    seeds: int,
    end_to_end_epochs: int,
    cache: str,
) -> dict[str, Any]:
    """An arm: every treatment on every fold."""
    from search_spaces.resnet50 import ResNet50Space
    from tuner.diagnose.batchnorm_ladder import Ladder
    from tuner.diagnose.batchnorm_treatments import TREATMENTS, Treatment
    from tuner.diagnose.experiment_data import extract_features
    from tuner.storage.cache import Cache

    results: dict[str, list[Treatment]] = {name: [] for name in TREATMENTS}
    with Cache(Path(cache)) as opened:
        for fold, (classes, training, validation) in enumerate(
            image_folds(data, image_size, folds, opened)
        ):
            space = ResNet50Space(classes, image_size, weights)
            names = [name for name in TREATMENTS if fold == 0 or name not in END_TO_END]
            evidence = extract_features(space, training, validation, opened)
            ladder = Ladder(
                evidence,
                range(seeds),
                end_to_end_epochs=end_to_end_epochs,
                end_to_end_seeds=seeds,
            )
            for treatment in ladder.run(names):
                results[treatment.name].append(treatment)
            progress(f"fold {fold + 1} of {folds} is done")
    frozen = results["frozen"]
    return {
        "ladder": [_row(name, found, frozen) for name, found in results.items()],
        "folds": _by_fold(frozen, results["legacy"]),
    }


def image_folds(
    data: str, image_size: int, count: int, cache: Any
) -> Iterator[tuple[int, Any, Any]]:
    """Number of classes, training and validation images; each image validates once."""
    from tuner.data.dataset import SplitOptions, group_of
    from tuner.data.load import load_dataset
    from tuner.data.pixel_store import prepare_images
    from tuner.features.classifiers import folds
    from tuner.training.rows import Rows

    # A split has a validation part, whose images stand first here; the folds do not keep to it.
    dataset = load_dataset(Path(data), SplitOptions(test_fraction=0.0), cache=cache)
    parts = ("validation", "train")
    files = [file for part in parts for file in dataset.of(part)]
    y = np.concatenate([dataset.labels(part) for part in parts])
    x = np.array(prepare_images(files, dataset.root, image_size, cache))
    groups = np.array([group_of(file) for file in files])
    for training, validation in folds(y, groups, count, seed=0):
        yield (
            len(dataset.classes),
            Rows(x[training], y[training]),
            Rows(x[validation], y[validation]),
        )


def _row(name: str, found: list[Any], frozen: list[Any]) -> dict[str, Any]:
    """A treatment beside `frozen` on the same folds."""
    from tuner.metrics.significance import paired_gain

    beside = frozen[: len(found)]
    before, after = (
        np.concatenate([each.right for each in treatments], axis=1)
        for treatments in (found, beside)
    )
    cost, p_value = paired_gain(before, after)
    return {
        "treatment": name,
        "validation, %": 100 * float(before.mean()),
        "training, %": 100 * float(np.mean([each.train_accuracy for each in found])),
        "frozen there, %": 100 * float(after.mean()),
        "below frozen, points": 100 * cost,
        "chance": p_value,
        "statistics moved": max(each.moved for each in found),
        "equals frozen": "bit for bit" if all(each.equals_frozen for each in found) else "",
        "named otherwise in other batches, %": _dependent(found),
        "folds": len(found),
        "images": before.shape[1],
    }


def _by_fold(frozen: list[Any], legacy: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "fold": number,
            "frozen, %": 100 * one.val_accuracy,
            "legacy, %": 100 * other.val_accuracy,
            "below, points": 100 * (one.val_accuracy - other.val_accuracy),
        }
        for number, (one, other) in enumerate(zip(frozen, legacy, strict=True))
    ]


def _dependent(treatments: list[Any]) -> float | None:
    shares = [each.batch_dependent for each in treatments if each.batch_dependent is not None]
    return 100 * float(np.mean(shares)) if shares else None


def _parse() -> argparse.Namespace:
    parser = image_arguments(__doc__)
    parser.add_argument("--folds", type=int, default=4, help="that the images are cut into (4)")
    parser.add_argument("--seeds", type=int, default=3, help="heads of each (3)")
    parser.add_argument("--end-to-end-epochs", type=int, default=3, help="of two treatments (3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
