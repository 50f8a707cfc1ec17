"""Everything that a report shows, gathered; what is missing leaves a sentence that says why."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.command_lines import Command, changed_options, search_command
from tuner.counting import Progress
from tuner.data.dataset import SplitOptions
from tuner.diagnose.stored import kept_diagnosis
from tuner.environment import all_versions
from tuner.report.headline import Answer, answer_of
from tuner.report.importance import LEAST_TRIALS, Importances, importances
from tuner.report.run_data import NO_WINNER, Absent, RunData, attempt, read_run_data
from tuner.report.validation import Validation
from tuner.runs.run import Run
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, default_cache_dir

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.report.image_sections import Doubts

_NO_DATASET = Absent("The run's description of its images is missing or damaged.")
# Settings that say what a search saw.
_SEEN = ("weights", "image_size", "crop", *(field.name for field in fields(SplitOptions)))


@dataclass(frozen=True)
class Contents:
    """What a report shows, before it is laid out."""

    data: RunData
    answer: Answer
    importances: Importances | Absent
    validation: Validation | Absent
    doubts: "Doubts | Absent"
    diagnosis: dict[str, Any] | Absent
    command: str
    versions: dict[str, str]


def gather(run: Run, cache: Cache, on_progress: Progress) -> Contents:
    """Gather what there is to report of a run in any state. The test images are not opened.

    Raises:
        RunError: there is no journal, or another version wrote it.
    """
    data = read_run_data(run)
    winner, dataset, outcomes = data.winner, data.dataset, data.outcomes
    validation: Validation | Absent
    doubts: Doubts | Absent
    if winner is None or dataset is None:
        validation = doubts = NO_WINNER if winner is None else _NO_DATASET
    else:
        from tuner.report.image_sections import doubtful_labels, mistakes

        def validated() -> Validation | Absent:
            if isinstance(outcomes, Absent):
                return outcomes
            worst, no_heat = mistakes(run, winner, dataset, outcomes, cache, on_progress)
            return Validation.of(outcomes, dataset, worst, no_heat)

        validation = attempt(validated)
        doubts = attempt(lambda: doubtful_labels(dataset, data.settings, cache, on_progress))
    too_few = f"Not known: it takes at least {LEAST_TRIALS} trials whose scores differ."
    return Contents(
        data,
        answer_of(data),
        importances(data.trials, on_progress) or Absent(too_few),
        validation,
        doubts,
        _diagnosis(data, cache),
        search_command(data.settings, data.name),
        all_versions(),
    )


def _diagnosis(data: RunData, cache: Cache) -> dict[str, Any] | Absent:
    if data.dataset is None:
        return _NO_DATASET
    found = kept_diagnosis(cache.folder, data.dataset.fingerprint)
    if found is None and data.settings.data is None:
        return Absent("There is no diagnosis: scikit-learn's digits lie in no folder to diagnose.")
    return found or Absent(
        f"Not run on these images. This runs it: {diagnose_command(data.settings, cache.folder)}"
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
