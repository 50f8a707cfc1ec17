"""Runs side by side: scores, settings that differ, winners, and whether the data are the same."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.metrics.intervals import Proportion
from tuner.report.headline import Answer, answer_of
from tuner.report.run_data import RunData
from tuner.runs.records import trial_name

_COMMON = {
    "all": "All runs saw the same images in the same split.",
    "validation": "All runs chose by the same validation images, so their scores compare. Their "
    "other images differ, which may explain the difference.",
    "none": "The runs did not see the same images in the same split: their scores cannot be "
    "compared.",
    "unknown": "The images of a run are not known any more: compare with care.",
}


@dataclass(frozen=True)
class Side:
    """One of the runs, and how good its winner is."""

    data: RunData
    answer: Answer

    @property
    def validation(self) -> Proportion | None:
        """The winner's validation accuracy; None while there is no winner."""
        lead = self.answer.lead
        return None if lead is None else lead.accuracy


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        sides: the runs in the order in which they were named.
        common: which images they have in common, in a sentence.
        same_data: whether they saw the same images in the same split.
        settings: those that differ, with their values.
        winners: their hyperparameters, with their values.
        sentence: which is ahead, and whether that may be chance.
        curves: validation accuracies of the winners after each epoch, by name.
    """

    sides: tuple[Side, ...]
    common: str
    same_data: bool
    settings: dict[str, list[Any]]
    winners: dict[str, list[Any]]
    sentence: str
    curves: dict[str, list[float]]


def compare(runs: Sequence[RunData]) -> Comparison:
    """Put runs side by side."""
    sides = tuple(Side(data, answer_of(data)) for data in runs)
    common = _common(runs)
    names = [field.name for field in dataclasses.fields(runs[0].settings)]
    settings = {name: [_setting(data, name) for data in runs] for name in names}
    values = [data.winner.hyperparameters if data.winner else {} for data in runs]
    searched = dict.fromkeys(name for each in values for name in each)
    return Comparison(
        sides,
        _COMMON[common],
        common == "all",
        {name: row for name, row in settings.items() if any(value != row[0] for value in row)},
        {name: [each.get(name) for each in values] for name in searched},
        _sentence(sides, common in ("all", "validation")),
        {
            f"{data.name}, trial {trial_name(data.winner.id)}": [
                epoch["val_accuracy"] for epoch in data.curves.get(data.winner.id, ())
            ]
            for data in runs
            if data.winner is not None
        },
    )


def _setting(data: RunData, field: str) -> Any:
    value = getattr(data.settings, field)
    if isinstance(value, dict):
        return ", ".join(f"{name}={pinned}" for name, pinned in value.items()) or "nothing"
    return "scikit-learn's digits" if field == "data" and value is None else value


def _common(runs: Sequence[RunData]) -> str:
    """Which images the runs have in common: a key of _COMMON."""
    known = [data.dataset for data in runs if data.dataset is not None]
    if len(known) < len(runs):
        return "unknown"
    if len({dataset.fingerprint for dataset in known}) == 1:
        return "all"
    validated = {
        tuple(sorted((file.sha256, file.label) for file in each.of("validation"))) for each in known
    }
    return "validation" if len(validated) == 1 else "none"


def _sentence(sides: Sequence[Side], same_validation: bool) -> str:
    known = [(side.validation, side.data.name) for side in sides if side.validation is not None]
    if len(known) < 2:
        return "Fewer than two of the runs have a winner: there is nothing to compare yet."
    ranked = sorted(known, key=lambda each: -each[0].share)
    (first, leader), (second, follower) = ranked[:2]
    points = 100 * (first.share - second.share)
    if round(points, 1) == 0:
        on = "the validation images" if same_validation else "other images each"
        return f"{leader} and {follower} are equal on {on}."
    lead = f"{leader} leads {follower} by {points:.1f} points"
    if not same_validation:
        return f"{lead}, on other images."
    if second.high >= first.low:
        return (
            f"{lead} on the same validation images; their 95 % intervals overlap, so that may be "
            "chance."
        )
    return f"{lead} on the same validation images; their 95 % intervals do not overlap."
