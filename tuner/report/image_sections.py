"""The sections that show images: the worst mistakes with where the network looked, and doubts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.resnet50 import can_be_cut
from tuner.data.dataset import Dataset, ImageFile
from tuner.data.pixel_store import prepare_images
from tuner.errors import RunError, TuneError
from tuner.report.grad_cam import heat_maps
from tuner.report.label_doubts import Doubts, doubtful_labels
from tuner.report.thumbnails import data_address, overlay, picture
from tuner.report.validation import Answers, worst
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import TrialRecord
from tuner.runs.run import Run
from tuner.storage.cache import Cache
from tuner.training.networks import space_of, trained_model

Progress = Callable[[str, int, int], None]
MOST = 24  # mistakes, and doubtful labels, that are shown
_LEAST_SIZE = 64  # the last convolution has a 32nd of the image's places: here two by two


@dataclass(frozen=True)
class Shown:
    """An image on the page.

    Attributes:
        path: of the file, relative to the dataset's root.
        label: the class that its label names.
        other: the class that the model, or the other images, give it.
        confidence: the probability of that class, 0 to 1.
        own: the probability of the label's class.
        picture: JPEG as a data: address; None where the file cannot be shown.
        heat: the same with the heat map over it; None where there is none.
        problem: why there is no picture; empty where there is one.
    """

    path: str
    label: str
    other: str
    confidence: float
    own: float
    picture: str | None
    heat: str | None = None
    problem: str = ""


class Winner:
    """The winner's network and the validation images, each made when it is first wanted.

    Args:
        run: the run.
        trial: its winner.
        dataset: its images; the test images are not opened.
        cache: holds decoded images.
        on_progress: called with (what is done, done so far, of how many).
    """

    def __init__(
        self, run: Run, trial: TrialRecord, dataset: Dataset, cache: Cache, on_progress: Progress
    ) -> None:
        self._run, self._trial, self._dataset = run, trial, dataset
        self._cache, self._on_progress = cache, on_progress
        self._files = dataset.of("validation")
        self._labels = dataset.labels("validation").astype(np.int64)
        self._model: Any = None
        self._pixels: np.ndarray | None = None

    def answers(self) -> Answers:
        """What the winner says of every validation image.

        From the journal, or asked of the network where an earlier version did not keep it.

        Raises:
            TuneError: that is damaged; or the network's weights, or an image, are gone.
        """
        kept = self._run.journal.outcomes(self._trial.id)
        return Answers.of(self._computed() if kept is None else kept, self._labels)

    def mistakes(self, answers: Answers) -> tuple[tuple[Shown, ...], str]:
        """The worst mistakes, and why they have no heat maps; the latter is empty if they have."""
        rows = worst(answers, MOST)
        heats, reason = self._heats(rows, answers)
        shown = []
        for place, row in enumerate(rows):
            self._tell("drawing mistakes", place + 1, len(rows))
            told = answers.confidence[row], answers.probability[row]
            other = self._dataset.classes[int(answers.predicted[row])]
            heat = None if heats is None else heats[place]
            shown.append(self._show(self._files[row], other, told, heat))
        return tuple(shown), reason

    def doubts(self) -> tuple[tuple[Shown, ...], Doubts]:
        """The images with the most doubtful labels.

        Raises:
            TuneError: they cannot be found; an image has changed, say.
        """
        settings = self._run.settings
        if not can_be_cut(self._space()):
            raise RunError(f"The space {settings.space} has no frozen backbone to judge labels by.")
        found = doubtful_labels(self._dataset, settings, self._cache, MOST, self._on_progress)
        shown = [
            self._show(each.file, each.suggested, (each.confidence, each.own))
            for each in found.shown
        ]
        return tuple(shown), found

    def _heats(self, rows: np.ndarray, answers: Answers) -> tuple[np.ndarray | None, str]:
        if not len(rows):
            return None, ""
        if not can_be_cut(self._space()):
            return None, "There are no heat maps: the space builds its networks itself."
        if self._run.settings.image_size < _LEAST_SIZE:
            return None, "There are no heat maps: the last convolution sees so small images whole."
        try:
            return (
                heat_maps(
                    self._network(), self._images()[rows], answers.predicted[rows],
                    lambda done, count: self._tell("heat maps", done, count),
                ),
                "",
            )  # fmt: skip
        except TuneError as error:
            return None, f"There are no heat maps: {error}"

    def _computed(self) -> Outcomes:
        pixels, model = self._images(), self._network()
        batch = self._run.settings.batch_size
        parts = []
        for start in range(0, len(pixels), batch):
            parts.append(model.predict_on_batch(pixels[start : start + batch]))
            self._tell("naming validation images", min(start + batch, len(pixels)), len(pixels))
        return Outcomes.of(np.concatenate(parts), self._labels)

    def _space(self) -> Any:
        return space_of(self._run.settings, len(self._dataset.classes))

    def _network(self) -> Any:
        if self._model is None:
            self._model = trained_model(self._run, self._trial, len(self._dataset.classes))
        return self._model

    def _images(self) -> np.ndarray:
        if self._pixels is None:
            settings = self._run.settings
            self._pixels = prepare_images(
                self._files, self._dataset.root, settings.image_size, self._cache,
                self._tell, crop=settings.crop, what="decoding validation images",
            )  # fmt: skip
        return self._pixels

    def _show(
        self,
        file: ImageFile,
        other: str,
        told: Sequence[Any],
        heat: np.ndarray | None = None,
    ) -> Shown:
        seen, hot, problem = None, None, ""
        try:
            pixels = picture(file, self._dataset.root, self._run.settings.crop)
            seen = data_address(pixels)
            hot = None if heat is None else data_address(overlay(pixels, heat))
        except TuneError as error:
            problem = str(error)
        confidence, own = map(float, told)
        return Shown(file.path, file.label, other, confidence, own, seen, hot, problem)

    def _tell(self, what: str, done: int, count: int) -> None:
        self._on_progress(what, done, count)
