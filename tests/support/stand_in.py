"""What stands in for networks: whole searches in no time, whose epochs a test can look into."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner
import numpy as np

from tuner.runs.outcomes import Outcomes
from tuner.training.rows import Rows
from tuner.training.sources import Images, TrialRows
from tuner.training.trainer import EpochMetrics


class Space(keras_tuner.HyperModel):
    """What is searched; nothing is ever built."""

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        hp.Float("rate", 0.0, 1.0)


class Arithmetic:
    """A trainer whose numbers depend on all epochs before, on their rows, and on its batch size.

    Args:
        trial: number of the trial, which seeds it.
        batch_size: images of a step.
        on_epoch: is told the trainer and the training rows before each epoch; may raise.
    """

    model = None
    parameters = 3

    def __init__(
        self, trial: int, batch_size: int, on_epoch: Callable[["Arithmetic", Rows], None]
    ) -> None:
        self.epoch = 0
        self.trial = trial
        self.batch_size = batch_size
        self._on_epoch = on_epoch
        self._weights = np.random.default_rng(trial).normal(size=2).astype(np.float32)
        self._momentum = np.zeros(2, np.float32)
        self._trained = False

    def run_epoch(self, training: Rows, validation: Rows) -> EpochMetrics:
        self._on_epoch(self, training)
        self._momentum = self._momentum * np.float32(0.9) - np.sin(self._weights) + training.y[0]
        self._weights = self._weights + self._momentum / np.float32(self.batch_size)
        self.epoch += 1
        self._trained = True
        loss = float(np.square(self._weights).sum())
        accuracy = 1 / (1.1 + loss)
        return EpochMetrics(loss, 1 / (1 + loss), loss + 0.1, accuracy, accuracy)

    def outcomes(self) -> Outcomes | None:
        """Three images' that depend on the weights; none before an epoch was trained."""
        if not self._trained:
            return None
        share = np.abs(np.sin(self._weights.sum() + np.arange(3)))
        return Outcomes.of(np.stack([share, 1 - share], axis=1), np.zeros(3, np.int32))

    def state(self, final: bool = False) -> dict[str, np.ndarray]:
        more = {} if final else {"momentum": self._momentum}
        return more | {"epoch": np.asarray(self.epoch), "weights": self._weights}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._weights, self._momentum = state["weights"], state["momentum"]
        self.epoch = int(state["epoch"])


class StandIn:
    """Takes the place of `FromImages`.

    Attributes:
        on_epoch: as for `Arithmetic`; a test sets it.
        expected_seconds: what an epoch is said to take.
    """

    on_epoch: Callable[[Arithmetic, Rows], None]
    expected_seconds: float | None = None

    def __init__(
        self, space: Any, declared: Any, images: Images, *, batch_size: int, seed: int
    ) -> None:
        pixels = b"".join(np.asarray(view).tobytes() for view in images.views)
        self.fingerprint = {"images": hashlib.sha256(pixels).hexdigest(), "weights": ""}
        self._batch_size = batch_size
        self._rows = TrialRows(
            [Rows(view, images.labels) for view in images.views], images.validation
        )

    def trainer(
        self, values: Mapping[str, Any], trial: int, batch_size: int | None = None
    ) -> Arithmetic:
        return Arithmetic(trial, batch_size or self._batch_size, type(self).on_epoch)

    def forget(self) -> None: ...

    def epoch_seconds(self, values: Mapping[str, Any]) -> float | None:
        return self.expected_seconds

    def rows(self, values: Mapping[str, Any]) -> TrialRows:
        return self._rows
