"""Findings and diagnoses made up for tests."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from search_spaces.backbone import preprocess
from tuner.command_lines import Command
from tuner.diagnose.batchnorm_treatments import Treatment
from tuner.diagnose.experiment_data import compiled, features_of
from tuner.diagnose.finding import Finding, Remedy
from tuner.diagnose.result import Diagnosis
from tuner.model_check.findings import ModelFinding

DROP_LEAKS = Remedy((Command("search", ("--drop-leaks",)), " leaves them out."))


def finding(cause: str, gain: float, p_value: float | None) -> Finding:
    return Finding(cause, f"{cause} was tried.", gain, p_value, Remedy((f"Fix {cause}.",)))


def treatment(name: str, accuracy: float) -> Treatment:
    return Treatment(
        name=name,
        right=(np.arange(20) < round(20 * accuracy))[np.newaxis],
        val_accuracies=(accuracy,),
        train_accuracies=(0.9,),
        moved=0,
        statistics=106,
        epochs=12,
        equals_frozen=name == "usual",
    )


def diagnosis(*causes: Finding, model: tuple[ModelFinding, ...] | None = None) -> Diagnosis:
    return Diagnosis(
        training_images=100,
        validation_images=20,
        images_in_all=120,
        accuracy=0.8,
        train_accuracy=0.9,
        majority_rate=0.5,
        causes=causes,
        excluded=(finding("class imbalance", 0.0, None),),
        prices=(finding("scaled input", 0.3, 0.001),),
        model=model,
        ladder=(treatment("usual", 0.8), treatment("legacy", 0.7)),
        suspects=tuple((f"a/{number}.jpg", "b") for number in range(7)),
        seconds=1.0,
    )


def frozen_features(
    network: keras.Model, pixels: np.ndarray, prepare: Callable[[Any], Any] = preprocess
) -> np.ndarray:
    """Pooled features with the moving statistics."""
    return features_of(compiled(network, training=False, prepare=prepare), pixels)
