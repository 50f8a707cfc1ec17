"""Check that an exported file, in its own runtime and another process, predicts as the network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from tuner.counting import Progress, silent
from tuner.decoding.decode import on_all_cores, read_image
from tuner.decoding.formats import DecodeError
from tuner.errors import DataError, TuneError
from tuner.metrics.intervals import CONFIDENCE
from tuner.metrics.significance import mcnemar_p
from tuner.untrusted.model_process import ModelProcess, path_request
from tuner.untrusted.model_server import decode

# Two best classes closer than this may swap by rounding.
TIE = 1e-4
# Tolerance of float32 formats: one class in a thousand images, a thousandth of a probability.
MOST_DIFFERING = 0.001
LARGEST_DIFFERENCE = 1e-3
# Quantization may swap classes whose probabilities differ by less.
NEAR = 0.02
# Share of images for which int8 may predict a class that is less probable by more than that.
MOST_FAR = 0.1


@dataclass(frozen=True)
class Reference:
    """The network's own predictions for the images that an export is checked on.

    Attributes:
        paths: the images, validation before test.
        labels: their class numbers, shape (images,).
        validation: the number of validation images.
        probabilities: of the network in this process, shape (images, classes).
    """

    paths: Sequence[Path]
    labels: np.ndarray
    validation: int
    probabilities: np.ndarray

    @cached_property
    def plain(self) -> list[bool]:
        """Whether `model_server.decode` gives the same pixels as our own decoder, by image."""
        return list(on_all_cores(_is_plain, self.paths))

    @cached_property
    def encoded(self) -> list[int]:
        """Indices of the upright, opaque JPEG and PNG files of 8-bit sRGB."""
        return [i for i, path in enumerate(self.paths) if self.plain[i] and _is_encoded(path)]

    @cached_property
    def ties(self) -> np.ndarray:
        """Whether an image's two best probabilities are within 1e-4."""
        best = np.sort(self.probabilities, axis=1)
        return best[:, -1] - best[:, -2] < TIE

    def accuracy(self, probabilities: np.ndarray, test: bool) -> float | None:
        """Accuracy on the validation or the test images; None if there are none."""
        part = slice(self.validation, None) if test else slice(self.validation)
        right = probabilities.argmax(axis=1)[part] == self.labels[part]
        return float(right.mean()) if len(right) else None


@dataclass(frozen=True)
class Parity:
    """How a file's predictions differ from the network's.

    Attributes:
        images: the number of images.
        differing: images with another class, ties left out.
        ties: images whose two best probabilities are within 1e-4.
        largest: largest difference of a probability.
        milliseconds: median time per image, one at a time, decoding left out.
        validation_accuracy: of the file, 0 to 1.
        test_accuracy: of the file; both are None for the signature on encoded bytes, which cannot
            read every image.
        lost: images that only the network classifies correctly.
        gained: images that only the file classifies correctly.
        far: images with another class that the network finds less probable by over 0.02.
    """

    images: int
    differing: int
    ties: int
    largest: float
    milliseconds: float
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    lost: int = 0
    gained: int = 0
    far: int = 0

    @property
    def equal(self) -> bool:
        """Whether it is close enough for float32."""
        few = self.differing <= MOST_DIFFERING * self.images
        return few and self.largest <= LARGEST_DIFFERENCE

    @property
    def near(self) -> bool:
        """Whether it is close enough for float16: only classes count, near ties left out."""
        return self.far <= MOST_DIFFERING * self.images

    @property
    def usable(self) -> bool:
        """Whether it is close enough for int8: as float16, for nine images of ten."""
        return self.far <= MOST_FAR * self.images

    @property
    def worse(self) -> bool:
        """Whether it is significantly less accurate (exact McNemar test, 5 %)."""
        one = np.repeat([True, False], [self.lost, self.gained])
        return self.lost > self.gained and mcnemar_p(one, ~one) < 1 - CONFIDENCE

    @property
    def loss(self) -> str:
        """The loss of accuracy, in words."""
        return (
            f"of {self.images} images it misclassifies {self.lost} that the network classifies "
            f"correctly, and the reverse for {self.gained}: {self.lost - self.gained} fewer "
            "correct, a significant loss"
        )

    @property
    def departure(self) -> str:
        """The images with another class, in words."""
        return (
            f"{self.far} of {self.images} images get another class, which the network finds less "
            f"probable by over {NEAR}"
        )

    @property
    def sentence(self) -> str:
        """The difference in words."""
        return (
            f"{self.differing} of {self.images} images get another class, and probabilities "
            f"differ by up to {self.largest:.2g}"
        )


def check_file(
    reference: Reference,
    name: str,
    path: Path,
    on_progress: Progress = silent,
) -> Parity:
    """Predict all images with an exported file, in a process that cannot import this package.

    Images that Pillow alone decodes to the same pixels are decoded there; of others, pixels are
    sent.

    Args:
        reference: the expected predictions.
        name: the file's format.
        path: the file.
        on_progress: shows the images done.

    Raises:
        TuneError: the file cannot be loaded or used.
    """
    items = (
        path_request(path) if plain else read_image(path)[np.newaxis]
        for path, plain in zip(reference.paths, reference.plain, strict=True)
    )
    found, seconds = _predict(name, path, items, len(reference.paths), on_progress)
    parity = _compare(reference, np.arange(len(reference.paths)), found, seconds)
    return Parity(
        **vars(parity)
        | {
            "validation_accuracy": reference.accuracy(found, test=False),
            "test_accuracy": reference.accuracy(found, test=True),
        }
    )


def check_encoded(reference: Reference, path: Path) -> Parity | None:
    """Check a SavedModel's signature on encoded bytes, on the images that it can read.

    Returns:
        None if there are none.
    """
    rows = np.array(reference.encoded, int)
    if not len(rows):
        return None
    items = (path_request(reference.paths[row]) for row in rows)
    found, seconds = _predict("encoded", path, items, len(rows), silent)
    return _compare(reference, rows, found, seconds)


def _compare(
    reference: Reference, rows: np.ndarray, found: np.ndarray, seconds: np.ndarray
) -> Parity:
    expected = reference.probabilities[rows]
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise TuneError("the exported file does not give one probability for each class.")
    best, named = expected.argmax(axis=1), found.argmax(axis=1)
    each, labels, ties = np.arange(len(rows)), reference.labels[rows], reference.ties[rows]
    other = best != named
    return Parity(
        images=len(rows),
        differing=int((other & ~ties).sum()),
        ties=int(ties.sum()),
        largest=float(np.abs(found - expected).max()),
        milliseconds=float(np.median(seconds) * 1000),
        lost=int(((best == labels) & other).sum()),
        gained=int(((named == labels) & other).sum()),
        far=int((expected[each, best] - expected[each, named] > NEAR).sum()),
    )


def _predict(
    name: str, path: Path, requests: Iterable[np.ndarray], count: int, on_progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and seconds of images, one at a time, from another process."""
    answers = []
    with ModelProcess(name, path, limited=False) as model:
        try:
            model.load()
            for number, request in enumerate(requests, 1):
                answers.append(model.predict(request))
                on_progress(f"checking {name}", number, count)
        except DecodeError as error:
            raise DataError(f"an image that the export is checked on is gone: {error}") from error
        except TuneError as error:
            raise TuneError(f"the exported {name} file could not be checked: {error}") from error
    probabilities, seconds = zip(*answers, strict=True)
    return np.concatenate(probabilities), np.array(seconds)


def _is_plain(path: Path) -> bool:
    try:
        return np.array_equal(decode(path), read_image(path))
    except Exception:  # Pillow raises nearly any type; our own decoder reads it later
        return False


def _is_encoded(path: Path) -> bool:
    with Image.open(path) as image:
        upright = image.getexif().get(0x0112, 1) in (0, 1)
        opaque = image.mode in ("1", "L", "P", "RGB") and not image.has_transparency_data
        return image.format in ("JPEG", "PNG") and upright and opaque
