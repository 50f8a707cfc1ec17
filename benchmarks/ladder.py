"""What does each way of treating the backbone's BatchNorm cost?

    python benchmarks/ladder.py --data FOLDER --weights FILE --image-size 64

The same head, images, order and seeds over every treatment that `tune diagnose` knows, on disjoint
folds: each image validates once, so that the paired permutation test over all of them, which gives
the chance of the difference from `frozen`, counts no image twice. Accuracies are means over folds
and seeds. What is trained end to end gets the first fold, all seeds and `--end-to-end-epochs`, and
stands beside `frozen` on that fold.

What `legacy` costs is then measured against what could decide it, on the first fold:

- how far the images' statistics are from those that came with the weights: as the images are, and
  with their pixels changed, in training and validation alike. Told are the distance of a layer's
  mean on the training images from its moving mean, in moving standard deviations (median over the
  channels, mean over the layers); the first layer's standard deviation, as a ratio to the moving
  one; and how far the pooled features by statistics of the batch are from those by moving ones
  (root mean square, in standard deviations of the latter over the images);
- how the training images are dealt into batches: their size, and whether they were shuffled or
  stood sorted by class;
- the head, and how long it is trained.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, Report, progress, run_arm, scratch_folder

END_TO_END = ("tutorial", "thawed")
# Images of a batch, and whether each has its share of every class.
DEALS = ((8, True), (32, True), (128, True), (32, False))
VIEWS = 4


class Head(NamedTuple):
    """Of which the first is the ladder's plain one; hidden layers have 256 units."""

    hidden_layers: int
    dropout: float
    epochs: int


HEADS = (Head(0, 0.0, 12), Head(0, 0.0, 60), Head(1, 0.5, 12), Head(1, 0.5, 40))
# From uint8 pixels to what a camera, a scanner or a careless script might have made of them.
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda pixels: pixels,
    "negative": lambda pixels: 255 - pixels,
    "contrast 40 %": lambda pixels: np.rint(76 + 0.4 * pixels.astype(np.float32)),
    "brightness 40 %": lambda pixels: np.rint(0.4 * pixels.astype(np.float32)),
}


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
    report.table("What legacy costs as the images' statistics move away", found["changes"])
    report.table("What legacy costs as the batches are dealt otherwise", found["dealt"])
    report.table("What legacy costs under other heads", found["heads"])
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
    """An arm: every treatment on every fold, and `legacy` on changed images."""
    from search_spaces.resnet50 import ResNet50Space
    from tuner.cache import Cache
    from tuner.evidence import gather
    from tuner.ladder import TREATMENTS, Ladder, Treatment

    results: dict[str, list[Treatment]] = {name: [] for name in TREATMENTS}
    changes, dealt, heads = [], [], []
    with Cache(Path(cache)) as opened:
        for fold, (classes, training, validation) in enumerate(
            _folds(data, image_size, folds, opened)
        ):
            space = ResNet50Space(classes, image_size, weights)
            names = [name for name in TREATMENTS if fold == 0 or name not in END_TO_END]
            evidence = gather(space, training, validation, opened)
            ladder = Ladder(
                evidence, range(seeds),
                end_to_end_epochs=end_to_end_epochs, end_to_end_seeds=seeds,
            )  # fmt: skip
            for treatment in ladder.run(names):
                results[treatment.name].append(treatment)
            progress(f"fold {fold + 1} of {folds} is done")
            if fold == 0:
                changes = [
                    _changed(change, space, training, validation, seeds, opened)
                    for change in CHANGES
                ]
                dealt = _dealt(ladder, evidence, seeds)
                heads = _under_heads(ladder, evidence, seeds)
    frozen = results["frozen"]
    return {
        "ladder": [_row(name, found, frozen) for name, found in results.items()],
        "folds": _by_fold(frozen, results["legacy"]),
        "changes": changes,
        "dealt": dealt,
        "heads": heads,
    }


def _row(name: str, found: list[Any], frozen: list[Any]) -> dict[str, Any]:
    """A treatment beside `frozen` on the same folds."""
    from tuner.findings import paired_gain

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


def _changed(
    change: str, space: Any, training: Any, validation: Any, seeds: int, cache: Any
) -> dict[str, Any]:
    """What `legacy` costs where every pixel is changed in one way."""
    from tuner.evidence import gather
    from tuner.findings import paired_gain
    from tuner.ladder import Ladder
    from tuner.training import Rows

    pixels, others = (
        Rows(CHANGES[change](np.asarray(rows.x)).astype(np.uint8), rows.y)
        for rows in (training, validation)
    )
    evidence = gather(space, pixels, others, cache)
    ladder = Ladder(evidence, range(seeds))
    frozen, legacy, batch = ladder.run(["frozen", "legacy", "own_input_batch"])
    cost, p_value = paired_gain(legacy.right, frozen.right)
    distances = _distances(ladder, evidence)
    progress(f"pixels changed: {change}")
    return {
        "pixels changed": change,
        **distances,
        "frozen, %": 100 * frozen.val_accuracy,
        "legacy, %": 100 * legacy.val_accuracy,
        "below frozen, points": 100 * cost,
        "chance": p_value,
        "batch in both, %": 100 * batch.val_accuracy,
    }


def _dealt(ladder: Any, evidence: Any, seeds: int) -> list[dict[str, Any]]:
    """What `legacy` costs with other batches; the steps of the head are the same."""
    rows = []
    for size, is_shuffled in DEALS:
        order = "shuffled" if is_shuffled else "sorted by class"
        views = _views(ladder, evidence.training, size, is_shuffled)
        named = {"images of a batch": size, "order": order}
        rows.append(named | _against_frozen(evidence, views, HEADS[0], seeds))
        progress(f"batches of {size}, {order}")
    return rows


def _under_heads(ladder: Any, evidence: Any, seeds: int) -> list[dict[str, Any]]:
    """What `legacy` costs under other heads, with shuffled batches of 32."""
    views = _views(ladder, evidence.training, 32, is_shuffled=True)
    rows = []
    for head in HEADS:
        rows.append(head._asdict() | _against_frozen(evidence, views, head, seeds))
        progress(str(head))
    return rows


def _views(ladder: Any, rows: Any, size: int, is_shuffled: bool, times: int = VIEWS) -> list[Any]:
    """Training images by statistics of their batches, once for each time that they are dealt."""
    from tuner.evidence import compiled
    from tuner.ladder import batch_features
    from tuner.recalibration import batchnorms
    from tuner.training import Rows

    network = ladder.recalibrated_backbone()  # its moving statistics have no part in this
    for layer in batchnorms(network):
        layer.trainable = True
    program = compiled(network, training=True)
    random, count = np.random.default_rng(0), len(rows.y)
    orders = [np.argsort(rows.y, kind="stable")]
    if is_shuffled:
        orders = [random.permutation(count) for _ in range(times)]
    deals = [np.array_split(order, max(1, round(count / size))) for order in orders]
    return [Rows(batch_features(program, rows.x, deal), rows.y) for deal in deals]


def _against_frozen(evidence: Any, views: list[Any], head: Head, seeds: int) -> dict[str, Any]:
    """The same head on `frozen` features and on given ones, validated on frozen ones."""
    from search_spaces.resnet50 import Configuration
    from tuner.findings import paired_gain

    configuration = Configuration(
        head_layers=head.hidden_layers, head_width=256, dropout=head.dropout, l2=1e-6
    )
    validation = evidence.pooled_validation
    fits = [
        [
            evidence.heads.fit(configuration, training, validation, head.epochs, seed)
            for seed in range(seeds)
        ]
        for training in ([evidence.pooled_training], views)
    ]
    frozen, legacy = (np.stack([fit.right for fit in arm]) for arm in fits)
    cost, p_value = paired_gain(legacy, frozen)
    return {
        "frozen, %": 100 * float(frozen.mean()),
        "legacy, %": 100 * float(legacy.mean()),
        "below frozen, points": 100 * cost,
        "chance": p_value,
    }


def _distances(ladder: Any, evidence: Any) -> dict[str, float]:
    """How far statistics and features of the training images are from the pretrained ones."""
    from tuner.recalibration import batchnorms

    means, spreads = [], []
    pretrained, measured = evidence.backbone.model, ladder.recalibrated_backbone()
    for one, other in zip(batchnorms(pretrained), batchnorms(measured), strict=True):
        deviation, own = (
            np.sqrt(layer.moving_variance.numpy() + layer.epsilon) for layer in (one, other)
        )
        shift = np.abs(other.moving_mean.numpy() - one.moving_mean.numpy())
        means.append(float(np.median(shift / deviation)))
        spreads.append(float(np.median(own / deviation)))
    frozen = evidence.pooled_training.x
    (view, *_) = _views(ladder, evidence.training, 32, is_shuffled=True, times=1)
    apart = np.sqrt(np.mean((view.x - frozen) ** 2) / np.mean(np.var(frozen, axis=0)))
    return {
        "means away, deviations": float(np.mean(means)),
        "first deviation, ratio": spreads[0],
        "features apart, deviations": float(apart),
    }


def _folds(data: str, image_size: int, count: int, cache: Any) -> Iterator[tuple[int, Any, Any]]:
    """Number of classes, training and validation images; each image validates once."""
    from tuner.classifiers import folds
    from tuner.dataset import SplitOptions, load_dataset
    from tuner.images import prepare_images
    from tuner.leakage import group_of
    from tuner.training import Rows

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


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", type=Path, required=True, help="pretrained weights")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--folds", type=int, default=4, help="that the images are cut into (4)")
    parser.add_argument("--seeds", type=int, default=3, help="heads of each (3)")
    parser.add_argument("--end-to-end-epochs", type=int, default=3, help="of two treatments (3)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
