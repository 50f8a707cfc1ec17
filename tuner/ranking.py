"""Which trial wins, and in which order trials are shown."""

from collections.abc import Sequence

from tuner.journal import FAILED, TrialRecord


def rank(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """The trials that can win, best first.

    Only those that reached the highest rung that any trial completed, and that did not fail. Ties
    go to the one that trains fewer scalars, then to the earlier.

    Args:
        records: the trials of a search.
        direction: "max" or "min".
    """
    sound = [record for record in records if record.rungs and record.status != FAILED]
    highest = max((record.epochs for record in sound), default=0)
    sign = -1.0 if direction == "max" else 1.0
    return sorted(
        (record for record in sound if record.epochs == highest),
        key=lambda record: (sign * record.rungs[-1].score, record.parameters or 0, record.id),
    )


def rank_all(records: Sequence[TrialRecord], direction: str) -> list[TrialRecord]:
    """Every trial: those that can win first, as `rank` orders them, then the others.

    The others follow by the epochs that they reached, and by score.
    """
    ranked = rank(records, direction)
    sign = -1.0 if direction == "max" else 1.0
    others = sorted(
        (record for record in records if record not in ranked),
        key=lambda record: (-record.epochs, sign * (record.score or 0.0), record.id),
    )
    return ranked + others


def trial_name(number: int) -> str:
    """The name under which a user sees trial `number`: four digits."""
    return f"{number:04d}"
