"""The result of `tune diagnose`, and its options."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tuner.diagnose.batchnorm_treatments import HISTORY, TREATMENTS, Treatment
from tuner.diagnose.finding import (
    BATCHNORM_IN_TRAINING,
    FEATURES,
    IMBALANCE,
    LAGGING,
    LEAK,
    LEARNING_RATE,
    OVERFITTING,
    SCALED_INPUT,
    WEAK_HEAD,
    WRONG_LABELS,
    Finding,
    judge,
)
from tuner.model_check.findings import ModelFinding
from tuner.model_check.trainable_layers import TrainableLayers
from tuner.settings import SearchSettings

# Most and least training and validation images that pass through the network repeatedly: the most
# up to 64 px, which takes minutes; of larger images fewer, for the same number of pixels.
_SMALL_SIZE, _MOST_IMAGES, _LEAST_IMAGES = 64, (900, 600), (300, 150)
# What a certain fault is ranked by, at least: only faults of the data that cost more come first.
_CERTAIN_GAIN = 0.05
_DATA_FAULTS = (LEAK, IMBALANCE, WRONG_LABELS)
_NETWORK_FAULTS = (BATCHNORM_IN_TRAINING, SCALED_INPUT, LAGGING, LEARNING_RATE)


@dataclass(frozen=True)
class Options:
    """The options of a diagnosis.

    Attributes:
        weights: of the backbone: "imagenet", "none" or a file.
        image_size: height and width in pixels.
        crop: whether to take the centre square of each image.
        full: whether end-to-end training gets every seed and more epochs.
        seed: of heads, orders and draws.
        treatments: of BatchNorm to show; those that causes depend on are always tried.
        network_images: most training and validation images that pass through the network once
            for each treatment; None for 900 and 600 up to 64 px, and fewer of larger images, at
            least 300 and 150.

    Raises:
        SettingsError: a value is out of range.
    """

    weights: str = "imagenet"
    image_size: int = 224
    crop: bool = False
    full: bool = False
    seed: int = 0
    treatments: tuple[str, ...] = TREATMENTS
    network_images: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values as those of a search."""
        assert self.settings

    @property
    def settings(self) -> SearchSettings:
        """A search with the same images, weights and seed."""
        return SearchSettings(
            weights=self.weights, image_size=self.image_size, crop=self.crop, seed=self.seed
        )

    @property
    def few_images(self) -> tuple[int, int]:
        """`network_images`, or as many as pass through the network in minutes on 2 cores."""
        if self.network_images is not None:
            return self.network_images
        share = min(1.0, (_SMALL_SIZE / self.image_size) ** 2)
        training, validation = (
            max(least, round(share * most))
            for least, most in zip(_LEAST_IMAGES, _MOST_IMAGES, strict=True)
        )
        return training, validation


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The result of a diagnosis.

    Attributes:
        training_images: number of training images examined.
        validation_images: number of validation images that accuracy is measured on.
        images_in_all: training and validation images of the dataset; large ones are sampled.
        accuracy: of a plain head on frozen features, mean over the seeds, 0 to 1.
        train_accuracy: the same on its training images.
        majority_rate: accuracy of always predicting the most frequent class.
        causes: why accuracy is stuck, ranked; empty for a healthy dataset.
        excluded: examined, and no cause.
        prices: what common mistakes in a network would cost on these images.
        model: faults of the user's own model; None without one.
        ladder: the treatments of BatchNorm, on the first images (`Options.few_images`).
        suspects: paths of the images whose labels are most suspicious, each with the class that
            the other images suggest.
        seconds: wall time.
        trainable: layers of the user's own model that `fit` changes; None without one.
    """

    training_images: int
    validation_images: int
    images_in_all: int
    accuracy: float
    train_accuracy: float
    majority_rate: float
    causes: tuple[Finding, ...]
    excluded: tuple[Finding, ...]
    prices: tuple[Finding, ...]
    model: tuple[ModelFinding, ...] | None
    ladder: tuple[Treatment, ...]
    suspects: tuple[tuple[str, str], ...]
    seconds: float
    trainable: TrainableLayers | None = None

    def on(self, data: str, options: Mapping[str, str]) -> "Diagnosis":
        """The diagnosis with remedies on the user's own data; see `Command.on`."""
        causes, prices = (
            tuple(replace(each, remedy=each.remedy.on(data, options)) for each in findings)
            for findings in (self.causes, self.prices)
        )
        return replace(self, causes=causes, prices=prices)

    def to_json(self) -> dict[str, Any]:
        """All numbers, for `--json`."""
        ladder = [
            {key: value for key, value in asdict(step).items() if key != "right"}
            | {"val_accuracy": step.val_accuracy, "train_accuracy": step.train_accuracy}
            | {"history": HISTORY[step.name]}
            for step in self.ladder
        ]
        findings = {
            name: [each.to_json() for each in getattr(self, name)]
            for name in ("causes", "excluded", "prices")
        }
        return asdict(replace(self, ladder=())) | findings | {"ladder": ladder}


def rank_causes(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Divide findings into causes, ranked, and the others in their order.

    A certain fault of a model ranks as if it cost at least 5 points: behind faults of the data that
    cost more, before the rest. The features are no limit while a better head is known.
    """
    judged = judge(findings)
    if any(each.is_cause and each.cause in (OVERFITTING, WEAK_HEAD) for each in judged):
        judged = judge(
            [replace(each, gain=0.0) if each.cause == FEATURES else each for each in findings]
        )
    causes = sorted((each for each in judged if each.is_cause), key=_rank)
    return causes, [each for each in judged if not each.is_cause]


def _rank(finding: Finding) -> tuple[int, float]:
    """Certain and data faults, other faults, measured limits, the rest; then by gain."""
    if finding.certain:
        return 0, -max(finding.gain, _CERTAIN_GAIN)
    if finding.cause in _DATA_FAULTS:
        return 0, -finding.gain
    if finding.cause in _NETWORK_FAULTS:
        return 1, -finding.gain
    return 2 if finding.measured else 3, -finding.gain
