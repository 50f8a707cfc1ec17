"""Rebuild the network of a trial with its trained weights."""

import keras
import keras_tuner
import numpy as np

from search_spaces import load_space
from search_spaces.resnet50 import Configuration, can_be_cut
from tuner.errors import RunError
from tuner.runs.checkpoint import read_checkpoint, state_file
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import Run
from tuner.settings import SearchSettings
from tuner.training.sources import build_seeded
from tuner.training.state import restore_weights


def space_of(settings: SearchSettings, num_classes: int) -> keras_tuner.HyperModel:
    """The search space that the settings name, for a number of classes.

    Raises:
        SettingsError: there is no such space, or it cannot be made.
    """
    return load_space(settings.space, num_classes, settings.image_size, settings.weights)


def trained_model(run: Run, trial: TrialRecord, num_classes: int) -> keras.Model:
    """The whole network of a trial with its trained weights, uncompiled.

    Returns:
        Model from RGB values 0 to 255, shape (batch, image_size, image_size, 3), to probabilities.

    Raises:
        RunError: the trial's weights are missing or damaged.
        WeightsError: the pretrained weights are missing.
    """
    return network_with(run, trial, num_classes, _trained_weights(run, trial))


def network_with(
    run: Run, trial: TrialRecord, num_classes: int, weights: dict[str, np.ndarray]
) -> keras.Model:
    """The whole network of a trial with given weights, uncompiled.

    Returns:
        As `trained_model`.

    Raises:
        RunError: the weights belong to another network.
        WeightsError: the pretrained weights are missing.
    """
    space = space_of(run.settings, num_classes)
    if can_be_cut(space):
        configuration = Configuration.of(trial.hyperparameters)
        model = space.build_whole(configuration, space.build_backbone(), seed=0)
    else:
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = dict(trial.hyperparameters)
        model = build_seeded(space, hyperparameters, run.settings.seed, trial.id)
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
            f"trial {trial_name(trial.id)} is still in training. Try again when the search is over."
        )
    return dict(checkpoint.state)
