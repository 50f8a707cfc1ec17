"""The outcome of an experiment, what to do about it, and whether it could be chance.

An experiment changes one thing and predicts the same validation images again. Its gain is tested
on pairs, image by image, and corrected for the number of tests: of twenty changes without effect,
one looks significant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tuner.command_lines import Command
from tuner.metrics.significance import corrected

# Causes of stuck accuracy.
WRONG_LABELS, CONFLICTS = "wrong labels", "conflicting labels"
LEAK, IMBALANCE = "leak", "class imbalance"
TOO_FEW_IMAGES, IMAGE_SIZE = "too few images", "image size"
FEATURES, WEAK_HEAD, OVERFITTING = "limit of the features", "weak head", "overfitting"
BATCHNORM_STATISTICS = "BatchNorm statistics"
BATCHNORM_IN_TRAINING, LAGGING = "BatchNorm in training mode", "lagging head BatchNorm"
SCALED_INPUT, LEARNING_RATE = "scaled input", "learning rate"

# Corrected p value up to which a gain is significant.
SIGNIFICANCE = 0.05
# Gains below a point are not reported.
LEAST_GAIN = 0.01
_TOO_LITTLE = "costs too little to measure here"


@dataclass(frozen=True)
class Remedy:
    """What to do about a finding: a sentence, with the commands that it names.

    Example:
        >>> str(Remedy((Command("search"), " finds a better head.")))
        'tune search DATA finds a better head.'
    """

    parts: tuple[str | Command, ...] = ()

    def on(self, data: str, options: Mapping[str, str]) -> "Remedy":
        """The remedy with commands on the user's own data; see `Command.on`."""
        return Remedy(
            tuple(p.on(data, options) if isinstance(p, Command) else p for p in self.parts)
        )

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.parts)

    def __str__(self) -> str:
        """The sentence."""
        return "".join(map(str, self.parts))


@dataclass(frozen=True)
class Finding:
    """The outcome of one experiment on why accuracy is stuck.

    Attributes:
        cause: what was examined, such as "wrong labels".
        sentence: the result with its figures, if it is a cause.
        gain: validation accuracy gained by removing the cause, -1 to 1; the upper bound, or 0,
            where it was not measured.
        p_value: of that gain, one-sided; None for what was counted or could not be tested.
        remedy: what to do if it is a cause.
        numbers: all figures, for JSON.
        certain: whether the fault was observed in the user's own model, which makes it a cause
            whatever it costs on these images.
        harmless: the result if it is no cause; empty where that is `sentence`.
        measured: whether an experiment measured the gain.
        overstated: whether the gain is by how much accuracy is overstated, and lost with the cause.
        corrected_p_value: corrected for all tests of a diagnosis (Holm 1979); see `judge`.
    """

    cause: str
    sentence: str
    gain: float
    p_value: float | None
    remedy: Remedy = Remedy()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    certain: bool = False
    harmless: str = ""
    measured: bool = True
    overstated: bool = False
    corrected_p_value: float | None = None

    @property
    def is_cause(self) -> bool:
        """Whether the fault is certain, or the gain counts."""
        return self.certain or self.counts

    @property
    def counts(self) -> bool:
        """Whether the gain is at least a point and significant."""
        chance = self._chance
        return self.gain >= LEAST_GAIN and (chance is None or chance <= SIGNIFICANCE)

    @property
    def effect(self) -> str:
        """The effect on accuracy, such as "+3.1 points"."""
        points = f"{'' if self.measured else 'at most '}{100 * self.gain:.1f} points"
        if self.overstated:
            return f"overstated by {points}"
        if not self.measured:
            return points if self.gain else "cost not measured"
        return _TOO_LITTLE if self.certain and not self.counts else f"+{points}"

    @property
    def cost(self) -> str:
        """The effect of a mistake that was made on purpose, such as "costs 3.1 points"."""
        return f"costs {100 * self.gain:.1f} points" if self.counts else _TOO_LITTLE

    @property
    def certainty(self) -> str:
        """The p value, or "counted", and whether the fault was seen in the user's model."""
        chance = self._chance
        is_counted = not self.certain and (self.measured or self.overstated)
        basis = f"p {chance:.2g}" if chance is not None else "counted" if is_counted else ""
        return ", ".join(filter(None, [basis, "seen in your model" if self.certain else ""]))

    @property
    def _chance(self) -> float | None:
        return self.p_value if self.corrected_p_value is None else self.corrected_p_value

    def to_json(self) -> dict[str, Any]:
        """All fields, with the effect in words."""
        words = {"effect": self.effect, "cost": self.cost, "certainty": self.certainty}
        return asdict(self) | {"remedy": str(self.remedy)} | words


def judge(findings: Sequence[Finding]) -> list[Finding]:
    """Correct the p values of findings for each other, and keep what holds then.

    Certain and counted findings need no correction, and take no part in that of the others.

    Returns:
        The findings in the same order, each with its corrected p value. Those that are no cause
        have the harmless sentence and no remedy.
    """
    tested = [each.p_value for each in findings if each.p_value is not None and not each.certain]
    corrections = iter(corrected(tested))
    judged = []
    for each in findings:
        chance = each.p_value
        if chance is not None and not each.certain:
            chance = next(corrections)
        each = replace(each, corrected_p_value=chance)
        if not each.is_cause:
            each = replace(each, sentence=each.harmless or each.sentence, remedy=Remedy())
        judged.append(replace(each, harmless=""))
    return judged
