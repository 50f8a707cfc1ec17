"""How good the winner is: as the search recorded it, and on images that took no part in it.

The test images are sealed: nobody opens them between the split and the first call of
`evaluate_winner`, which opens them once, for the winner and for all that it is compared with. What
it finds is kept in the journal, and later calls answer from there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from tuner.counting import silent
from tuner.data.dataset import Dataset
from tuner.data.pixel_store import pixels_of
from tuner.errors import RunError
from tuner.evaluate.access_log import access_now, access_rows, log_access
from tuner.evaluate.baseline_predictions import Answer, Counting, can_return, opponents_answers
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

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Winner:
    """The trial that a search chose, and its accuracies, 0 to 1.

    Attributes:
        trial: its record.
        validation_accuracy: as recorded when its last epoch ended; the search chose by it.
        test_accuracy: on the test images, which the search neither trained on nor chose by.
        test_images: how many those are.
        majority_rate: accuracy on them of naming the most frequent class every time.
        validation_majority_rate: the same on the validation images.
        classes: number of classes.
        validation_balanced_accuracy: the mean of the classes' own accuracies, as recorded; None in
            runs of versions that did not record it.
        test_balanced_accuracy: the same on the test images; likewise.
        test_accuracy_interval: 95 % interval of the test accuracy.
        selection_bias: of the validation accuracy; None if it cannot be estimated.
        baselines: what it is compared with on the test images, the simplest network first.
        details: everything else that `held_out.details_of` measures on the test images, as JSON
            holds it; empty where an older version evaluated it.
        accesses: every time that these test images, or some of them, were opened, by any run, the
            oldest first; see `access_log.access_rows`.
        preferred: "best" or "simple": how it was chosen.
        leaked: the test images that have copies among those that the search had; None where that
            is not known.
        left_out: baselines that were skipped.
    """

    trial: TrialRecord
    validation_accuracy: float
    test_accuracy: float
    test_images: int
    majority_rate: float
    validation_majority_rate: float
    classes: int
    validation_balanced_accuracy: float | None = None
    test_balanced_accuracy: float | None = None
    test_accuracy_interval: tuple[float, float] | None = None
    selection_bias: SelectionBias | None = None
    baselines: tuple[Baseline, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    accesses: tuple[Mapping[str, Any], ...] = ()
    preferred: str = BEST
    leaked: Leaked | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def verdict(self) -> str | None:
        """What the search gained over the simplest network, in a sentence."""
        if not self.baselines:
            return None
        return verdict(self.baselines, self.trial.recipe, self.left_out)


def evaluate_winner(
    run: Run,
    dataset: Dataset,
    cache: Cache,
    on_progress: Progress | None = None,
    prefer: str = BEST,
    on_counting: Counting | None = None,
) -> Winner:
    """Evaluates the winner on the test images, once; later calls answer from the journal.

    They are opened again for a baseline that was skipped before, as its weights or the training
    images were gone, and can be evaluated now. That access is logged like any other.

    Args:
        run: a run with a finished trial.
        dataset: the run's images.
        cache: holds decoded images.
        on_progress: called with (done, of how many) while test images are decoded.
        prefer: "best", or "simple" for the simplest trial within one standard error of the best.
        on_counting: called with (what is done, images done, of how many) while training images are
            prepared for the baselines, if the cache does not hold them.

    Raises:
        RunError: no trial has finished, or the winner's weights are gone; or a simple one is
            wanted and the run does not hold what is needed to choose it.
        DataError: a test image has changed since the search, or is gone.
    """
    trial = chosen_trial(run, dataset, prefer)
    results = _results(run, trial)
    if results is None or _may_add(run, dataset, cache, results, on_counting):
        _look(run, dataset, cache, trial, on_progress, on_counting)
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
    """What `evaluate_winner` has found, without opening any image; None before it was called.

    Returns:
        As JSON holds it: "trial", "test_accuracy" and "test_accuracy_interval", "test_images",
        "luck", "looks", "leaked_test_images", "verdict"; and, unless an older version evaluated it,
        "opponents" and what `held_out.details_of` describes.
    """
    if not rank(run.journal.trials(), run.settings.direction):
        return None
    trial, dataset = winner_of(run), run.dataset()
    if _results(run, trial) is None:
        return None
    winner = _winner(run, dataset, trial, BEST)
    return {
        "trial": trial_name(trial.id),
        "test_accuracy": winner.test_accuracy,
        "test_accuracy_interval": winner.test_accuracy_interval,
        "test_images": winner.test_images,
        "luck": winner.selection_bias and winner.selection_bias.to_json(),
        "looks": list(winner.accesses),
        "leaked_test_images": winner.leaked and winner.leaked.to_json(),
        "opponents": [baseline.to_json() for baseline in winner.baselines],
        "left_out": [asdict(each) for each in winner.left_out],
        "verdict": winner.verdict,
        **winner.details,
    }


def _results(run: Run, trial: TrialRecord) -> dict[str, Any] | None:
    """What was found for a trial as it is now."""
    results = run.journal.evaluation(trial.id)
    return results if results is not None and results.get("epochs") == trial.epochs else None


def _may_add(
    run: Run,
    dataset: Dataset,
    cache: Cache,
    results: Mapping[str, Any],
    on_counting: Counting | None,
) -> bool:
    """Whether a baseline that was skipped before can be evaluated now."""
    left_out = _left_out(results)
    return (
        bool(left_out)
        and is_writable(run.folder)
        and can_return(run, dataset, cache, left_out, on_counting)
    )


def _left_out(results: Mapping[str, Any]) -> tuple[LeftOut, ...]:
    return tuple(LeftOut(**row) for row in results.get("left_out", ()))


def _simple(run: Run, dataset: Dataset) -> TrialRecord | None:
    labels = dataset.labels("validation")
    found = simplest(run.journal, labels, run.settings.objective)
    return None if found is None else found[0]


def _winner(run: Run, dataset: Dataset, trial: TrialRecord, prefer: str) -> Winner:
    """A trial with what the journal has of it."""
    results = _results(run, trial)
    assert results is not None
    metrics = run.journal.epochs(trial.id)[trial.epochs - 1]
    right, images = results["test_correct"], results["test_images"]
    labels = dataset.labels("validation")
    return Winner(
        trial,
        metrics["val_accuracy"],
        right / images,
        images,
        dataset.majority_rate("test"),
        dataset.majority_rate("validation"),
        len(dataset.classes),
        metrics.get("val_balanced_accuracy"),
        results.get("test_balanced_accuracy"),
        share_interval(right, images),
        selection_bias_of(run.journal, labels, run.settings.objective, prefer),
        tuple(Baseline.from_json(row) for row in results.get("opponents", [])),
        results.get("details", {}),
        tuple(access_rows(run, dataset)),
        prefer,
        leaked(dataset, wrong_paths(results)),
        _left_out(results),
    )


def _look(
    run: Run,
    dataset: Dataset,
    cache: Cache,
    wanted: TrialRecord,
    on_progress: Progress | None,
    on_counting: Counting | None,
) -> None:
    """Opens the test images for the winner, the simple choice and all baselines.

    The winner has to answer, and so has what is wanted, if that is the simple choice.
    """
    settings, best = run.settings, winner_of(run)
    simple = _simple(run, dataset)
    asked = {trial.id: trial for trial in (best, simple) if trial is not None}
    networks, gone = _networks(run, asked, len(dataset.classes), {best.id, wanted.id})
    decoding = silent if on_progress is None else lambda _, done, count: on_progress(done, count)
    images = pixels_of(dataset, "test", settings, cache, decoding)
    probabilities = {
        number: np.asarray(network.predict(images, batch_size=settings.batch_size, verbose=0))
        for number, network in networks.items()
    }
    answers, left_out = opponents_answers(run, dataset, cache, images, on_counting)
    names = {each.name for each in left_out}
    left_out += [missing for number, missing in gone.items() if asked[number].recipe not in names]
    trials = {best.id, *(answer.trial for answer in answers)}
    if simple is not None and simple.id in probabilities and simple.id not in trials:
        named = probabilities[simple.id].argmax(axis=1)
        answers.append(Answer(SIMPLE_CHOICE, named, simple.id))
    results = {
        number: _result(
            asked[number], answered, dataset, answers, left_out,
            _results(run, asked[number]) or {},
        )
        for number, answered in probabilities.items()
    }  # fmt: skip
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
    answers: Sequence[Answer],
    left_out: Sequence[LeftOut],
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """What the journal keeps of a trial on the test images.

    Baselines that an earlier evaluation measured and this one could not are kept.
    """
    labels = dataset.labels("test")
    right = probabilities.argmax(axis=1) == labels
    baselines = [
        compare(answer.name, right, answer.named == labels, answer.trial)
        for answer in answers
        if answer.trial != trial.id
    ]
    missing = {each.name for each in left_out}
    earlier = [Baseline.from_json(row) for row in before.get("opponents", [])]
    baselines += [baseline for baseline in earlier if baseline.name in missing]
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
