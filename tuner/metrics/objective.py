"""The objective: the validation score that a search compares trials by."""

from dataclasses import dataclass

from tuner.errors import SettingsError

OBJECTIVES = ("val_accuracy", "val_balanced_accuracy", "val_loss")


@dataclass(frozen=True)
class Objective:
    """The validation score that a search compares trials by.

    Example:
        >>> Objective("val_loss").direction
        'min'

    Attributes:
        name: one of OBJECTIVES.

    Raises:
        SettingsError: unknown name.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in OBJECTIVES:
            raise SettingsError(
                f"The objective must be one of {', '.join(OBJECTIVES)}, but is {self.name}."
            )

    @property
    def direction(self) -> str:
        """ "max" where a larger score is better, else "min"."""
        return "min" if self.is_loss else "max"

    @property
    def is_loss(self) -> bool:
        """Whether the score is the mean cross-entropy, in nats."""
        return self.name == "val_loss"

    @property
    def is_balanced(self) -> bool:
        """Whether every class counts the same, however many images it has."""
        return self.name == "val_balanced_accuracy"
