"""The result of `tune diagnose`, and its options."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tuner.command_lines import addressed
from tuner.diagnose import causes as causes_module
from tuner.diagnose import learning_rate
from tuner.diagnose.batchnorm_treatments import HISTORY, TREATMENTS, Treatment
from tuner.diagnose.causes import BATCHNORM_IN_TRAINING, IMBALANCE, LEAK, SCALED_INPUT
from tuner.diagnose.finding import Finding, judged
from tuner.model_check import check
from tuner.model_check.trainable_layers import TrainableLayers
from tuner.settings import SearchSettings

# Images that go through the network again and again: so many up to 64 px, which take minutes there.
# Of larger ones the pixels stay the same, down to as many as tell a few points.
_FEW_AT_SIZE, _MOST_FEW, _LEAST_FEW = 64, (900, 600), (300, 150)


@dataclass(frozen=True)
class Options:
    """How a diagnosis is made.

    Attributes:
        weights: of the backbone: "imagenet", "none" or a file.
        image_size: height and width in pixels.
        crop: whether the centre square of each image is taken.
        full: whether what is trained end to end gets every seed and more epochs.
        seed: of heads, orders and draws.
        treatments: of BatchNorm that are shown; those that the verdict rests on are tried always.
        network_images: most training and most validation images that go through the network again
            and again, for each treatment; None for 900 and 600 up to 64 px, and fewer of larger
            images, 300 and 150 at least.

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

    @property
    def few_images(self) -> tuple[int, int]:
        """`network_images`, or as many as the network passes over in minutes on 2 cores."""
        if self.network_images is not None:
            return self.network_images
        share = min(1.0, (_FEW_AT_SIZE / self.image_size) ** 2)
        training, validation = (
            max(least, round(share * most))
            for least, most in zip(_LEAST_FEW, _MOST_FEW, strict=True)
        )
        return training, validation

    def __post_init__(self) -> None:
        """Checks the values, as those of a search."""
        SearchSettings(weights=self.weights, image_size=self.image_size, seed=self.seed)


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        training_images: how many were looked at.
        validation_images: how many decide.
        images_in_all: training and validation images of the dataset; of large ones a sample is
            looked at.
        accuracy: of a plain head on frozen features, mean over the seeds, 0 to 1.
        train_accuracy: the same on its training images.
        majority_rate: accuracy of always answering the most frequent class.
        causes: why accuracy is stuck, the first one first; none for a healthy set.
        excluded: what was examined and is no cause.
        prices: what mistakes that a network can make would cost here.
        model: what is wrong with the user's own model; None where there is none.
        ladder: the treatments of BatchNorm, on the first of the images (`Options.few_images`).
        suspects: paths of the images whose labels are most suspicious, with the class that the
            other images give them.
        seconds: wall time.
        trainable: layers of the user's own model that `fit` changes; None where there is none.
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
    model: tuple[check.ModelFinding, ...] | None
    ladder: tuple[Treatment, ...]
    suspects: tuple[tuple[str, str], ...]
    seconds: float
    trainable: TrainableLayers | None = None

    def addressed(self, data: str, options: Mapping[str, str]) -> "Diagnosis":
        """The same with commands that can be typed; for the arguments see `remedies.addressed`."""

        def told(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
            return tuple(
                replace(
                    each,
                    sentence=addressed(each.sentence, data, options),
                    remedy=addressed(each.remedy, data, options),
                )
                for each in findings
            )

        return replace(
            self,
            causes=told(self.causes),
            excluded=told(self.excluded),
            prices=told(self.prices),
        )

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


# What a fault that is certain counts for at least when it is ranked: among the data's faults only
# those come first that cost more than this.
CERTAIN_GAIN = 0.05

_OF_DATA = (LEAK, IMBALANCE, causes_module.CAUSE)

_OF_NETWORKS = (BATCHNORM_IN_TRAINING, SCALED_INPUT, causes_module.LAGGING, learning_rate.CAUSE)

_BETTER_HEADS = (causes_module.OVERFITTING, causes_module.WEAK_HEAD)


def verdict(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings that are causes, ranked, and the others in their order.

    A certain fault of a model that costs nothing measurable here ranks as if it cost 5 points:
    behind what spoils the data more, before all the rest, and so before what experiments on heads
    say of its learning rate. That no head gets more out of the features is no cause while another
    one does.
    """
    results = judged(findings)
    if any(is_cause and each.cause in _BETTER_HEADS for each, is_cause in results):
        known = [
            replace(each, gain=0.0) if each.cause == causes_module.FEATURES else each
            for each in findings
        ]
        results = judged(known)
    causes = sorted((each for each, is_cause in results if is_cause), key=_rank)
    return causes, [each for each, is_cause in results if not is_cause]


def _rank(finding: Finding) -> tuple[int, float]:
    """Faults first, the certain ones of networks; then limits, the measured ones; then gain."""
    if finding.certain:
        return 0, -max(finding.gain, CERTAIN_GAIN)
    if finding.cause in _OF_DATA:
        return 0, -finding.gain
    if finding.cause in _OF_NETWORKS:
        return 1, -finding.gain
    return 2 if finding.measured else 3, -finding.gain
