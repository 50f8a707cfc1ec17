"""Which findings are causes of stuck accuracy, and which stands first.

Faults, which spoil what the data could give, are ranked before limits, which only more or other
data moves; within each, what removing it would gain decides.
"""

from collections.abc import Sequence
from dataclasses import replace

from tuner import fitting, labels, rates
from tuner.findings import Finding, judged
from tuner.inputs import SCALED_INPUT
from tuner.leakage import IMBALANCE, LEAK
from tuner.pricing import BATCHNORM_IN_TRAINING

# What a fault that is certain counts for at least when it is ranked: among the data's faults only
# those come first that cost more than this.
CERTAIN_GAIN = 0.05
_OF_DATA = (LEAK, IMBALANCE, labels.CAUSE)
_OF_NETWORKS = (BATCHNORM_IN_TRAINING, SCALED_INPUT, fitting.LAGGING, rates.CAUSE)
_BETTER_HEADS = (fitting.OVERFITTING, fitting.WEAK_HEAD)


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
            replace(each, gain=0.0) if each.cause == fitting.FEATURES else each for each in findings
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
