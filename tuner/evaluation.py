"""How good the winner is: as the search recorded it, and on images that took no part in it."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import keras_tuner
import numpy as np

from search_spaces import load_space
from search_spaces.resnet50 import Configuration, can_be_cut
from tuner.balance import balanced_accuracy
from tuner.cache import Cache
from tuner.checkpoint import read_checkpoint, state_file
from tuner.dataset import Dataset
from tuner.errors import RunError
from tuner.images import prepare_images
from tuner.journal import FAILED, TrialRecord
from tuner.ranking import rank, trial_name
from tuner.run import Run
from tuner.sources import build_seeded
from tuner.training import restore_weights


@dataclass(frozen=True)
class Winner:
    """The trial that a search chose, and its accuracies, 0 to 1.

    Attributes:
        trial: its record.
        validation_accuracy: as recorded when its last epoch ended; the search chose by it.
        test_accuracy: on images that the search neither trained on nor chose by.
        test_images: how many those are.
        majority_rate: accuracy on them of naming the most frequent class every time.
        validation_majority_rate: the same on the validation images.
        classes: number of classes.
        validation_balanced_accuracy: the mean of the classes' own accuracies, as recorded; None in
            runs of versions that did not record it.
        test_balanced_accuracy: the same on the test images; likewise.
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


def winner_of(run: Run) -> TrialRecord:
    """The trial that the run's search chose so far.

    Raises:
        RunError: no trial of the run has finished.
    """
    trials = run.journal.trials()
    ranked = rank(trials, run.settings.direction)
    if ranked:
        return ranked[0]
    failed = [trial for trial in trials if trial.status == FAILED]
    if failed and len(failed) == len(trials):
        reason = (failed[-1].message or "unknown")[:300].rstrip(".")
        raise RunError(f"every trial of run {run.name} failed, the last one with: {reason}.")
    raise RunError(
        f"no trial of run {run.name} has finished yet. Wait for it, or go on with: "
        f"tune resume {run.name}"
    )


def evaluate_winner(
    run: Run,
    dataset: Dataset,
    cache: Cache,
    on_progress: Callable[[int, int], None] | None = None,
) -> Winner:
    """Evaluates the winner on the test images, once; later calls answer from the journal.

    Args:
        run: a run with a finished trial.
        dataset: the run's images.
        cache: holds decoded images.
        on_progress: is told (done, of how many) while test images are decoded.

    Raises:
        RunError: no trial has finished, or the winner's weights are gone.
        DataError: a test image has changed since the search, or is gone.
    """
    trial = winner_of(run)
    results = run.journal.evaluation(trial.id)
    if results is None or results.get("epochs") != trial.epochs:
        files, labels = dataset.of("test"), dataset.labels("test")
        settings = run.settings
        images = prepare_images(
            files, dataset.root, settings.image_size, cache, on_progress, crop=settings.crop
        )
        model = trained_model(run, trial, len(dataset.classes))
        probabilities = model.predict(images, batch_size=settings.batch_size, verbose=0)
        correct = count_correct(probabilities, labels)
        results = {
            "epochs": trial.epochs,
            "test_correct": correct,
            "test_images": len(files),
            "test_balanced_accuracy": balanced_accuracy(probabilities, labels),
        }
        run.journal.set_evaluation(trial.id, results)
    metrics = run.journal.epochs(trial.id)[trial.epochs - 1]
    return Winner(
        trial,
        metrics["val_accuracy"],
        results["test_correct"] / results["test_images"],
        results["test_images"],
        dataset.majority_rate("test"),
        dataset.majority_rate("validation"),
        len(dataset.classes),
        metrics.get("val_balanced_accuracy"),
        results.get("test_balanced_accuracy"),
    )


def trained_model(run: Run, trial: TrialRecord, num_classes: int) -> keras.Model:
    """The whole network of a trial with its trained weights, uncompiled.

    Returns:
        Model from RGB values 0 to 255, (batch, image_size, image_size, 3), to probabilities.

    Raises:
        RunError: the trial's weights are gone or damaged.
        WeightsError: the pretrained weights are gone.
    """
    return network_with(run, trial, num_classes, _trained_weights(run, trial))


def network_with(
    run: Run, trial: TrialRecord, num_classes: int, weights: dict[str, np.ndarray]
) -> keras.Model:
    """The whole network of a trial with given weights, uncompiled.

    Args:
        run: the run.
        trial: its configuration.
        num_classes: number of classes.
        weights: what training has changed, as `Trainer.state` returns it.

    Returns:
        As `trained_model`.

    Raises:
        RunError: the weights belong to another network.
        WeightsError: the pretrained weights are gone.
    """
    settings = run.settings
    space = load_space(settings.space, num_classes, settings.image_size, settings.weights)
    if can_be_cut(space):
        configuration = Configuration.of(trial.hyperparameters)
        model = space.build_whole(configuration, space.build_backbone(), seed=0)
    else:
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = dict(trial.hyperparameters)
        model = build_seeded(space, hyperparameters, settings.seed, trial.id)
    try:
        restore_weights(model, weights)
    except (KeyError, ValueError) as error:  # an array is missing, or has another shape
        raise RunError(
            f"the weights of trial {trial_name(trial.id)} belong to another network: {error}"
        ) from error
    return model


def _trained_weights(run: Run, trial: TrialRecord) -> dict[str, np.ndarray]:
    checkpoint = read_checkpoint(state_file(run.folder, trial.id))
    if checkpoint.epoch != trial.epochs:
        raise RunError(
            f"trial {trial_name(trial.id)} is being trained on. Ask again when the search is over."
        )
    return dict(checkpoint.state)


def count_correct(probabilities: np.ndarray, labels: np.ndarray) -> int:
    """Number of rows whose most probable class is the label."""
    return int((probabilities.argmax(axis=1) == labels).sum())
