"""The answer first: how good the winner is, against whom, and how sure that is, in words."""

from dataclasses import dataclass
from typing import Any

from tuner.data.dataset import Dataset
from tuner.errors import TuneError
from tuner.evaluate.baselines import Baseline, LeftOut, verdict
from tuner.evaluate.leaked_images import Leaked, leaked, wrong_paths
from tuner.evaluate.selection_bias import SelectionBias, selection_bias_of
from tuner.report.run_data import Story
from tuner.report.validation import Interval
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import Run
from tuner.text import counted, percent


@dataclass(frozen=True)
class Contender:
    """The winner or a baseline, by accuracy on the same images.

    Attributes:
        name: what it is.
        accuracy: with its interval.
        is_winner: whether it is the winner.
    """

    name: str
    accuracy: Interval
    is_winner: bool = False


@dataclass(frozen=True)
class Test:
    """What `tune best` measured on the test images.

    Attributes:
        accuracy: with its interval.
        balanced: mean of the classes' own accuracies; None where it was not recorded.
        baselines: beside the winner on the same images; may be empty.
        leaked: the test images that have copies among those of the search; None where the images
            are not known.
        left_out: baselines that were skipped.
    """

    accuracy: Interval
    balanced: float | None
    baselines: tuple[Baseline, ...] = ()
    leaked: Leaked | None = None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Answer:
    """How good the winner is.

    Attributes:
        winner: the trial; None while there is none.
        score: the objective that chose it.
        contenders: accuracies on the validation images, the best first; none while nothing can win.
        test: on the test images; None where nobody has measured, or where it cannot be read.
        sentences: the same in words.
        test_problem: why what was measured on the test images cannot be read; empty if it can.
    """

    winner: TrialRecord | None
    score: float | None
    contenders: tuple[Contender, ...]
    test: Test | None
    sentences: tuple[str, ...]
    test_problem: str = ""

    @property
    def untested(self) -> str:
        """What is said of the test images in place of a number."""
        return "cannot be read" if self.test_problem else "not yet measured"

    @property
    def lead(self) -> Contender | None:
        """The winner among the contenders; None where its accuracy is not known."""
        return next((each for each in self.contenders if each.is_winner), None)


def answer_of(run: Run, story: Story) -> Answer:
    """Put the winner beside the baselines; reads no image."""
    if story.winner is None:
        return Answer(None, None, (), None, (_why_none(story),))
    contenders = _contenders(story)
    test, problem = _test(run, story)
    sentences = (
        *_against(story, contenders), *_caution(run, story), *_of_test(story, test, problem),
    )  # fmt: skip
    return Answer(story.winner, story.winner.score, contenders, test, sentences, problem)


def _why_none(story: Story) -> str:
    if not story.trials:
        return "No trial has begun."
    if story.state == "failed" or len(story.failures) == len(story.trials):
        reason = story.failures[-1].message or "unknown"
        return f"There is no winner: every trial failed, the last one with: {reason[:300]}"
    of = counted(len(story.trials), "trial that has begun", "trials that have begun")
    return f"There is no winner yet: of {of}, none has finished a rung."


def _contenders(story: Story) -> tuple[Contender, ...]:
    if story.dataset is None or story.winner is None or story.accuracy(story.winner) is None:
        return ()
    count = len(story.dataset.of("validation"))
    found = []
    others = [trial for trial in story.recipes if trial != story.winner]
    for trial in (story.winner, *others):
        accuracy = story.accuracy(trial)
        if accuracy is not None:
            name = f"trial {trial_name(trial.id)}"
            name = f"{trial.recipe} ({name})" if trial.recipe else name
            interval = Interval.of(round(accuracy * count), count)
            found.append(Contender(name, interval, trial == story.winner))
    found.append(Contender("always the most frequent class", _majority(story.dataset, count)))
    return tuple(sorted(found, key=lambda each: (-each.accuracy.share, not each.is_winner)))


def _majority(dataset: Dataset, count: int) -> Interval:
    return Interval.of(round(dataset.majority_rate("validation") * count), count)


def _against(story: Story, contenders: tuple[Contender, ...]) -> list[str]:
    assert story.winner is not None
    name = f"trial {trial_name(story.winner.id)}"
    if not contenders:
        return [f"The winner is {name} with {story.objective} {story.winner.score:.4f}."]
    best = next(each for each in contenders if each.is_winner)
    right = round(best.accuracy.share * best.accuracy.count)
    images = counted(best.accuracy.count, "validation image")
    of = f", the {story.winner.recipe}" if story.winner.recipe else ""
    lines = [
        f"The winner is {name}{of}: it names {right} of {images} "
        f"rightly, {percent(best.accuracy.share)} (95 % interval {percent(best.accuracy.low)} to "
        f"{percent(best.accuracy.high)})."
    ]
    for other in contenders:
        if not other.is_winner:
            lines.append(_difference(best.accuracy, other))
    return lines


def _difference(best: Interval, other: Contender) -> str:
    points = 100 * (best.share - other.accuracy.share)
    than = f"{other.name} ({percent(other.accuracy.share)})"
    if round(abs(points), 1) == 0:
        return f"That is as much as {than}."
    return f"That is {abs(points):.1f} points {'more' if points > 0 else 'less'} than {than}."


def _caution(run: Run, story: Story) -> list[str]:
    """Cautions about a score that the winner was chosen by."""
    assert story.winner is not None
    lines = []
    try:
        selection_bias = _selection_bias(run, story)
    except TuneError as error:
        selection_bias = None
        lines.append(f"The selection bias of its score is unknown: {error}")
    if selection_bias is not None and selection_bias.optimism > 0:
        lines.append(
            "The winner was chosen on these very images: bias-corrected, expect about "
            f"{percent(selection_bias.corrected)} on new ones."
        )
    elif len(story.trials) > 1:
        lines.append(
            f"The winner was chosen from {len(story.trials)} trials on these very images, so its "
            "score is optimistic: expect a little less on new ones."
        )
    if story.state in ("running", "interrupted"):
        lines.append("The search has not ended: this is what there is so far.")
    if story.objective != "val_accuracy":
        lines.append(
            f"It was chosen by {story.objective}, where it reached {story.winner.score:.4f}."
        )
    return lines


def _selection_bias(run: Run, story: Story) -> SelectionBias | None:
    """Selection bias of the validation accuracy; None if unknown."""
    if story.dataset is None or story.damage is not None:
        return None
    labels = story.dataset.labels("validation")
    return selection_bias_of(run.journal, labels, story.objective, "best")


def _test(run: Run, story: Story) -> tuple[Test | None, str]:
    """What was measured, and why that cannot be read; the latter is empty if it can."""
    assert story.winner is not None
    if story.damage is not None:
        return None, story.damage
    try:
        found: dict[str, Any] | None = run.journal.evaluation(story.winner.id)
    except TuneError as error:
        return None, str(error)
    if found is None or found.get("epochs") != story.winner.epochs:
        return None, ""
    accuracy = Interval.of(found["test_correct"], found["test_images"])
    baselines = tuple(Baseline.from_json(row) for row in found.get("opponents", []))
    met = None if story.dataset is None else leaked(story.dataset, wrong_paths(found))
    left_out = tuple(LeftOut(**row) for row in found.get("left_out", []))
    return Test(accuracy, found.get("test_balanced_accuracy"), baselines, met, left_out), ""


def _of_test(story: Story, test: Test | None, problem: str) -> list[str]:
    if problem:
        return [f"On the test images: what was measured, if anything, cannot be read: {problem}"]
    if test is None:
        return ["On the test images: not yet measured. They are opened once, by tune best."]
    share, leak = test.accuracy, test.leaked and test.leaked.sentence
    images = counted(share.count, "test image")
    lines = [
        f"On {images}{'' if leak else ' that took no part in the search'} it "
        f"reaches {percent(share.share)} (95 % interval {percent(share.low)} to "
        f"{percent(share.high)})."
    ]
    if leak:
        lines.append(leak)
    if test.baselines and story.winner is not None:
        lines.append(verdict(test.baselines, story.winner.recipe, test.left_out))
    return lines
