"""The lines of a Hyperband schedule."""

from tuner.hyperband.schedule import Schedule
from tuner.text import duration


def schedule_lines(schedule: Schedule, seconds: float | None = None) -> list[str]:
    """The plan of a search, one line per bracket.

    Args:
        schedule: the plan.
        seconds: estimated training time that is left; None if unknown.
    """
    about = "" if seconds is None else f", about {duration(seconds)}"
    lines = [
        f"Hyperband: {schedule.total_trials} trials, {schedule.total_epochs} epochs in all, up to "
        f"{schedule.max_epochs} a trial{about}."
    ]
    if schedule.recipes:
        count = len(schedule.recipes)
        lines.append(f"  recipes (known to be good): {count} to epoch {schedule.max_epochs}")
    for bracket in schedule.brackets:
        rungs = ", the best ".join(
            f"{rung.size} to epoch {rung.end_epoch}" for rung in bracket.rungs
        )
        lines.append(f"  bracket {bracket.number}: {rungs}")
    if schedule.iterations > 1:
        lines.append(f"  all brackets {schedule.iterations} times")
    return lines
