"""The report of `tune diagnose`: the verdict on one screen; its evidence with `--details`."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table

from tuner.diagnose.batchnorm_treatments import Treatment
from tuner.diagnose.finding import WRONG_LABELS
from tuner.diagnose.result import Diagnosis
from tuner.model_check.findings import ERROR, ModelFinding
from tuner.terminal.tables import plain, plain_table
from tuner.text import percent

_MOST_SUSPECTS = 5
_NO_CAUSE = "No cause, or not judged"
_PRICES = "What mistakes in a network would cost on these images"
_NOTHING = "Nothing found that holds accuracy back."
_NOTHING_ELSE = "Nothing found that holds accuracy back, but your model has a fault:"


def diagnosis_report(
    diagnosis: Diagnosis, width: int = 80, details: bool = False
) -> RenderableType:
    """A diagnosis as text.

    Args:
        diagnosis: the result.
        width: of the terminal, in characters; narrow ones omit columns of the BatchNorm table.
        details: show every experiment, above the verdict.
    """
    verdict = _verdict(diagnosis)
    if details:
        return Group(*_details(diagnosis, width)[1:], plain(""), *verdict)  # no empty line first
    return Group(*verdict, plain(""), *_brief(diagnosis))


def _verdict(diagnosis: Diagnosis) -> list[RenderableType]:
    faulty = any(finding.severity == ERROR for finding in diagnosis.model or ())
    nothing = _NOTHING_ELSE if faulty else _NOTHING
    stuck = "Why accuracy is stuck" if diagnosis.causes else nothing
    parts = [plain(_head(diagnosis)), *_section(stuck, _items(_causes(diagnosis)))]
    if diagnosis.model is not None:
        title = "Your model" if diagnosis.model else "Your model: nothing wrong was found."
        parts += _section(title, _items(_mistakes(diagnosis.model)))
    if diagnosis.trainable is not None:
        parts.append(plain(f"Trainable: {diagnosis.trainable.summary}."))
    return parts


def _brief(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    """What --details shows, by name."""
    if diagnosis.excluded:
        yield plain(f"{_NO_CAUSE}: {', '.join(each.cause for each in diagnosis.excluded)}.")
    if diagnosis.prices:
        prices = ", ".join(f"{each.cause} {each.cost}" for each in diagnosis.prices)
        yield plain(f"{_PRICES}: {prices}.")
    yield plain("--details shows their figures and the ladder of BatchNorm, --json all numbers.")


def _details(diagnosis: Diagnosis, width: int) -> list[RenderableType]:
    prices = (("-", f"{each.cause}: {each.cost}. {each.sentence}") for each in diagnosis.prices)
    examined = (("-", f"{each.cause}: {each.sentence}") for each in diagnosis.excluded)
    return [
        *_section("One head over every treatment of the backbone's BN", _ladder(diagnosis, width)),
        plain("= is the same function as frozen, bit for bit."),
        *_section(_PRICES, _items(prices)),
        *_section(_NO_CAUSE, _items(examined)),
    ]


def _section(title: str, body: Table) -> list[RenderableType]:
    return [plain(""), plain(title), body] if body.row_count else [plain(""), plain(title)]


def _head(diagnosis: Diagnosis) -> str:
    used = diagnosis.training_images + diagnosis.validation_images
    sample = f", of {diagnosis.images_in_all:,}" if used < diagnosis.images_in_all else ""
    return (
        f"{diagnosis.training_images:,} training and {diagnosis.validation_images:,} validation "
        f"images{sample}: a plain head on frozen features reaches {percent(diagnosis.accuracy)} "
        f"({percent(diagnosis.train_accuracy)} on its training images; the most frequent class "
        f"alone is {percent(diagnosis.majority_rate)})."
    )


def _items(rows: Iterable[tuple[str, str]]) -> Table:
    """Paragraphs with their bullets or numbers."""
    grid = Table.grid(padding=(0, 1))
    for mark, text in rows:
        grid.add_row(mark, plain(text))
    return grid


def _causes(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    for number, cause in enumerate(diagnosis.causes, start=1):
        yield (
            f"{number}.",
            f"{cause.cause} ({', '.join(filter(None, [cause.effect, cause.certainty]))}). "
            f"{cause.sentence}",
        )
        if cause.cause == WRONG_LABELS and diagnosis.suspects:
            yield "", f"Most suspicious: {_suspects(diagnosis)}"
        if cause.remedy:
            yield "", str(cause.remedy)


def _mistakes(model: Iterable[ModelFinding]) -> Iterator[tuple[str, str]]:
    for finding in model:
        yield "-", f"{finding.severity}, {finding.name}: {finding.sentence}"
        if finding.repair:
            yield "", f"Repair: {finding.repair}"


def _suspects(diagnosis: Diagnosis) -> str:
    shown = ", ".join(
        f"{path} (rather {name})" for path, name in diagnosis.suspects[:_MOST_SUSPECTS]
    )
    left = len(diagnosis.suspects) - _MOST_SUSPECTS
    return f"{shown}, and {left:,} more with --json." if left > 0 else f"{shown}."


def _ladder(diagnosis: Diagnosis, width: int) -> Table:
    table = plain_table(gap=3)
    table.add_column("treatment", overflow="fold")
    table.add_column("validation", justify="right", no_wrap=True)
    if width >= 60:
        table.add_column("training", justify="right", no_wrap=True)
    table.add_column("statistics moved", justify="right")
    table.add_column("seeds", justify="right", no_wrap=True)
    if width >= 80:  # share of images whose class changes with the batch
        table.add_column("by batch", justify="right", no_wrap=True)
    for treatment in diagnosis.ladder:
        training = [percent(treatment.train_accuracy)] if width >= 60 else []
        dependent = treatment.batch_dependent
        other = ["" if dependent is None else percent(dependent)] if width >= 80 else []
        table.add_row(
            plain(f"{treatment.name}{' =' * _is_twin(treatment)}"),
            percent(treatment.val_accuracy),
            *training,
            f"{treatment.moved} of {treatment.statistics}",
            f"{len(treatment.val_accuracies)}",
            *other,
        )
    return table


def _is_twin(treatment: Treatment) -> bool:
    return treatment.equals_frozen and treatment.name != "frozen"
