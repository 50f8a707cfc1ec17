"""Whether the images are shrunk to fewer pixels than the network could use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.command_lines import Command
from tuner.counting import Progress, silent
from tuner.data.dataset import ImageFile
from tuner.data.pixel_store import prepare_images
from tuner.decoding.decode import read_image
from tuner.diagnose.experiment_data import ExperimentData, extract_features
from tuner.diagnose.finding import IMAGE_SIZE, Finding, Remedy
from tuner.diagnose.head_training import EPOCHS
from tuner.metrics.significance import paired_gain
from tuner.storage.cache import Cache
from tuner.text import percent
from tuner.training.rows import Rows

# The size that ResNet50's ImageNet weights were trained at.
LARGE_SIZE = 224
# Pixels per ResNet50 output position; and how much larger a size must be to be worth trying.
_STRIDE, _WORTH_TRYING = 32, 1.5

_MOST_IMAGES = (600, 400)  # training and validation
_SAMPLED_FILES = 50


def image_size(
    data: ExperimentData,
    files: tuple[Sequence[ImageFile], Sequence[ImageFile]],
    root: Path,
    cache: Cache,
    configuration: Configuration,
    *,
    crop: bool = False,
    epochs: int = EPOCHS,
    seed: int = 0,
    on_progress: Progress = silent,
) -> Finding:
    """Compare a head on the same images at two sizes.

    At most 600 training and 400 validation images are compared, at the size of `data` and at 224
    px, or the multiple of 32 that half of the originals have, if that is 1.5 times as much a side.

    Args:
        data: images and features at the size in question.
        files: the training and the validation images, in the order of the rows of `data`.
        root: folder that their paths are relative to.
        cache: keeps the larger images and their features.
        configuration: the head.
        crop: whether to take the centre square of each image.
        epochs: of the head.
        seed: of its weights and of the order of the images.
        on_progress: counts images.
    """
    size, side = data.space.image_size, typical_side(files[0], root)
    larger = max(size, min(LARGE_SIZE, side // _STRIDE * _STRIDE))
    numbers: dict[str, Any] = {"image_size": size, "larger_size": larger, "typical_side": side}
    reason = _why_not(size, larger, side)
    if reason:
        return Finding(IMAGE_SIZE, reason, 0.0, None, numbers=numbers)
    sampled = [
        np.linspace(0, len(part) - 1, min(len(part), most)).astype(np.int64)
        for part, most in zip(files, _MOST_IMAGES, strict=True)
    ]
    small = [
        Rows(part.x[chosen], part.y[chosen])
        for part, chosen in zip(
            (data.pooled_training, data.pooled_validation), sampled, strict=True
        )
    ]
    what = f"decoding images at {larger} px"
    images = [
        prepare_images(
            [part[row] for row in chosen], root, larger, cache, on_progress, crop=crop, what=what
        )
        for part, chosen in zip(files, sampled, strict=True)
    ]
    space = ResNet50Space(data.space.num_classes, larger, data.space.weights)
    training, validation = (Rows(x, rows.y) for x, rows in zip(images, small, strict=True))
    enlarged = extract_features(space, training, validation, cache, on_progress)
    large = enlarged.pooled_training, enlarged.pooled_validation
    before, after = (
        data.heads.fit(configuration, [rows], others, epochs, seed).right
        for rows, others in (small, large)
    )
    return _finding(before, after, len(small[0].y), numbers)


def _why_not(size: int, larger: int, side: int) -> str:
    """Why no larger size is tried; empty where one is."""
    if size >= LARGE_SIZE:
        return f"Images of {size} px are as large as those ResNet50 was trained on."
    if larger < min(LARGE_SIZE, _WORTH_TRYING * size):
        return f"Half of the originals have at most {side} px a side: not many more than {size}."
    return ""


def typical_side(files: Sequence[ImageFile], root: Path) -> int:
    """The median of the images' shorter sides, in pixels, over at most 50 of them."""
    chosen = np.linspace(0, len(files) - 1, min(len(files), _SAMPLED_FILES)).astype(int)
    return int(np.median([min(read_image(root / files[row].path).shape[:2]) for row in chosen]))


def _finding(
    before: np.ndarray, after: np.ndarray, training_images: int, numbers: dict[str, Any]
) -> Finding:
    gain, p_value = paired_gain(before, after)
    size, larger = numbers["image_size"], numbers["larger_size"]
    sentence = (
        f"A head reaches {percent(after.mean())} at {larger} px and {percent(before.mean())} at "
        f"{size} px ({training_images} training and {len(after)} validation images)."
    )
    numbers = numbers | {"accuracy": float(before.mean()), "larger_accuracy": float(after.mean())}
    command = Command("search", ("--image-size", str(larger)))
    remedy = Remedy((command, " uses larger images."))
    return Finding(IMAGE_SIZE, sentence, gain, p_value, remedy, numbers)
