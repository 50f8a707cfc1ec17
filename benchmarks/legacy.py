"""Why does frozen BatchNorm in training mode cost accuracy?

    python benchmarks/legacy.py --data FOLDER --weights FILE --image-size 64

`legacy`, a treatment of `tune diagnose`, is what Keras did before 2.2.5: statistics of the batch in
training, those that came with the weights in validation. What it costs is measured against what
could decide it, on the first of `ladder.py`'s folds:

- how far the images' statistics are from those that came with the weights: as the images are, and
  with their pixels changed, in training and validation alike. Reported: the distance of a layer's
  mean on the training images from its moving mean, in moving standard deviations (median over the
  channels, mean over the layers); the first layer's standard deviation, as a ratio to the moving
  one; and how far the pooled features by statistics of the batch are from those by moving ones
  (root mean square, in standard deviations of the latter over the images);
- how the training images are dealt into batches: their size, and whether they were shuffled or
  stood sorted by class;
- the head, and how long it is trained.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import Report, image_arguments, progress, run_arm, scratch_folder
from ladder import image_folds

# Images of a batch, and whether each has its share of every class.
DEALS = ((8, True), (32, True), (128, True), (32, False))
VIEWS = 4
FOLDS = 4  # of which the first is used


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
    report = Report("legacy", "Why does BatchNorm in training mode cost what it costs?", options)
    with scratch_folder(options) as scratch:
        found = run_arm(
            measure,
            data=str(options.data),
            weights=str(options.weights),
            image_size=options.image_size,
            seeds=options.seeds,
            cache=str(scratch),
        )
    report.table("What legacy costs as the images' statistics move away", found["changes"])
    report.table("What legacy costs as the batches are dealt otherwise", found["dealt"])
    report.table("What legacy costs under other heads", found["heads"])
    report.write()


def measure(data: str, weights: str, image_size: int, seeds: int, cache: str) -> dict[str, Any]:
    """An arm: `legacy` and `frozen` on one fold, under all that is changed."""
    from search_spaces.resnet50 import ResNet50Space
    from tuner.diagnose.batchnorm_ladder import Ladder
    from tuner.diagnose.experiment_data import extract_features
    from tuner.storage.cache import Cache

    with Cache(Path(cache)) as opened:
        classes, training, validation = next(image_folds(data, image_size, FOLDS, opened))
        space = ResNet50Space(classes, image_size, weights)
        evidence = extract_features(space, training, validation, opened)
        ladder = Ladder(evidence, range(seeds))
        changes = [
            _changed(change, space, training, validation, seeds, opened) for change in CHANGES
        ]
        dealt = _dealt(ladder, evidence, seeds)
        heads = _under_heads(ladder, evidence, seeds)
    return {"changes": changes, "dealt": dealt, "heads": heads}


def _changed(
    change: str, space: Any, training: Any, validation: Any, seeds: int, cache: Any
) -> dict[str, Any]:
    """What `legacy` costs where every pixel is changed in one way."""
    from tuner.diagnose.batchnorm_ladder import Ladder
    from tuner.diagnose.experiment_data import extract_features
    from tuner.metrics.significance import paired_gain
    from tuner.training.rows import Rows

    pixels, others = (
        Rows(CHANGES[change](np.asarray(rows.x)).astype(np.uint8), rows.y)
        for rows in (training, validation)
    )
    evidence = extract_features(space, pixels, others, cache)
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
    from tuner.diagnose.batchnorm_statistics import batchnorms
    from tuner.diagnose.experiment_data import batch_features, compiled
    from tuner.training.rows import Rows

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
    from tuner.metrics.significance import paired_gain

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
    from tuner.diagnose.batchnorm_statistics import batchnorms

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


def _parse() -> argparse.Namespace:
    parser = image_arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="heads of each (3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
