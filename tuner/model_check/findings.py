"""Faults of a user's own model: their names, and what is reported of them."""

from dataclasses import dataclass

# The most serious first.
NAMES = (
    BATCH_STATISTICS_IN_PREDICTION := "batch statistics in prediction",
    BATCH_STATISTICS_OF_FROZEN_LAYERS := "batch statistics of frozen layers",
    BATCH_STATISTICS_IN_FIT := "batch statistics in fit",
    BATCH_MATES := "batch mates",
    INPUT_SCALING := "input scaling",
    NOTHING_TRAINABLE := "nothing trainable",
    LEARNING_RATE := "learning rate",
    PREPROCESSING_OUTSIDE := "preprocessing outside the model",
    UNEXAMINED_SCALING := "unexamined scaling",
    LAGGING_HEAD := "lagging head statistics",
    UNKNOWN_BACKBONE := "unknown backbone",
)
ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class ModelFinding:
    """A fault of a model.

    Attributes:
        name: one of NAMES.
        severity: "error" if it harms accuracy, "warning" if it does so in some uses.
        sentence: the fault, with its figures.
        repair: one line of code that fixes it; empty where there is none.
        layers: names of the layers concerned.
    """

    name: str
    severity: str
    sentence: str
    repair: str = ""
    layers: tuple[str, ...] = ()
