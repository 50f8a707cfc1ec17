"""How good the winner is: as the search recorded it, and on images that took no part in it.

The test images are sealed: nobody opens them between the split and the first call of
`evaluate_winner`, which opens them once, for the winner and for all that it is compared with. What
it finds is kept in the journal, and later calls answer from there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset
from tuner.data.pixel_store import pixels_of
from tuner.errors import RunError
from tuner.evaluate.access_log import access_now, access_rows, log_access
from tuner.evaluate.baseline_predictions import Predictions, baseline_predictions, can_return
from tuner.evaluate.baselines import SIMPLE_CHOICE, Baseline, LeftOut, compare, in_order, verdict
from tuner.evaluate.held_out import details_of
from tuner.evaluate.leaked_images import Leaked, leaked, wrong_paths
from tuner.evaluate.selection_bias import SelectionBias, selection_bias_of
from tuner.metrics.intervals import share_interval
from tuner.metrics.scores import balanced_accuracy
from tuner.runs.ranking import rank, simplest
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import Run, is_writable, winner_of
from tuner.settings import BEST
from tuner.storage.cache import Cache
from tuner.training.networks import trained_model

NOT_TESTED = (
    "No image was held out for a test: how good the winner is on new images is not known, and its "
    "validation accuracy is too high, as it was chosen by that."
)
# What the journal would hold of a run without test images.
_NOTHING: dict[str, Any] = {
    "test_correct": 0, "test_images": 0, "test_balanced_accuracy": None, "opponents": (),
    "left_out": (), "details": {"mistakes": ()},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The trial that a search chose, and its accuracies, 0 to 1.

    Attributes:
        trial: its record.
        preferred: "best" or "simple": how it was chosen.
        classes: number of classes of the validation images.
        validation_accuracy: as recorded when its last epoch ended; the search chose by it.
        validation_balanced_accuracy: the mean of the classes' own accuracies, likewise.
        validation_majority_rate: accuracy of naming the most frequent class every time.
        test_images: how many images took no part in the search.
        test_accuracy: on these; None, as all else that is measured on them, if there are none.
        test_balanced_accuracy: the mean of the classes' own accuracies on these.
        test_accuracy_interval: 95 % interval of the test accuracy.
        majority_rate: accuracy on these of naming the most frequent class every time.
        selection_bias: of the validation accuracy; None if it cannot be estimated.
        baselines: what it is compared with on the test images, the simplest network first.
        left_out: baselines that were skipped.
        leaked: the test images that have copies among those that the search had.
        accesses: every time that these test images, or some of them, were opened, by any run, the
            oldest first; see `access_log.access_rows`.
        details: everything else that is measured on the test images; see `held_out.details_of`.
    """

    trial: TrialRecord
    preferred: str
    classes: int
    validation_accuracy: float
    validation_balanced_accuracy: float
    validation_majority_rate: float
    test_images: int
    test_accuracy: float | None
    test_balanced_accuracy: float | None
    test_accuracy_interval: tuple[float, float] | None
    majority_rate: float | None
    selection_bias: SelectionBias | None
    baselines: tuple[Baseline, ...]
    left_out: tuple[LeftOut, ...]
    leaked: Leaked
    accesses: tuple[Mapping[str, Any], ...]
    details: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """What the search gained over the simplest network, in a sentence."""
        if not self.test_images:
            return NOT_TESTED
        return verdict(self.baselines, self.trial.recipe, self.left_out)

    def to_json(self) -> dict[str, Any]:
        """Everything but the networks, as `tune best --json` prints it."""
        return {
            "trial": trial_name(self.trial.id),
            "hyperparameters": self.trial.hyperparameters,
            "recipe": self.trial.recipe,
            "epochs": self.trial.epochs,
            "preferred": self.preferred,
            "validation_accuracy": self.validation_accuracy,
            "validation_balanced_accuracy": self.validation_balanced_accuracy,
            "validation_majority_rate": self.validation_majority_rate,
            "test_images": self.test_images,
            "test_accuracy": self.test_accuracy,
            "test_balanced_accuracy": self.test_balanced_accuracy,
            "test_accuracy_interval": self.test_accuracy_interval,
            "majority_rate": self.majority_rate,
            "luck": self.selection_bias and self.selection_bias.to_json(),
            "opponents": [baseline.to_json() for baseline in self.baselines],
            "left_out": [asdict(each) for each in self.left_out],
            "verdict": self.verdict,
            "looks": list(self.accesses),
            "leaked_test_images": self.leaked.to_json(),
            "test_scores": self.details.get("scores"),
            **{name: value for name, value in self.details.items() if name != "scores"},
        }


def evaluate_winner(
    run: Run,
    dataset: Dataset,
    cache: Cache,
    on_progress: Progress = silent,
    prefer: str = BEST,
) -> Winner:
    """Evaluates the winner on the test images, once; later calls answer from the journal.

    They are opened again for a baseline that was skipped before, as its weights or the training
    images were gone, and can be evaluated now. That access is logged like any other.

    Args:
        run: a run with a finished trial.
        dataset: the run's images.
        cache: holds decoded images.
        on_progress: shows decoding, and preparing the training images for the baselines.
        prefer: "best", or "simple" for the simplest trial within one standard error of the best.

    Raises:
        RunError: no trial has finished, or the winner's weights are gone; or a simple one is
            wanted and the run does not hold what is needed to choose it.
        DataError: a test image has changed since the search, or is gone.
    """
    trial = chosen_trial(run, dataset, prefer)
    if not dataset.of("test"):
        return _winner(run, dataset, trial, prefer)
    results = _results(run, trial)
    if results is None or _may_add(run, dataset, cache, results, on_progress):
        _open_test_images(run, dataset, cache, trial, on_progress)
    return _winner(run, dataset, trial, prefer)


def chosen_trial(run: Run, dataset: Dataset, prefer: str = BEST) -> TrialRecord:
    """The winner, or the simplest trial within one standard error of it.

    Raises:
        RunError: see `evaluate_winner`.
    """
    winner = winner_of(run)
    if prefer == BEST:
        return winner
    simple = _simple(run, dataset)
    if simple is None:
        raise RunError(
            f"what trial {trial_name(winner.id)} of run {run.name} made of each validation image "
            "was not kept, so that its standard error is not known. Take it with --prefer best."
        )
    return simple


def recorded_evaluation(run: Run) -> dict[str, Any] | None:
    """`Winner.to_json` of an earlier `evaluate_winner`, or None; opens no image."""
    if not rank(run.journal.trials(), run.settings.direction):
        return None
    trial = winner_of(run)
    if _results(run, trial) is None:
        return None
    return _winner(run, run.dataset(), trial, BEST).to_json()


def _results(run: Run, trial: TrialRecord) -> dict[str, Any] | None:
    """What was found for a trial as it is now."""
    results = run.journal.evaluation(trial.id)
    return results if results is not None and results.get("epochs") == trial.epochs else None


def _may_add(
    run: Run, dataset: Dataset, cache: Cache, results: Mapping[str, Any], on_progress: Progress
) -> bool:
    """Whether a baseline that was skipped before can be evaluated now."""
    left_out = _left_out(results)
    return (
        bool(left_out)
        and is_writable(run.folder)
        and can_return(run, dataset, cache, left_out, on_progress)
    )


def _left_out(results: Mapping[str, Any]) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(**row) for row in results["left_out"])


def _simple(run: Run, dataset: Dataset) -> TrialRecord | None:
    labels = dataset.labels("validation")
    found = simplest(run.journal, labels, run.settings.objective)
    return None if found is None else found[0]


def _winner(run: Run, dataset: Dataset, trial: TrialRecord, prefer: str) -> Winner:
    """A trial with what the journal has of it."""
    results = _results(run, trial) if dataset.of("test") else _NOTHING
    assert results is not None
    metrics = run.journal.epochs(trial.id)[trial.epochs - 1]
    right, images = results["test_correct"], results["test_images"]
    labels = dataset.labels("validation")
    return Winner(
        trial=trial,
        preferred=prefer,
        classes=len(set(labels.tolist())),
        validation_accuracy=metrics["val_accuracy"],
        validation_balanced_accuracy=metrics["val_balanced_accuracy"],
        validation_majority_rate=dataset.majority_rate("validation"),
        test_images=images,
        test_accuracy=right / images if images else None,
        test_balanced_accuracy=results["test_balanced_accuracy"],
        test_accuracy_interval=share_interval(right, images) if images else None,
        majority_rate=dataset.majority_rate("test") if images else None,
        selection_bias=selection_bias_of(run.journal, labels, run.settings.objective, prefer),
        baselines=tuple(Baseline.from_json(row) for row in results["opponents"]),
        left_out=_left_out(results),
        leaked=leaked(dataset, wrong_paths(results)),
        accesses=tuple(access_rows(run, dataset)),
        details=results["details"],
    )


def _open_test_images(
    run: Run, dataset: Dataset, cache: Cache, wanted: TrialRecord, on_progress: Progress
) -> None:
    """Evaluate the winner, the simple choice and all baselines on the test images.

    The winner's network must be there, and so must the wanted one's.
    """
    settings, best = run.settings, winner_of(run)
    simple = _simple(run, dataset)
    trials = {trial.id: trial for trial in (best, simple) if trial is not None}
    networks, gone = _networks(run, trials, len(dataset.classes), {best.id, wanted.id})
    with run.reading_images():
        images = pixels_of(dataset, "test", settings, cache, on_progress)
    probabilities = {
        number: np.asarray(network.predict(images, batch_size=settings.batch_size, verbose=0))
        for number, network in networks.items()
    }
    found, left_out = baseline_predictions(run, dataset, cache, images, on_progress)
    names = {each.name for each in left_out}
    left_out += [missing for number, missing in gone.items() if trials[number].recipe not in names]
    compared = {best.id, *(each.trial for each in found)}
    if simple is not None and simple.id in probabilities and simple.id not in compared:
        classes = probabilities[simple.id].argmax(axis=1)
        found.append(Predictions(SIMPLE_CHOICE, classes, simple.id))
    results = {
        number: _result(
            trials[number],
            rows,
            dataset,
            found,
            left_out,
            earlier=(_results(run, trials[number]) or {}).get("opponents", ()),
        )
        for number, rows in probabilities.items()
    }
    log_access(run, best.id, access_now(run, best.id, dataset), results)


def _networks(
    run: Run, trials: Mapping[int, TrialRecord], num_classes: int, needed: Collection[int]
) -> tuple[dict[int, keras.Model], dict[int, LeftOut]]:
    """The networks of trials, and those simple choices that have none any more and need none."""
    networks: dict[int, keras.Model] = {}
    gone: dict[int, LeftOut] = {}
    for number, trial in trials.items():
        try:
            networks[number] = trained_model(run, trial, num_classes)
        except RunError as error:
            if number in needed:
                raise
            gone[number] = LeftOut(SIMPLE_CHOICE, str(error), may_return=False)
    return networks, gone


def _result(
    trial: TrialRecord,
    probabilities: np.ndarray,
    dataset: Dataset,
    found: Sequence[Predictions],
    left_out: Sequence[LeftOut],
    earlier: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the journal keeps of a trial on the test images.

    Baselines that an earlier evaluation measured and this one could not are kept.
    """
    labels = dataset.labels("test")
    right = probabilities.argmax(axis=1) == labels
    baselines = [
        compare(each.name, right, each.classes == labels, each.trial)
        for each in found
        if each.trial != trial.id
    ]
    missing = {each.name for each in left_out}
    kept = map(Baseline.from_json, earlier)
    baselines += [baseline for baseline in kept if baseline.name in missing]
    known = {trial.recipe, *(baseline.name for baseline in baselines)}
    return {
        "epochs": trial.epochs,
        "test_correct": int(right.sum()),
        "test_images": len(labels),
        "test_balanced_accuracy": balanced_accuracy(probabilities, labels),
        "opponents": [baseline.to_json() for baseline in in_order(baselines)],
        "left_out": [asdict(each) for each in left_out if each.name not in known],
        "details": details_of(probabilities, dataset),
    }


def count_correct(probabilities: np.ndarray, labels: np.ndarray) -> int:
    """Number of rows whose most probable class is the label."""
    return int((probabilities.argmax(axis=1) == labels).sum())
