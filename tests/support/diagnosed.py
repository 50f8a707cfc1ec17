"""Findings and diagnoses as no experiment gave them."""

import numpy as np

from tuner.diagnose.batchnorm_treatments import Treatment
from tuner.diagnose.finding import Finding
from tuner.diagnose.result import Diagnosis
from tuner.model_check.check import ModelFinding


def finding(cause: str, gain: float, p_value: float | None) -> Finding:
    return Finding(cause, f"{cause} was tried.", gain, p_value, f"Mend {cause}.")


def treatment(name: str, accuracy: float) -> Treatment:
    right = np.arange(20) < round(20 * accuracy)
    return Treatment(name, right[np.newaxis], (accuracy,), (0.9,), 0, 106, 12, name == "usual")


def diagnosis(*causes: Finding, model: tuple[ModelFinding, ...] | None = None) -> Diagnosis:
    suspects = tuple((f"a/{number}.jpg", "b") for number in range(7))
    ladder = (treatment("usual", 0.8), treatment("legacy", 0.7))
    rest = (finding("class imbalance", 0.0, None),)
    prices = (finding("scaled input", 0.3, 0.001),)
    return Diagnosis(
        100, 20, 120, 0.8, 0.9, 0.5, causes, rest, prices, model, ladder, suspects, 1.0,
    )  # fmt: skip
