"""Pictures of the validation images that the winner misclassifies, for TensorBoard."""

import io
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event

from tuner.data.dataset import Dataset
from tuner.report.validation import worst
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.ranking import rank
from tuner.runs.records import trial_name
from tuner.tensorboard import event_files
from tuner.text import printable

MOST = 24  # pictures, the most confident mistakes first
_FOLDER = "mistakes"
_NAME_LENGTH = 60


@dataclass(frozen=True)
class Mistake:
    """A misclassified validation image.

    Attributes:
        number: its index among the validation images.
        path: of its file, relative to the data folder.
        given: its class.
        predicted: the predicted class.
        confidence: the probability of the predicted class, 0 to 1.
    """

    number: int
    path: str
    given: str
    predicted: str
    confidence: float


def find_mistakes(outcomes: Outcomes, dataset: Dataset, most: int = MOST) -> list[Mistake]:
    """The mistakes of a trial on the validation images, the `most` confident ones first."""
    files, labels = dataset.of("validation"), dataset.labels("validation")
    return [
        Mistake(
            int(number),
            files[number].path,
            dataset.classes[labels[number]],
            dataset.classes[outcomes.predicted[number]],
            float(outcomes.confidence[number]),
        )
        for number in worst(outcomes, labels, most)
    ]


def write_mistakes(
    folder: Path,
    journal: Journal,
    direction: str,
    dataset: Dataset,
    pixels: Callable[[Sequence[int]], np.ndarray],
) -> None:
    """Write pictures of the winner's mistakes, and remove those of other trials.

    Does nothing if they exist already, or if there is no winner yet.

    Args:
        folder: the TensorBoard folder.
        journal: of the run.
        direction: "max" or "min", of the score.
        dataset: the images of the run.
        pixels: maps indices of validation images to their pixels, uint8, shape (n, height, width,
            3).

    Raises:
        OSError: the folder cannot be written.
        TuneError: raised by `pixels`.
    """
    winner = next(iter(rank(journal.trials(), direction)), None)
    outcomes = None if winner is None else journal.outcomes(winner.id)
    if winner is None or outcomes is None:
        return
    # The name has the epochs: a promoted trial makes other mistakes.
    target = folder / trial_name(winner.id) / f"{_FOLDER}-{winner.epochs}"
    if target.is_dir():
        return
    mistakes = find_mistakes(outcomes, dataset)
    images = pixels([mistake.number for mistake in mistakes]) if mistakes else ()
    pairs = enumerate(zip(mistakes, images, strict=True), start=1)
    pictures = [_picture(number, *pair) for number, pair in pairs]
    for old in folder.glob(f"*/{_FOLDER}-*"):
        shutil.rmtree(old)
    if pictures:
        event_files.replace(target, pictures)


def _picture(number: int, mistake: Mistake, pixels: np.ndarray) -> Event:
    given, predicted = _brief(mistake.given), _brief(mistake.predicted)
    tag = f"{_FOLDER}/{number:02d} {given} predicted as {predicted}, {mistake.confidence:.0%}"
    text = (
        f"{printable(mistake.path)} is {printable(mistake.given)}, predicted as "
        f"{printable(mistake.predicted)} with probability {mistake.confidence:.3f}."
    )
    height, width, _ = pixels.shape
    return event_files.image(tag, _jpeg(pixels), (width, height), _markdown(text), time.time())


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _brief(name: str) -> str:
    """A class name in a tag, where a slash would make a group."""
    shown = printable(name).replace("/", "\N{DIVISION SLASH}")
    return shown if len(shown) <= _NAME_LENGTH else f"{shown[:_NAME_LENGTH]}..."


def _markdown(text: str) -> str:
    """Escape a text for Markdown and HTML."""
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in text)
