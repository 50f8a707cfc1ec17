"""The answer first, in words: how good the winner is, against which baselines, and how sure."""

from dataclasses import dataclass

from tuner.evaluate.baselines import Baseline, LeftOut, verdict
from tuner.evaluate.leaked_images import leaked, wrong_paths
from tuner.metrics.intervals import Proportion
from tuner.report.run_data import Absent, RunData
from tuner.runs.records import TrialRecord, trial_name
from tuner.text import counted, percent

_UNMEASURED = "not yet measured"


@dataclass(frozen=True)
class Contender:
    """The winner or a baseline, by accuracy on the validation images."""

    name: str
    accuracy: Proportion
    is_winner: bool = False


@dataclass(frozen=True)
class Answer:
    """How good the winner is.

    Attributes:
        winner: the trial; None while there is none.
        contenders: on the validation images, the best first; may be empty.
        test: accuracy on the test images; None where it is not known, as `untested` says.
        baselines: compared with the winner on the test images.
        sentences: the same in words.
    """

    winner: TrialRecord | None
    contenders: tuple[Contender, ...]
    test: Proportion | None
    untested: str
    baselines: tuple[Baseline, ...]
    sentences: tuple[str, ...]

    @property
    def lead(self) -> Contender | None:
        """The winner among the contenders; None where its accuracy is not known."""
        return next((each for each in self.contenders if each.is_winner), None)


def answer_of(data: RunData) -> Answer:
    """Compare the winner with the baselines."""
    winner, found = data.winner, data.evaluation
    if winner is None:
        return Answer(None, (), None, _UNMEASURED, (), (_why_none(data),))
    contenders = _contenders(data, winner)
    recipe = f", the {winner.recipe}" if winner.recipe else ""
    first = f"The winner is trial {trial_name(winner.id)}{recipe}"
    validated = [*_on_validation(data, winner, contenders), *_cautions(data, winner)]
    if found is None or isinstance(found, Absent):
        unread = "The result on the test images, if there is one, cannot be read:"
        unmeasured = "On the test images: not yet measured. tune best opens them, once."
        if data.dataset is not None and not data.dataset.of("test"):
            unmeasured = "No image was held out for a test."
        last = f"{unread} {found.reason}" if found else unmeasured
        sentences = (f"{first}: {validated[0]}", *validated[1:], last)
        untested = "cannot be read" if found else _UNMEASURED
        return Answer(winner, contenders, None, untested, (), sentences)
    test = Proportion.of(found["test_correct"], found["test_images"])
    baselines = tuple(map(Baseline.from_json, found["opponents"]))
    leak = data.dataset and leaked(data.dataset, wrong_paths(found)).sentence
    new = "" if leak else " that took no part in the search"
    tested = [f"{first}: it classifies {_share(test, 'test image', new)}."]
    tested += [leak] if leak else []
    if baselines:
        left_out = [LeftOut(**row) for row in found["left_out"]]
        tested.append(verdict(baselines, winner.recipe, left_out))
    validated[0] = validated[0][0].upper() + validated[0][1:]
    return Answer(winner, contenders, test, "", baselines, (*tested, *validated))


def _share(share: Proportion, noun: str, more: str = "") -> str:
    right = round(share.share * share.count)
    return (
        f"{right} of {counted(share.count, noun)}{more} correctly, {percent(share.share)} (95 % "
        f"interval {percent(share.low)} to {percent(share.high)})"
    )


def _why_none(data: RunData) -> str:
    if not data.trials:
        return "No trial has begun."
    if data.state == "failed" or len(data.failures) == len(data.trials):
        reason = data.failures[-1].message or "unknown"
        return f"There is no winner: every trial failed, the last one with: {reason[:300]}"
    of = counted(len(data.trials), "trial that has begun", "trials that have begun")
    return f"There is no winner yet: of {of}, none has finished a rung."


def _contenders(data: RunData, winner: TrialRecord) -> tuple[Contender, ...]:
    if data.dataset is None or data.accuracy(winner) is None:
        return ()
    count = len(data.dataset.of("validation"))
    found = []
    for trial in (winner, *(trial for trial in data.recipes if trial != winner)):
        accuracy = data.accuracy(trial)
        if accuracy is not None:
            name = f"trial {trial_name(trial.id)}"
            name = f"{trial.recipe} ({name})" if trial.recipe else name
            share = Proportion.of(round(accuracy * count), count)
            found.append(Contender(name, share, trial == winner))
    majority = Proportion.of(round(data.dataset.majority_rate("validation") * count), count)
    found.append(Contender("always the most frequent class", majority))
    return tuple(sorted(found, key=lambda each: (-each.accuracy.share, not each.is_winner)))


def _on_validation(
    data: RunData, winner: TrialRecord, contenders: tuple[Contender, ...]
) -> list[str]:
    """Sentences that go on after a colon."""
    best = next((each.accuracy for each in contenders if each.is_winner), None)
    if best is None:
        return [f"it has {data.objective} {winner.score:.4f}."]
    others = [_difference(best, other) for other in contenders if not other.is_winner]
    return [f"it classifies {_share(best, 'validation image')}.", f"That is {', '.join(others)}."]


def _difference(best: Proportion, other: Contender) -> str:
    points = 100 * (best.share - other.accuracy.share)
    than = f"{other.name} ({percent(other.accuracy.share)})"
    if round(abs(points), 1) == 0:
        return f"as much as {than}"
    return f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than {than}"


def _cautions(data: RunData, winner: TrialRecord) -> list[str]:
    """Cautions about a score that the winner was chosen by."""
    lines = []
    bias = data.selection_bias
    if isinstance(bias, Absent):
        lines.append(f"The selection bias of its score is unknown: {bias.reason}")
    elif bias is not None and bias.optimism > 0:
        lines.append(
            "The winner was chosen on these very images: bias-corrected, expect about "
            f"{percent(bias.corrected)} on new ones."
        )
    elif len(data.trials) > 1:
        lines.append(
            f"The winner was chosen from {len(data.trials)} trials on these very images, so its "
            "score is optimistic: expect a little less on new ones."
        )
    if data.state in ("running", "interrupted"):
        lines.append("The search has not ended: this is the result so far.")
    if data.objective != "val_accuracy":
        lines.append(f"It was chosen by {data.objective}, where it reached {winner.score:.4f}.")
    return lines
