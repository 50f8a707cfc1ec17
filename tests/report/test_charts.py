"""Charts, counted by hand."""

import dataclasses

import pytest

from tests.support.report_page import NOW, Outline
from tuner.report import charts, page
from tuner.report.contents import Contents


def test_every_bracket_shows_who_was_promoted(contents: Contents) -> None:
    first = charts.brackets(contents.data)[0]
    assert [column.note for column in first.columns] == [
        "27 of 27", "9 of 9", "3 of 3", "1 of 1",
    ]  # fmt: skip
    assert len(first.lines) == 9 + 3 + 1
    assert len(first.points) == 27 + 9 + 3 + 1
    assert first.label.startswith("27 trials to epoch 1, of these 9 trials to epoch 3")


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_better_scores_are_higher_up_for_losses_too(contents: Contents, objective: str) -> None:
    settings = dataclasses.replace(contents.data.settings, objective=objective)
    first = charts.brackets(dataclasses.replace(contents.data, settings=settings))[0]
    rows = {float(tick.text): tick.place for tick in first.rows}
    best = max(rows) if objective == "val_accuracy" else min(rows)
    assert rows[best] == max(rows.values())


def test_the_whole_of_a_winners_curve_is_in_a_comparisons_frame() -> None:
    curve = [0.01, *(0.8 + 0.001 * epoch for epoch in range(60))]
    (line,) = charts.compared_curves({"one": curve}).lines
    assert len(line.places) == len(curve)
    assert len({y for _, y in line.places}) == len(curve)


def test_curves_that_leave_the_frame_are_counted(contents: Contents) -> None:
    data = contents.data
    assert data.winner is not None
    curves = dict(data.curves)
    first, *others = curves[data.winner.id]
    curves[data.winner.id] = [first | {"val_accuracy": -5.0}, *others]
    changed = dataclasses.replace(data, curves=curves)
    assert charts.learning_curves(data)[1] == set()
    assert charts.learning_curves(changed)[1] == {data.winner.id}
    shown = page.render(dataclasses.replace(contents, data=changed), NOW)
    text = "".join(Outline(shown).text)
    assert "a part of 1 of 197 curves, the winner's among them." in text
    assert "The frame leaves out" not in page.render(contents, NOW)
