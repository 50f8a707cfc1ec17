"""The screen of a search, at the sizes that terminals have."""

import dataclasses
import io

import pytest
from rich.console import Console, Group

from tuner.hyperband.schedule import Schedule, hyperband
from tuner.runs.records import COMPLETED, RungRecord, TrialRecord
from tuner.terminal.live_view import LiveView, sparkline
from tuner.terminal.search_state import SearchState

SCHEDULE = Schedule(hyperband(30, 3), 2, ("plain head", "blog's head"))
VALUES = {
    "unfreeze_blocks": 16, "backbone_lr_factor": 0.03, "head_layers": 2, "head_width": 2048,
    "head_batchnorm": True, "dropout": 0.55, "l2": 1.234e-05, "learning_rate": 0.000123,
}  # fmt: skip


def trial(number: int, *scores: float) -> TrialRecord:
    rungs = tuple(RungRecord(2 * i, 2 * i + 2, score, 1.0) for i, score in enumerate(scores))
    return TrialRecord(number, None, 0, 3, VALUES, COMPLETED, 1, None, rungs)


def view() -> LiveView:
    state = SearchState(SCHEDULE, [], 0.0)
    for number, score in enumerate((0.5, 0.25, 0.75)):
        state.begin_rung(trial(number), 2)
        state.end_epoch(trial(number), 2)
        state.end_rung(trial(number, score), trial(number, score), 60.0 * number + 60.0)
    state.begin_rung(trial(0, 0.5), 4)
    state.note_left(540.0, 180.0)
    return LiveView(state, "val_accuracy", {"cache": 3_000_000_000, "memory": 1_500_000_000}, 180.0)


def drawn(width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True,
                      color_system=None)  # fmt: skip
    console.print(Group(*view().lines(width, height)))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_screen_of_80_columns_shows_all_of_it() -> None:
    total, epochs = SCHEDULE.total_trials, SCHEDULE.total_epochs
    assert drawn(80, 24) == [
        "",
        "━" * 40 + "  25 %, about 9m00s left",
        f"3/{total} trials, 1.0 a minute; 6/{epochs} epochs, 2.0 a minute",
        "",
        "Trials done / planned, to which epoch",
        "recipes    0/2 to 30",
        "bracket 3  3/34 to 2    0/12 to 4    0/4 to 10    0/2 to 30",
        "bracket 2  0/15 to 4    0/5 to 10    0/2 to 30",
        "bracket 1  0/8 to 10    0/3 to 30",
        "bracket 0  0/5 to 30",
        "Hyperband iteration 1 of 2",
        "",
        "best 0.7500 val_accuracy, trial 0002 at epoch 2",
        "     head 2048-1024 BN, blocks 16, factor 0.03, drop 0.55, L2 1.2e-5, lr 1.2e-4",
        "     " + sparkline([(60.0, 0.5), (120.0, 0.25), (180.0, 0.75)], 0.0, 180.0, 40).rstrip()
        + " 0.5000 to 0.7500 in 3m00s",
        "now  trial 0000, epoch 2 of 4: head 2048-1024 BN, blocks 16, factor 0.03,",
        "     drop 0.55, L2 1.2e-5, lr 1.2e-4",
        "     cache 3.0 GB, memory 1.5 GB",
    ]  # fmt: skip


def test_the_peak_of_memory_is_shown_where_nothing_else_is_known() -> None:
    state = SearchState(SCHEDULE, [], 0.0)
    shown = LiveView(state, "val_accuracy", {"memory at most": 1_500_000_000}, 0.0)
    assert "     memory at most 1.5 GB" in [line.plain for line in shown.lines(80, 24)]


def test_what_is_wider_than_the_screen_goes_on_in_the_next_line() -> None:
    lines = drawn(60, 30)
    best = lines.index("best 0.7500 val_accuracy, trial 0002 at epoch 2")
    assert lines[best + 1 : best + 3] == [
        "     head 2048-1024 BN, blocks 16, factor 0.03, drop 0.55,",
        "     L2 1.2e-5, lr 1.2e-4",
    ]
    recipe = dataclasses.replace(trial(3, 0.9), recipe="blog's head")
    state = SearchState(SCHEDULE, [recipe], 0.0, recipe)
    shown = LiveView(state, "val_balanced_accuracy", {}, 0.0).lines(60, 30)
    text = "\n".join(line.plain for line in shown)
    assert "trial 0003 at epoch 2,\n     the blog's head\n     head 2048" in text
    narrow = drawn(40, 40)
    rungs = narrow.index("bracket 3  3/34 to 2    0/12 to 4")
    assert narrow[rungs + 1] == "           0/4 to 10    0/2 to 30"
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20), (40, 12), (20, 5), (8, 2)])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    lines = drawn(width, height)
    assert len(lines) <= max(1, height - 2)
    assert all(len(line) <= width for line in lines)
    assert any(line.startswith("━") for line in lines)


def test_a_low_terminal_keeps_what_matters_most() -> None:
    text = "\n".join(drawn(80, 8))
    for kept in ("left", "best 0.7500", "bracket 3", "now  trial"):
        assert kept in text
    assert "iteration" not in text
    assert "lr 1.2e-4" not in text.partition("now  trial")[2]  # its second line goes first


def test_a_sparkline_rises_with_the_score_and_begins_with_the_first() -> None:
    assert sparkline([(5.0, 0.0), (8.0, 1.0)], 0.0, 10.0, 10) == "    ▁▁▁███"
    assert sparkline([(5.0, 0.5)], 0.0, 10.0, 4) == " ▁▁▁"
    assert sparkline([], 0.0, 10.0, 3) == "   "
