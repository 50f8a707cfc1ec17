"""Trials whose outcomes on many held-out images are stored: what `honesty.py` resamples."""

from pathlib import Path
from typing import Any

import numpy as np
from common import progress

# Wider heads take most of the time and score like these.
_WIDEST = 512


def train(
    folder: str,
    weights: str,
    image_size: int,
    training: int,
    trials: int,
    rungs: tuple[int, ...],
    seed: int,
    cache: str,
) -> dict[str, np.ndarray]:
    """An arm: heads drawn from the space, trained on a few images, evaluated on all others.

    Args:
        folder: of class folders.
        weights: of the backbone.
        image_size: pixels a side.
        training: images to train on.
        trials: how many heads.
        rungs: epochs after which they are evaluated, ascending.
        seed: of the images, the configurations and the training.
        cache: folder for temporary files.

    Returns:
        "labels" int (images,); "predicted" uint16 and "probability" of the label, float16,
        (rungs, trials, images); "parameters" int (trials,).
    """
    from search_spaces.backbone import PretrainedBackbone
    from search_spaces.resnet50 import ResNet50Space
    from tuner.data.load import load_dataset
    from tuner.training.compiled import Programs
    from tuner.training.rows import Rows

    dataset = load_dataset(Path(folder))
    space = ResNet50Space(len(dataset.classes), image_size, weights)
    backbone = PretrainedBackbone(space.build_backbone())
    x, y = features(dataset, backbone, image_size, cache)
    order = np.random.default_rng(seed).permutation(len(y))
    fitted, held_out = (Rows(x[part], y[part]) for part in np.split(order, [training]))
    programs = Programs(space, backbone, 32)
    found: list[list[Any]] = [[] for _ in rungs]
    parameters = []
    drawn = configurations(space, trials, seed, Path(cache))
    # Those of one shape share a program: one after the other, each is traced once.
    shapes = [(c.head_layers, c.head_width, c.head_batchnorm) for c in drawn]
    outcomes: dict[int, list[Any]] = {}
    for done, number in enumerate(sorted(range(trials), key=lambda number: shapes[number])):
        trainer = programs.trainer(drawn[number], seed + number, (seed, number))
        rows = []
        for epoch in range(max(rungs)):
            trainer.run_epoch(fitted, held_out)
            if epoch + 1 in rungs:
                rows.append(trainer.outcomes())
        outcomes[number] = [*rows, trainer.parameters]
        if done % 20 == 0:
            progress(f"{done} of {trials} trials")
    for number in range(trials):
        *rows, count = outcomes[number]
        parameters.append(count)
        for rung, row in enumerate(rows):
            found[rung].append(row)
    return {
        "labels": held_out.y,
        "predicted": np.array([[row.predicted for row in rung] for rung in found]),
        "probability": np.array([[row.probability for row in rung] for rung in found]),
        "parameters": np.array(parameters),
    }


def features(
    dataset: Any, backbone: Any, image_size: int, cache: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features and class numbers of every image, whatever split it is in."""
    from tuner.data.pixel_store import prepare_images
    from tuner.data.splits import SPLITS
    from tuner.features.store import FeatureStore
    from tuner.storage.cache import Cache

    files = [file for split in SPLITS for file in dataset.of(split)]
    labels = np.concatenate([dataset.labels(split) for split in SPLITS])
    with Cache(Path(cache, "cache")) as opened:
        pixels = prepare_images(files, dataset.root, image_size, opened)
        store = FeatureStore(backbone.lend(0), opened)
        store.stored = (0,)
        return np.asarray(store.open(pixels).rows(0)[:]), labels


def configurations(space: Any, count: int, seed: int, folder: Path) -> list[Any]:
    """Heads as a head-only search would draw them, the widest left out."""
    from search_spaces.resnet50 import Configuration
    from tuner.hyperband.oracle import JournalOracle
    from tuner.hyperband.pinning import declared_space
    from tuner.runs.journal import Journal

    journal = Journal.create(folder / "journal.db")
    oracle = JournalOracle(journal, declared_space(space), seed=seed, pinned={"unfreeze_blocks": 0})
    drawn = (Configuration.of(oracle.configuration(number)) for number in range(4 * count))
    chosen = [each for each in drawn if not each.head_layers or each.head_width <= _WIDEST]
    journal.close()
    return chosen[:count]
