"""Runs side by side: scores, settings that differ, winners, and whether the data are the same."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.report.headline import Answer, answer_of
from tuner.report.run_data import Story, story_of
from tuner.report.validation import Interval
from tuner.runs.records import trial_name
from tuner.runs.run import Run

_COMMON = {
    "all": "All runs saw the same images in the same split.",
    "validation": "All runs chose by the same validation images, so their scores compare. Their "
    "other images differ, which may be what makes the difference.",
    "none": "The runs did not see the same images in the same split: their scores cannot be "
    "compared.",
    "unknown": "The images of a run are not known any more: compare with care.",
}


@dataclass(frozen=True)
class Side:
    """One of the runs.

    Attributes:
        story: what its journal holds.
        answer: how good its winner is.
    """

    story: Story
    answer: Answer

    @property
    def validation(self) -> Interval | None:
        """The winner's validation accuracy; None while there is no winner."""
        lead = self.answer.lead
        return None if lead is None else lead.accuracy


@dataclass(frozen=True)
class Row:
    """Something of each run, side by side.

    Attributes:
        name: what it is.
        values: of each run, as they are shown.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs differ in it."""
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        sides: the runs in the order in which they were named.
        data: which images they have in common, in a sentence.
        same_data: whether they saw the same images in the same split.
        settings: the settings in which they differ.
        winners: hyperparameters of the winners.
        sentence: which is ahead, and whether that may be chance.
    """

    sides: tuple[Side, ...]
    data: str
    same_data: bool
    settings: tuple[Row, ...]
    winners: tuple[Row, ...]
    sentence: str


def compare(runs: Sequence[Run]) -> Comparison:
    """Puts runs side by side; opens no image.

    Raises:
        RunError: a run has no journal, or another version wrote it.
    """
    stories = [story_of(run) for run in runs]
    sides = tuple(
        Side(story, answer_of(run, story)) for run, story in zip(runs, stories, strict=True)
    )
    common = _common(stories)
    return Comparison(
        sides, _COMMON[common], common == "all", _settings(stories),
        _winners(stories),
        _sentence(sides, common in ("all", "validation")),
    )  # fmt: skip


def _winners(stories: Sequence[Story]) -> tuple[Row, ...]:
    values = [{} if s.winner is None else s.winner.hyperparameters for s in stories]
    names = dict.fromkeys(name for each in values for name in each)
    return tuple(Row(name, tuple(each.get(name) for each in values)) for name in names)


def _settings(stories: Sequence[Story]) -> tuple[Row, ...]:
    names = [field.name for field in dataclasses.fields(stories[0].settings)]
    rows = [Row(name, tuple(_shown(story, name) for story in stories)) for name in names]
    return tuple(row for row in rows if row.differs)


def _shown(story: Story, field: str) -> Any:
    value = getattr(story.settings, field)
    if isinstance(value, dict):
        return ", ".join(f"{name}={pinned}" for name, pinned in value.items()) or "nothing"
    if field == "data" and value is None:
        return "scikit-learn's digits"
    return value


def _common(stories: Sequence[Story]) -> str:
    """Which images the runs have in common: a key of _COMMON."""
    known = [story.dataset for story in stories if story.dataset is not None]
    if len(known) < len(stories):
        return "unknown"
    if len({dataset.fingerprint for dataset in known}) == 1:
        return "all"
    validated = {
        tuple(sorted((file.sha256, file.label) for file in each.of("validation"))) for each in known
    }
    return "validation" if len(validated) == 1 else "none"


def _sentence(sides: Sequence[Side], same_validation: bool) -> str:
    known = [side for side in sides if side.validation is not None]
    if len(known) < 2:
        return "Fewer than two of the runs have a winner: there is nothing to compare yet."
    ranked = sorted(known, key=lambda side: -side.validation.share)  # type: ignore[union-attr]
    first, second = ranked[:2]
    assert first.validation is not None
    assert second.validation is not None
    points = 100 * (first.validation.share - second.validation.share)
    if round(points, 1) == 0:
        on = "the validation images" if same_validation else "other images each"
        return f"{first.story.name} and {second.story.name} are equal on {on}."
    lead = f"{first.story.name} leads {second.story.name} by {points:.1f} points"
    if not same_validation:
        return f"{lead}, on other images."
    overlap = second.validation.high >= first.validation.low
    chance = (
        "their 95 % intervals overlap, so that may be chance"
        if overlap
        else ("their 95 % intervals do not overlap")
    )
    return f"{lead} on the same validation images; {chance}."


def curve_name(side: Side) -> str:
    """What the curve of a run's winner is called."""
    assert side.story.winner is not None
    return f"{side.story.name}, trial {trial_name(side.story.winner.id)}"
