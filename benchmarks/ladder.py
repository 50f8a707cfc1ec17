"""What does each way of treating the backbone's BatchNorm cost?

    python benchmarks/ladder.py --data FOLDER --weights FILE --image-size 64

The same head, images, split, order and seeds over every treatment that `tune diagnose` knows, on
several splits, since one split's validation images are too few to tell two points from chance.
Accuracies are means over splits and seeds; the chance of the difference from `frozen` is that of a
paired permutation test over the validation images of all splits. What is trained end to end gets
the first split, all seeds and `--end-to-end-epochs`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report, run_arm, scratch_folder

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
            splits=options.splits,
            seeds=options.seeds,
            end_to_end_epochs=options.end_to_end_epochs,
            cache=str(scratch),
        )
    report.table("The BatchNorm ladder", found["ladder"])
    report.table("legacy against frozen, split by split", found["splits"])
    report.write()


def measure(
    data: str,
    weights: str,
    image_size: int,
    splits: int,
    seeds: int,
    end_to_end_epochs: int,
    cache: str,
) -> dict[str, Any]:
    """An arm: every treatment on every split."""
    from tuner.findings import paired_gain
    from tuner.ladder import TREATMENTS, Treatment

    results: dict[str, list[Treatment]] = {name: [] for name in TREATMENTS}
    for split in range(splits):
        names = [name for name in TREATMENTS if split == 0 or name not in END_TO_END]
        ladder = _ladder(data, weights, image_size, split, seeds, end_to_end_epochs, cache)
        for treatment in ladder.run(names):
            results[treatment.name].append(treatment)
    frozen = results["frozen"]
    rows = []
    for name, treatments in results.items():
        beside = frozen[: len(treatments)]
        before = np.concatenate([each.right for each in treatments], axis=1)
        after = np.concatenate([each.right for each in beside], axis=1)
        cost, p_value = paired_gain(before, after)
        rows.append(
            {
                "treatment": name,
                "validation, %": 100 * float(before.mean()),
                "training, %": 100 * float(np.mean([each.train_accuracy for each in treatments])),
                "below frozen, points": 100 * cost,
                "chance": p_value,
                "statistics moved": max(each.moved for each in treatments),
                "equals frozen": "bit for bit" if treatments[0].equals_frozen else "",
                "named otherwise in other batches, %": _dependent(treatments),
                "splits": len(treatments),
            }
        )
    return {"ladder": rows, "splits": _by_split(frozen, results["legacy"])}


def _by_split(frozen: list[Any], legacy: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "split": number,
            "frozen, %": 100 * one.val_accuracy,
            "legacy, %": 100 * other.val_accuracy,
            "below, points": 100 * (one.val_accuracy - other.val_accuracy),
        }
        for number, (one, other) in enumerate(zip(frozen, legacy, strict=True))
    ]


def _dependent(treatments: list[Any]) -> float | None:
    shares = [each.batch_dependent for each in treatments if each.batch_dependent is not None]
    return 100 * float(np.mean(shares)) if shares else None


def _ladder(
    data: str, weights: str, image_size: int, split: int, seeds: int, epochs: int, cache: str
) -> Any:
    from search_spaces.resnet50 import ResNet50Space
    from tuner.cache import Cache
    from tuner.dataset import SplitOptions, load_dataset
    from tuner.evidence import gather
    from tuner.images import prepare_images
    from tuner.ladder import Ladder
    from tuner.training import Rows

    options = SplitOptions(val_fraction=0.25, test_fraction=0.0, split_seed=split)
    with Cache(Path(cache)) as opened:
        dataset = load_dataset(Path(data), options, cache=opened)
        training, validation = (
            Rows(
                np.array(prepare_images(dataset.of(part), dataset.root, image_size, opened)),
                dataset.labels(part),
            )
            for part in ("train", "validation")
        )
        space = ResNet50Space(len(dataset.classes), image_size, weights)
        evidence = gather(space, training, validation, opened)
    return Ladder(evidence, range(seeds), end_to_end_epochs=epochs, end_to_end_seeds=seeds)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help="pretrained weights")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--splits", type=int, default=4, help="splits that are drawn (4)")
    parser.add_argument("--seeds", type=int, default=3, help="heads of each (3)")
    parser.add_argument("--end-to-end-epochs", type=int, default=3, help="of two treatments (3)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
