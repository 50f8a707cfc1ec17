"""The objective: its direction, and what kind of score it is."""

import pytest

from tuner.errors import SettingsError
from tuner.metrics.objective import OBJECTIVES, Objective


@pytest.mark.parametrize(
    ("name", "direction", "is_loss", "is_balanced"),
    [
        ("val_accuracy", "max", False, False),
        ("val_balanced_accuracy", "max", False, True),
        ("val_loss", "min", True, False),
    ],
)
def test_every_objective(name: str, direction: str, is_loss: bool, is_balanced: bool) -> None:
    objective = Objective(name)
    assert objective.name == name
    assert objective.direction == direction
    assert objective.is_loss is is_loss
    assert objective.is_balanced is is_balanced


def test_an_unknown_name_raises_and_lists_the_choices() -> None:
    with pytest.raises(SettingsError, match=f"one of {', '.join(OBJECTIVES)}, but is accuracy"):
        Objective("accuracy")
