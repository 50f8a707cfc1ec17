"""Experiments on what goes into the network: how pixels are scaled, and how large images are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.counting import Progress, telling
from tuner.data.dataset import ImageFile
from tuner.data.pixel_store import prepare_images
from tuner.decoding.decode import read_image
from tuner.diagnose.causes import IMAGE_SIZE
from tuner.diagnose.experiment_data import Evidence, gather
from tuner.diagnose.finding import Finding
from tuner.diagnose.head_training import EPOCHS
from tuner.metrics.significance import paired_gain
from tuner.storage.cache import Cache
from tuner.text import percent
from tuner.training.rows import Rows

# What ResNet50's ImageNet weights were trained at.
LARGE_SIZE = 224
# Of ResNet50's last features in pixels; and how many times as many a side are worth trying.
_STRIDE, _WORTH_TRYING = 32, 1.5

_MOST_TRAINING, _MOST_VALIDATION = 600, 400
_SAMPLED_FILES = 50


def image_size(
    evidence: Evidence,
    files: tuple[Sequence[ImageFile], Sequence[ImageFile]],
    root: Path,
    cache: Cache,
    configuration: Configuration,
    *,
    crop: bool = False,
    epochs: int = EPOCHS,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Finding:
    """Whether the images are shrunk to fewer pixels than the network could use.

    A head is compared on the same images, at most 600 for training and 400 for validation, at the
    size of `evidence` and at 224 px, or the multiple of 32 that half of the originals have, where
    that is at least half as many pixels a side again.

    Args:
        evidence: images and features at the size in question.
        files: the training and the validation images, in the order of the evidence's rows.
        root: folder that their paths are relative to.
        cache: keeps the larger images and their features.
        configuration: the head.
        crop: whether the centre square of each image is taken.
        epochs: that the head is trained.
        seed: of its weights and of the order of the images.
        on_progress: is told (what is done, images done, of how many).
    """
    size, side = evidence.space.image_size, typical_side(files[0], root)
    larger_size = max(size, min(LARGE_SIZE, side // _STRIDE * _STRIDE))
    numbers: dict[str, Any] = {"image_size": size, "larger_size": larger_size, "typical_side": side}
    if size >= LARGE_SIZE:
        reason = f"Images of {size} px are as large as what ResNet50 was trained on."
        return Finding(IMAGE_SIZE, reason, 0.0, None, numbers=numbers)
    if larger_size < min(LARGE_SIZE, _WORTH_TRYING * size):
        reason = (
            f"Half of the originals have at most {side} px a side, too few to try many more than "
            f"{size}."
        )
        return Finding(IMAGE_SIZE, reason, 0.0, None, numbers=numbers)
    chosen = [
        np.linspace(0, len(part) - 1, min(len(part), most)).astype(np.int64)
        for part, most in zip(files, (_MOST_TRAINING, _MOST_VALIDATION), strict=True)
    ]
    rows = evidence.pooled_training, evidence.pooled_validation
    small = [
        Rows(part.x[numbers_of], part.y[numbers_of])
        for part, numbers_of in zip(rows, chosen, strict=True)
    ]
    large = [
        Rows(
            prepare_images(
                [part[number] for number in numbers_of],
                root,
                larger_size,
                cache,
                telling(on_progress, f"decoding images at {larger_size} px"),
                crop=crop,
            ),
            same.y,
        )
        for part, numbers_of, same in zip(files, chosen, small, strict=True)
    ]
    space = ResNet50Space(evidence.space.num_classes, larger_size, evidence.space.weights)
    larger = gather(space, large[0], large[1], cache, on_progress)
    before, after = (
        evidence.heads.fit(configuration, [training], validation, epochs, seed).right
        for training, validation in (small, (larger.pooled_training, larger.pooled_validation))
    )
    gain, p_value = paired_gain(before, after)
    numbers |= {"accuracy": float(before.mean()), "larger_accuracy": float(after.mean())}
    sentence = (
        f"At {larger_size} px {percent(after.mean())} of {len(after)} validation images are right "
        f"and at {size} px {percent(before.mean())}, on {len(chosen[0])} training images."
    )
    remedy = f"tune search DATA --image-size {larger_size} takes them larger."
    return Finding(IMAGE_SIZE, sentence, gain, p_value, remedy, numbers)


def typical_side(files: Sequence[ImageFile], root: Path) -> int:
    """The median of the images' shorter sides, in pixels, over at most 50 of them."""
    chosen = np.linspace(0, len(files) - 1, min(len(files), _SAMPLED_FILES)).astype(int)
    sides = []
    for number in chosen:
        height, width, _ = read_image(root / files[number].path).shape
        sides.append(min(height, width))
    return int(np.median(sides))
