"""Which findings are causes of stuck accuracy, and which stands first.

Faults, which spoil what the data could give, are ranked before limits, which only more or other
data moves; within each, what removing it would gain decides.
"""

from collections.abc import Sequence

from tuner import fitting, labels, rates
from tuner.findings import Finding, judged
from tuner.inputs import SCALED_INPUT
from tuner.leakage import IMBALANCE, LEAK
from tuner.pricing import BATCHNORM_IN_TRAINING

# What a fault that is certain counts for at least when it is ranked: among the data's faults only
# those come first that cost more than this.
CERTAIN_GAIN = 0.05
FAULTS = (
    LEAK, IMBALANCE, labels.CAUSE, BATCHNORM_IN_TRAINING, SCALED_INPUT, fitting.LAGGING,
    rates.CAUSE,
)  # fmt: skip


def verdict(findings: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The findings that are causes, ranked, and the others in their order.

    A certain fault of a model that costs nothing measurable here ranks as if it cost 5 points:
    behind what spoils the data more, before all the rest.
    """
    results = judged(findings)
    causes = sorted((each for each, is_cause in results if is_cause), key=_rank)
    return causes, [each for each, is_cause in results if not is_cause]


def _rank(finding: Finding) -> tuple[bool, float]:
    """Faults first, then what is gained."""
    if finding.certain:
        return False, -max(finding.gain, CERTAIN_GAIN)
    return finding.cause not in FAULTS, -finding.gain
