"""What `tune diagnose` shows: the verdict, then what it rests on, on one screen."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from tuner.diagnosis import Diagnosis
from tuner.findings import Finding
from tuner.ladder import Treatment
from tuner.tables import percent, plain

_MOST_SUSPECTS = 5


def diagnosis_report(diagnosis: Diagnosis, width: int = 80) -> RenderableType:
    """A diagnosis as text.

    Args:
        diagnosis: what was found.
        width: characters of a line; the ladder's training accuracy is left out where it is narrow.
    """
    return Group(*(plain(line) for line in _lines(diagnosis)), _ladder(diagnosis.ladder, width))


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield (
        f"{diagnosis.training_images:,} training and {diagnosis.validation_images:,} validation "
        f"images: a plain head on frozen features reaches {percent(diagnosis.accuracy)} "
        f"({percent(diagnosis.train_accuracy)} on its training images; the most frequent class "
        f"alone is {percent(diagnosis.majority_rate)})."
    )
    yield ""
    yield "Why accuracy is stuck" if diagnosis.causes else "Nothing found that holds accuracy back."
    for number, cause in enumerate(diagnosis.causes, start=1):
        yield from _cause(number, cause)
    if diagnosis.suspects and any(cause.cause == "wrong labels" for cause in diagnosis.causes):
        yield f"   Most suspicious: {_suspects(diagnosis)}"
    yield from _model(diagnosis)
    yield ""
    yield "Examined, and no cause"
    yield from (f" - {finding.cause}: {finding.sentence}" for finding in diagnosis.excluded)
    yield ""
    yield "What mistakes in a network would cost on these images"
    yield from (
        f" - {price.cause}: {_points(price)}. {price.sentence}" for price in diagnosis.prices
    )
    yield ""
    yield "One head over every way in which the backbone's BatchNorm has been treated"


def _cause(number: int, cause: Finding) -> Iterator[str]:
    chance = "counted" if cause.p_value is None else f"p {cause.p_value:.2g}"
    yield f"{number}. {cause.cause} ({_points(cause)}, {chance}). {cause.sentence}"
    if cause.remedy:
        yield f"   {cause.remedy}"


def _points(finding: Finding) -> str:
    return f"{100 * finding.gain:+.1f} points"


def _suspects(diagnosis: Diagnosis) -> str:
    shown = ", ".join(
        f"{path} (rather {name})" for path, name in diagnosis.suspects[:_MOST_SUSPECTS]
    )
    left = len(diagnosis.suspects) - _MOST_SUSPECTS
    return f"{shown}, and {left:,} more with --json." if left > 0 else f"{shown}."


def _model(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.model is None:
        return
    yield ""
    yield "Your model" if diagnosis.model else "Your model: nothing wrong was found."
    for finding in diagnosis.model:
        yield f" - {finding.severity}, {finding.name}: {finding.sentence}"
        if finding.repair:
            yield f"   Repair: {finding.repair}"


def _ladder(treatments: tuple[Treatment, ...], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("treatment", overflow="fold")
    table.add_column("validation", justify="right", no_wrap=True)
    if width >= 60:
        table.add_column("training", justify="right", no_wrap=True)
    table.add_column("statistics moved", justify="right")
    table.add_column("seeds", justify="right", no_wrap=True)
    for treatment in treatments:
        training = [percent(treatment.train_accuracy)] if width >= 60 else []
        table.add_row(
            plain(f"{treatment.name}{' = frozen' * _is_twin(treatment)}"),
            percent(treatment.val_accuracy), *training,
            f"{treatment.moved} of {treatment.statistics}", f"{len(treatment.val_accuracies)}",
        )  # fmt: skip
    return table


def _is_twin(treatment: Treatment) -> bool:
    return treatment.equals_frozen and treatment.name != "frozen"
