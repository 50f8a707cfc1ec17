"""Everything that a report shows, gathered; what cannot be had leaves a sentence that says why."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tuner.command_lines import Command, changed_options, search_command
from tuner.data.dataset import SplitOptions
from tuner.diagnose.stored import kept_diagnosis
from tuner.environment import all_versions
from tuner.errors import TuneError
from tuner.report.figures import BracketPicture, Share, bracket_pictures, time_shares
from tuner.report.headline import Answer, answer_of
from tuner.report.importance import LEAST_TRIALS, Importances, importances
from tuner.report.run_data import Story, story_of
from tuner.report.validation import (
    ClassRow,
    Reliability,
    class_rows,
    confused_pairs,
    confusion,
    reliability,
)
from tuner.runs.run import Run
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, default_cache_dir

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.report.image_sections import Shown, Winner
    from tuner.report.label_doubts import Doubts

Progress = Callable[[str, int, int], None]
Part = TypeVar("Part")
# Rows of the confusion matrix that a screen holds; of more classes those with most mistakes.
_MOST_CLASSES = 24
_MOST_PAIRS = 12
# Settings that say what a search saw.
_SEEN = ("weights", "image_size", "crop", *(field.name for field in fields(SplitOptions)))


@dataclass(frozen=True)
class Absent:
    """A part of the report that there is not, and why."""

    reason: str


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix, or its rows and columns with the most mistakes.

    Attributes:
        names: of the classes shown.
        rows: images by label and predicted class.
        shades: share of the label's images in tenths, for the colour of each cell.
        left_out: how many classes are not shown.
        pairs: the most frequent confusions: label, predicted class, images.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    shades: tuple[tuple[int, ...], ...]
    left_out: int
    pairs: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Validation:
    """What the winner makes of the validation images.

    Attributes:
        images: how many there are.
        wrong: how many are named wrongly.
        matrix: which class is taken for which.
        classes: a row each.
        reliability: confidence against accuracy.
        worst: the most confident mistakes.
        no_heat: why they have no heat maps; empty if they have.
    """

    images: int
    wrong: int
    matrix: Matrix
    classes: tuple[ClassRow, ...]
    reliability: Reliability
    worst: "tuple[Shown, ...]"
    no_heat: str


@dataclass(frozen=True)
class Doubtful:
    """The labels that other images speak against."""

    shown: "tuple[Shown, ...]"
    found: "Doubts"


@dataclass(frozen=True)
class Contents:
    """A report without its looks."""

    story: Story
    answer: Answer
    brackets: tuple[BracketPicture, ...]
    importances: Importances | Absent
    validation: Validation | Absent
    doubtful: Doubtful | Absent
    diagnosis: dict[str, Any] | Absent
    times: dict[str, list[Share]]
    command: str
    versions: dict[str, str]


def gather(run: Run, cache: Cache, on_progress: Progress) -> Contents:
    """Gathers what there is to report of a run. The test images are not opened.

    Args:
        run: in any state.
        cache: holds images and features.
        on_progress: called with (what is done, done so far, of how many).

    Raises:
        RunError: there is no journal, or another version wrote it.
    """
    story = story_of(run)
    winner = _winner(run, story, cache, on_progress)
    return Contents(
        story,
        answer_of(run, story),
        tuple(bracket_pictures(story)),
        _importances(story, on_progress),
        winner if isinstance(winner, Absent) else _attempt(lambda: _validation(winner, story)),
        winner if isinstance(winner, Absent) else _attempt(lambda: Doubtful(*winner.doubts())),
        _diagnosis(story, cache),
        time_shares(story),
        search_command(story.settings, story.name),
        all_versions(),
    )


def _attempt(make: Callable[[], Part]) -> Part | Absent:
    try:
        return make()
    except TuneError as error:
        return Absent(str(error))
    except OSError as error:
        return Absent(f"{error.filename or 'A file'} cannot be read: {error.strerror}.")


def _winner(run: Run, story: Story, cache: Cache, on_progress: Progress) -> "Winner | Absent":
    if story.winner is None:
        return Absent("Not yet measured: there is no winner.")
    if story.dataset is None:
        return Absent("The run's description of its images is gone or damaged.")
    from tuner.report.image_sections import Winner

    return Winner(run, story.winner, story.dataset, cache, on_progress)


def _importances(story: Story, on_progress: Progress) -> Importances | Absent:
    found = importances(
        story.trials, lambda done, count: on_progress("hyperparameters", done, count)
    )
    return found or Absent(
        f"Not yet told: it takes at least {LEAST_TRIALS} trials whose scores differ."
    )


def _validation(winner: "Winner", story: Story) -> Validation:
    assert story.dataset is not None
    answers = winner.answers()
    names = story.dataset.classes
    counts = confusion(answers, len(names))
    shown, no_heat = winner.mistakes(answers)
    return Validation(
        len(answers.labels), int((~answers.right).sum()), _matrix(counts, names),
        tuple(class_rows(counts, names)), reliability(answers), shown, no_heat,
    )  # fmt: skip


def _matrix(counts: np.ndarray, names: tuple[str, ...]) -> Matrix:
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    chosen = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_CLASSES])
    shown = counts[np.ix_(chosen, chosen)]
    share = shown / np.maximum(counts.sum(axis=1)[chosen, np.newaxis], 1)
    return Matrix(
        tuple(names[number] for number in chosen),
        tuple(tuple(map(int, row)) for row in shown),
        tuple(tuple(map(int, row)) for row in np.ceil(share * 10)),
        len(names) - len(chosen),
        tuple(confused_pairs(counts, names, _MOST_PAIRS)),
    )


def _diagnosis(story: Story, cache: Cache) -> dict[str, Any] | Absent:
    if story.dataset is None:
        return Absent("The run's description of its images is gone or damaged.")
    found = kept_diagnosis(cache.folder, story.dataset.fingerprint)
    if found is None and story.settings.data is None:
        return Absent("There is no diagnosis: scikit-learn's digits lie in no folder to diagnose.")
    return found or Absent(
        f"Not run on these images. It is made by: {diagnose_command(story.settings, cache.folder)}"
    )


def diagnose_command(settings: SearchSettings, cache_dir: Path) -> str:
    """The `tune diagnose` whose result this report would show: of the same images in the same
    split, as the search saw them, and kept in the same cache folder.
    """
    assert settings.data is not None
    options = changed_options(
        {name: getattr(settings, name) for name in _SEEN}, asdict(SearchSettings())
    )
    if cache_dir.absolute() != default_cache_dir().absolute():
        options["--cache-dir"] = str(cache_dir)
    return str(Command("diagnose").on(settings.data, options))
