"""The sections that show images: the worst mistakes with heat maps, and doubtful labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import can_be_cut
from tuner.counting import Progress
from tuner.data.dataset import Dataset, ImageFile
from tuner.data.pixel_store import pixels_of
from tuner.diagnose.label_noise import STRENGTH, suspects
from tuner.errors import RunError, TuneError
from tuner.features.classifiers import cross_validated
from tuner.features.pooled import pooled
from tuner.report.grad_cam import heat_maps
from tuner.report.thumbnails import Shown, data_address, overlay, picture
from tuner.report.validation import worst
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import TrialRecord
from tuner.runs.run import Run
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache
from tuner.training.networks import space_of, trained_model

MOST = 24  # mistakes, and doubtful labels, that are shown
PIXELS_PER_PLACE = 32  # the last convolution has a 32nd of the image's resolution
_LEAST_PLACES = 4  # a side; a map of fewer does not show where the network looked


@dataclass(frozen=True)
class Doubts:
    """Labels that other images contradict: `found` of `images`, of which some are `shown`."""

    shown: Sequence[Shown]
    found: int
    images: int


def mistakes(
    run: Run,
    trial: TrialRecord,
    dataset: Dataset,
    outcomes: Outcomes,
    cache: Cache,
    on_progress: Progress,
) -> tuple[list[Shown], str]:
    """The worst mistakes, and why they have no heat maps; the latter is empty if they have."""
    rows = worst(outcomes, dataset.labels("validation"), MOST)
    heats: Sequence[np.ndarray | None] = [None] * len(rows)
    reason = _no_heat(run.settings, len(dataset.classes))
    if len(rows) and not reason:
        try:
            pixels = pixels_of(dataset, "validation", run.settings, cache, on_progress)[rows]
            model = trained_model(run, trial, len(dataset.classes))
            heats = list(heat_maps(model, pixels, outcomes.predicted[rows], on_progress))
        except TuneError as error:
            reason = f"There are no heat maps: {error}"
    files = dataset.of("validation")
    return _shown(rows, files, outcomes, dataset, run.settings.crop, heats), reason


def _shown(
    rows: np.ndarray,
    files: Sequence[ImageFile],
    outcomes: Outcomes,
    dataset: Dataset,
    crop: bool,
    heats: Sequence[np.ndarray | None],
) -> list[Shown]:
    found = []
    for row, heat in zip(rows, heats, strict=True):
        file, other = files[row], dataset.classes[int(outcomes.predicted[row])]
        confidence, own = float(outcomes.confidence[row]), float(outcomes.probability[row])
        shown = Shown(file.path, file.label, other, confidence, own)
        try:
            pixels = picture(file, dataset.root, crop)
            hot = None if heat is None else data_address(overlay(pixels, heat))
            found.append(replace(shown, picture=data_address(pixels), heat=hot))
        except TuneError as error:
            found.append(replace(shown, problem=str(error)))
    return found


def _no_heat(settings: SearchSettings, num_classes: int) -> str:
    if not can_be_cut(space_of(settings, num_classes)):
        return "There are no heat maps: the space builds its networks itself."
    places = settings.image_size // PIXELS_PER_PLACE
    if places < _LEAST_PLACES:
        return (
            f"There are no heat maps: at {settings.image_size} px they would have {places} x "
            f"{places} places, too few to show where the network looked."
        )
    return ""


def doubtful_labels(
    dataset: Dataset, settings: SearchSettings, cache: Cache, on_progress: Progress
) -> Doubts:
    """The training and validation images whose labels the other images contradict.

    Cross-validated logistic regression on the frozen backbone's pooled features predicts each image
    without having seen it; confident learning ranks the labels that differ. With weak features,
    hard images are listed too.

    Raises:
        RunError: the space has no frozen backbone.
        DataError: an image that has to be decoded has changed or is gone.
        WeightsError: the pretrained weights are gone.
    """
    space: Any = space_of(settings, len(dataset.classes))
    if not can_be_cut(space):
        raise RunError(f"The space {settings.space} has no frozen backbone to judge labels by.")
    splits = ("train", "validation")
    files = [file for split in splits for file in dataset.of(split)]
    labels = np.concatenate([dataset.labels(split) for split in splits]).astype(np.int64)
    groups = np.unique([file.group or file.sha256 for file in files], return_inverse=True)[1]
    images = {
        f"features of {split} images": pixels_of(dataset, split, settings, cache, on_progress)
        for split in splits
    }
    backbone = PretrainedBackbone(space.build_backbone())
    features = np.concatenate(pooled(backbone, images, cache, on_progress))
    probabilities = cross_validated(features, labels, groups, STRENGTH, [0], on_progress)
    rows = suspects(labels, probabilities, len(labels))
    outcomes, top = Outcomes.of(probabilities, labels), rows[:MOST]
    shown = _shown(top, files, outcomes, dataset, settings.crop, [None] * len(top))
    return Doubts(shown, len(rows), len(files))
