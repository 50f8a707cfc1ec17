"""The most doubtful labels: those that the other images speak against (confident learning).

Cross-validated logistic regression on the frozen backbone's pooled features names each image
without having seen it; cleanlab (Northcutt, Jiang & Chuang 2021, arXiv:1911.00068) ranks the labels
that differ. Where features are weak it names images that are merely hard;
`tuner.diagnose.label_noise` counts how many labels are wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import ResNet50Space
from tuner.data.dataset import Dataset, ImageFile
from tuner.data.pixel_store import pixels_of
from tuner.diagnose.label_noise import suspects
from tuner.features.classifiers import folds, logistic_regression, out_of_fold, projection
from tuner.features.pooled import pooled
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache

Progress = Callable[[str, int, int], None]
_STRENGTH, _FOLDS = 1e-3, 5
_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Doubt:
    """An image whose label the others speak against.

    Attributes:
        file: the image.
        suggested: name of the class that they give it.
        confidence: the probability that they give that class, 0 to 1.
        own: the probability that they give its label.
    """

    file: ImageFile
    suggested: str
    confidence: float
    own: float


@dataclass(frozen=True)
class Doubts:
    """The doubtful labels.

    Attributes:
        shown: the most doubtful ones, the first one first.
        found: how many labels cleanlab names in all.
        images: of how many training and validation images.
    """

    shown: tuple[Doubt, ...]
    found: int
    images: int


def doubtful_labels(
    dataset: Dataset, settings: SearchSettings, cache: Cache, most: int, on_progress: Progress
) -> Doubts:
    """Ranks the labels of training and validation images; the test images are not opened.

    Args:
        dataset: of the run.
        settings: of the run: image size, crop, weights.
        cache: holds images and features from the search.
        most: how many are wanted.
        on_progress: called with (what is done, done so far, of how many); cached work is skipped.

    Raises:
        DataError: an image that has to be decoded has changed or is gone.
        WeightsError: the pretrained weights are gone.
    """
    files = [file for split in _SPLITS for file in dataset.of(split)]
    labels = np.concatenate([dataset.labels(split) for split in _SPLITS]).astype(np.int64)
    features = _features(dataset, settings, cache, on_progress)
    projected = projection(features).transform(features)
    groups = np.unique([file.group or file.sha256 for file in files], return_inverse=True)[1]
    done = iter(range(1, _FOLDS + 1))
    probabilities = out_of_fold(
        logistic_regression(_STRENGTH), projected, labels, folds(labels, groups, _FOLDS, 0),
        lambda: on_progress("judging labels", next(done), _FOLDS),
    )  # fmt: skip
    rows = suspects(labels, probabilities, len(labels))
    shown = tuple(
        Doubt(
            files[row],
            dataset.classes[int(probabilities[row].argmax())],
            float(probabilities[row].max()),
            float(probabilities[row, labels[row]]),
        )
        for row in rows[:most]
    )
    return Doubts(shown, len(rows), len(files))


def _features(
    dataset: Dataset, settings: SearchSettings, cache: Cache, on_progress: Progress
) -> np.ndarray:
    """Pooled features of training and validation images, float32, shape (images, 2048)."""
    space = ResNet50Space(len(dataset.classes), settings.image_size, settings.weights)
    images = {
        f"features of {split} images": pixels_of(dataset, split, settings, cache, on_progress)
        for split in _SPLITS
    }
    backbone = PretrainedBackbone(space.build_backbone())
    return np.concatenate(pooled(backbone, images, cache, on_progress))
