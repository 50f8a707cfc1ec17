"""A search that trains no networks, for tests of everything around training.

What it trains is arithmetic, so that a whole search takes a fraction of a second.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from tests.support.forked import command
from tuner.runs.outcomes import Outcomes
from tuner.training.rows import Rows
from tuner.training.sources import Images, TrialRows
from tuner.training.trainer import EpochMetrics

_UNLUCKY = 3  # no network can be built with this width


class Space(keras_tuner.HyperModel):
    """What is searched; nothing is ever built."""

    def __init__(self, num_classes: int, image_size: int, weights: str) -> None:
        super().__init__()

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        hp.Int("width", 1, 5)
        hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")


class ArithmeticTrainer:
    """Arrays that every epoch changes in a way that depends on all before."""

    model = None
    parameters = 6

    def __init__(self, values: Mapping[str, Any], seed: int) -> None:
        if values["width"] == _UNLUCKY:
            raise ValueError(f"no network of {_UNLUCKY} units")
        self.epoch = 0
        self._rate = values["learning_rate"]
        self._weights = np.random.default_rng(seed).normal(size=6).astype(np.float32)
        self._momentum = np.zeros(6, np.float32)
        self._drawn = np.asarray(seed)
        self._outcomes: Outcomes | None = None

    def run_epoch(self, training: Rows, validation: Rows) -> EpochMetrics:
        noise = np.random.default_rng(int(self._drawn)).normal(size=6).astype(np.float32)
        self._momentum = np.float32(0.9) * self._momentum - np.sin(self._weights) + noise
        self._weights = self._weights + np.float32(self._rate) * self._momentum
        self._drawn = self._drawn + len(training.y)
        self.epoch += 1
        loss = float(np.square(self._weights).sum())
        accuracy = math.exp(-loss - 0.1)
        labels = np.asarray(validation.y)
        shares = np.resize(np.abs(np.sin(self._weights)), (len(labels), int(labels.max()) + 1))
        self._outcomes = Outcomes.of(shares, labels)
        return EpochMetrics(loss, math.exp(-loss), loss + 0.1, accuracy, accuracy)

    def outcomes(self) -> Outcomes | None:
        return self._outcomes

    def state(self, final: bool = False) -> dict[str, np.ndarray]:
        more = {} if final else {"momentum": self._momentum}
        return more | {
            "epoch": np.asarray(self.epoch),
            "weights": self._weights,
            "drawn": self._drawn,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._weights, self._momentum = state["weights"], state["momentum"]
        self._drawn, self.epoch = state["drawn"], int(state["epoch"])


class ArithmeticSource:
    """Takes the place of `FromImages`."""

    def __init__(self, space: Any, declared: Any, images: Images, **options: Any) -> None:
        pixels = b"".join(np.asarray(view).tobytes() for view in images.views)
        self.fingerprint = {"images": hashlib.sha256(pixels).hexdigest(), "weights": ""}
        self._rows = TrialRows(
            [Rows(view, images.labels) for view in images.views], images.validation
        )

    def trainer(
        self, values: Mapping[str, Any], trial: int, batch_size: int | None = None
    ) -> ArithmeticTrainer:
        return ArithmeticTrainer(values, trial)

    def forget(self) -> None: ...

    def epoch_seconds(self, values: Mapping[str, Any]) -> None: ...

    def rows(self, values: Mapping[str, Any]) -> TrialRows:
        return self._rows


def arithmetic_command(tell: Callable[[], None], arguments: Sequence[str]) -> None:
    """The command with that source, and a checkpoint after every epoch."""
    from tuner.search import components

    components.FromImages = ArithmeticSource
    command(tell, arguments, save_every_epoch=True)


def arithmetic_search(tell: Callable[[], None], run: Path, cache: Path) -> None:
    """The same search from Python, without the command and its run."""
    from tuner.search import components
    from tuner.search.tuner import HyperbandTuner
    from tuner.storage.cache import Cache

    components.FromImages = ArithmeticSource
    x, y = np.zeros((12, 32, 32, 3), np.uint8), np.arange(12) % 3
    with Cache(cache) as opened:
        tuner = HyperbandTuner(
            Space(3, 32, "none"),
            max_epochs=2,
            factor=2,
            seed=8,
            cache=opened,
            directory=run.parent,
            project_name=run.name,
            resume=True,
        )
        tuner.search(x, y, validation_data=(x, y))
