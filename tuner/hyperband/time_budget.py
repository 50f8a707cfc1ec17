"""A search's time: how long it will take, and what fits into a budget.

Costs are estimated from measured passes through the network; `remaining` corrects them by what was
trained.
"""

import time
from collections.abc import Callable

from tuner.hyperband.schedule import Schedule, plan

# Beside its epochs a trial traces a program, evaluates, and writes its weights: about a second.
TRIAL_SECONDS = 1.0
# Share of what is left that a plan may need by estimate, which a machine's other work can double.
_PLANNED_SHARE = 0.7


class TimeBudget:
    """The wall time that a search may take, over all the processes that it runs in.

    Args:
        seconds: in all; None for as many as it takes.
        begun: when this process began, in the seconds of `time.monotonic`; None for now.

    Attributes:
        spent_before_seconds: by the processes before this one.
    """

    def __init__(self, seconds: float | None = None, begun: float | None = None) -> None:
        self._seconds = seconds
        self._begun = time.monotonic() if begun is None else begun
        self.spent_before_seconds = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a budget at all."""
        return self._seconds is not None

    def left(self) -> float:
        """Seconds that are left, negative once it is overdrawn; infinite where there is none."""
        return float("inf") if self._seconds is None else self._seconds - self.spent()

    def spent(self) -> float:
        """Seconds that this process and those before it have taken."""
        return self.spent_before_seconds + time.monotonic() - self._begun

    def planned(
        self, schedule: Schedule, factor: int, seconds_of: Callable[[Schedule], float]
    ) -> Schedule:
        """The longest schedule that is expected to fit into what is left.

        Args:
            schedule: as it was asked for.
            factor: of its brackets.
            seconds_of: estimate for a schedule.
        """
        affordable = max(1e-9, self.left() * _PLANNED_SHARE)
        return plan(schedule, factor, lambda candidate: seconds_of(candidate) / affordable)


class Pace:
    """Estimates before anything was trained.

    Args:
        epoch_seconds: estimate of the mean epoch over the space; None where nothing is known.
        recipe_epoch_seconds: the same over the recipes.
    """

    def __init__(
        self, epoch_seconds: float | None, recipe_epoch_seconds: float | None = None
    ) -> None:
        self._mean = epoch_seconds
        self._recipe_mean = epoch_seconds if recipe_epoch_seconds is None else recipe_epoch_seconds

    def seconds(self, epochs: int, trials: int, recipe_epochs: int = 0) -> float | None:
        """Estimate for so many epochs of so many trials.

        Args:
            epochs: of configurations drawn from the whole space.
            trials: how many begin, recipes included.
            recipe_epochs: epochs of recipes, besides.

        Returns:
            Seconds, or None where nothing is known.
        """
        if self._mean is None or self._recipe_mean is None:
            return None
        training = epochs * self._mean + recipe_epochs * self._recipe_mean
        return training + trials * TRIAL_SECONDS

    def schedule_seconds(self, schedule: Schedule) -> float | None:
        """Estimate for a whole schedule."""
        recipe_epochs = len(schedule.recipes) * schedule.max_epochs
        return self.seconds(
            schedule.total_epochs - recipe_epochs, schedule.total_trials, recipe_epochs
        )
