"""What an experiment found, and whether it could be chance.

An experiment changes one thing and asks the same validation images again. What it gains is tested
on pairs, image by image, and corrected for how many things were tried: of twenty that do nothing,
one looks as if it did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tuner.metrics.significance import corrected

# Chance that a finding which is none passes, after correction for all that were tried.
SIGNIFICANCE = 0.05
# Gains below a point are not worth a sentence.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Finding:
    """The outcome of one experiment on why accuracy is stuck.

    Attributes:
        cause: short name of what was examined, such as "wrong labels".
        sentence: what was found, with its figures, where it is a cause.
        gain: validation accuracy, as a share of one, that removing the cause would gain; what is
            lost is negative. Where it was not measured, the most that it could be, or 0.
        p_value: chance of such a gain where there is none; None for what was counted, or could not
            be tried, so that chance has no part in it.
        remedy: what to do where it is a cause, one sentence with the command; empty where nothing
            is to be done.
        numbers: all figures of the experiment, for JSON.
        corrected_p_value: the p value that holds for all that was tried together (Holm 1979), which
            `judged` fills in; that of what is certain is its own.
        certain: whether it is a fault that was seen in the user's own model: a cause whatever it
            costs on these images.
        harmless: what was found where it is no cause; empty where that is the same sentence.
        measured: whether an experiment measured the gain.
        overstated: whether the gain is what accuracy is overstated by: it goes with the cause.
    """

    cause: str
    sentence: str
    gain: float
    p_value: float | None
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    certain: bool = False
    harmless: str = ""
    measured: bool = True
    overstated: bool = False
    corrected_p_value: float | None = None

    @property
    def counts(self) -> bool:
        """Whether the gain is a point and no chance, after correction where there was one."""
        chance = self.p_value if self.corrected_p_value is None else self.corrected_p_value
        return self.gain >= LEAST_GAIN and (chance is None or chance <= SIGNIFICANCE)

    @property
    def effect(self) -> str:
        """What the cause does to accuracy, in words with the figure."""
        points = f"{'' if self.measured else 'at most '}{100 * self.gain:.1f} points"
        if self.overstated:
            return f"overstated by {points}"
        if not self.measured:
            return points if self.gain else "what it costs was not measured"
        if self.certain and not self.counts:
            return "costs too little to measure here"
        return f"+{points}"

    @property
    def cost(self) -> str:
        """The same of a mistake that was made to see what it costs."""
        if not self.counts:
            return "costs too little to measure here"
        return f"costs {100 * self.gain:.1f} points"

    @property
    def certainty(self) -> str:
        """How sure that is: the corrected p value, or what took its place."""
        chance = self.p_value if self.corrected_p_value is None else self.corrected_p_value
        is_counted = not self.certain and (self.measured or self.overstated)
        told = f"p {chance:.2g}" if chance is not None else "counted" if is_counted else ""
        return ", ".join(filter(None, [told, "seen in your model" if self.certain else ""]))

    def to_json(self) -> dict[str, Any]:
        """All fields, and what is told of them."""
        told = {"effect": self.effect, "cost": self.cost, "certainty": self.certainty}
        return asdict(self) | told


def judged(findings: Sequence[Finding]) -> list[tuple[Finding, bool]]:
    """Whether each finding is a cause, the one rule for all of them.

    It is where the gain is at least a point and no chance, after correction for all that were
    tested. What is certain, because it was counted or seen in the user's model, needs no correction
    and takes none from the others.

    Returns:
        In the same order: each with its corrected p value and the sentence and the remedy that this
        verdict leaves it, and the verdict.
    """
    chances = iter(corrected([each.p_value for each in findings if _is_tested(each)]))  # type: ignore[misc]
    results = []
    for each in findings:
        chance = next(chances) if _is_tested(each) else each.p_value
        each = replace(each, corrected_p_value=chance)
        is_cause = each.certain or each.counts
        if not is_cause:
            each = replace(each, sentence=each.harmless or each.sentence, remedy="")
        results.append((replace(each, harmless=""), is_cause))
    return results


def _is_tested(finding: Finding) -> bool:
    return finding.p_value is not None and not finding.certain
