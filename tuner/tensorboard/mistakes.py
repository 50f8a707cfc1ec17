"""The validation images that a trial takes for something else, as pictures for TensorBoard."""

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
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.ranking import rank
from tuner.runs.records import trial_name
from tuner.tensorboard import event_files
from tuner.text import printable

# Pictures at most: those of which the network was surest.
MOST = 24
_FOLDER = "mistakes"
_NAME_LENGTH = 60


@dataclass(frozen=True)
class Mistake:
    """A validation image that a trial takes for another class.

    Attributes:
        number: its place among the validation images, from 0.
        path: of its file, relative to the data's folder.
        given: its class.
        predicted: the class that it is taken for.
        confidence: the probability of that, 0 to 1.
    """

    number: int
    path: str
    given: str
    predicted: str
    confidence: float


def find_mistakes(outcomes: Outcomes, dataset: Dataset, most: int = MOST) -> list[Mistake]:
    """The mistakes of a trial on the validation images, the surest first, at most `most`."""
    files, labels = dataset.of("validation"), dataset.labels("validation")
    wrong = np.flatnonzero(outcomes.predicted != labels)
    surest = wrong[np.argsort(-outcomes.confidence[wrong].astype(np.float32), kind="stable")]
    return [
        Mistake(
            int(number),
            files[number].path,
            dataset.classes[labels[number]],
            dataset.classes[outcomes.predicted[number]],
            float(outcomes.confidence[number]),
        )
        for number in surest[:most]
    ]


def write_mistakes(
    folder: Path,
    journal: Journal,
    direction: str,
    dataset: Dataset,
    pixels: Callable[[Sequence[int]], np.ndarray],
) -> None:
    """Writes pictures of the winner's mistakes, in place of those of any other trial.

    Does nothing where they are there already, or where there is no winner yet.

    Args:
        folder: the TensorBoard folder.
        journal: the run's.
        direction: "max" or "min", as the best score is.
        dataset: the run's images.
        pixels: places among the validation images to these images, uint8, shape (n, height, width,
            3).

    Raises:
        OSError: the folder cannot be written.
        TuneError: what `pixels` raises.
    """
    winner = next(iter(rank(journal.trials(), direction)), None)
    outcomes = None if winner is None else journal.outcomes(winner.id)
    if winner is None or outcomes is None:
        return
    # The epochs stand in the name: a trial that has gone on makes other mistakes.
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
    tag = f"{_FOLDER}/{number:02d} {given} taken for {predicted}, {mistake.confidence:.0%}"
    text = (
        f"{printable(mistake.path)} is {printable(mistake.given)} and is taken for "
        f"{printable(mistake.predicted)} with a probability of {mistake.confidence:.3f}."
    )
    height, width, _ = pixels.shape
    return event_files.image(tag, _jpeg(pixels), (width, height), _markdown(text), time.time())


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _brief(name: str) -> str:
    """A class's name as a part of a tag, in which a slash makes a group."""
    shown = printable(name).replace("/", "\N{DIVISION SLASH}")
    return shown if len(shown) <= _NAME_LENGTH else f"{shown[:_NAME_LENGTH]}..."


def _markdown(text: str) -> str:
    """The text as it is: markup in a name is neither taken for HTML nor for Markdown."""
    plain = (
        letter if letter.isalnum() or letter == " " else f"&#{ord(letter)};" for letter in text
    )
    return "".join(plain)
