"""What fits into 80 and 60 columns, and text that is not what it seems."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from tuner.data.listing import Skipped
from tuner.data.survey import Leak
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.runs.listing import RunSummary
from tuner.runs.records import COMPLETED, FAILED, RUNNING, RungRecord, TrialRecord
from tuner.terminal.data import data_warnings
from tuner.terminal.runs import run_table
from tuner.terminal.schedule import schedule_lines
from tuner.terminal.tables import plain
from tuner.terminal.trials import trial_table
from tuner.text import brief, number, percent, printable

WIDEST: dict[str, Any] = {
    "unfreeze_blocks": 16, "backbone_lr_factor": 0.03, "head_layers": 2, "head_width": 2048,
    "head_batchnorm": True, "dropout": 0.3456, "l2": 1.234e-5, "learning_rate": 1.234e-5,
}  # fmt: skip
PLAIN = {
    "unfreeze_blocks": 0, "head_layers": 0, "dropout": 0.0, "l2": 1e-4, "learning_rate": 1e-3
}  # fmt: skip


def trial(
    number: int,
    hyperparameters: dict[str, Any],
    score: float | None = 0.98765,
    *,
    seconds: float = 754.0,
    status: str = COMPLETED,
    recipe: str | None = None,
    message: str | None = None,
) -> TrialRecord:
    rungs = () if score is None else (RungRecord(0, 100, score, seconds),)
    bracket = None if recipe else 0
    return TrialRecord(number, recipe, bracket, bracket, hyperparameters, status, 5, message, rungs)


def lines(shown: RenderableType, width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(shown)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def words(line: str) -> str:
    return " ".join(line.split())


TRIALS = [
    trial(12, WIDEST),
    trial(3, PLAIN, 0.75, recipe="plain head", seconds=4.2),
    trial(4, {**WIDEST, "head_layers": 1, "head_batchnorm": False}, seconds=45000.0),
]


def test_80_columns_hold_the_widest_row() -> None:
    shown = lines(trial_table(TRIALS, TRIALS[0], objective="val_accuracy"))
    header = "trial score ep. status head blocks factor drop L2 lr time"
    assert words(shown[0]) == header
    row = "*0012 0.9877 100 completed 2048-1024 BN 16 0.03 0.35 1.2e-5 1.2e-5 12m34s"
    assert words(shown[2]) == row
    assert words(shown[3]) == "0003 0.7500 100 completed plain 0 - 0 1e-4 1e-3 4.2s"
    row = "0004 0.9877 100 completed 2048 16 0.03 0.35 1.2e-5 1.2e-5 12h30m"
    assert words(shown[4]) == row
    assert shown[5:] == ["* 0012 leads by val_accuracy.", "0003 is the plain head, a recipe."]
    assert all(len(line) <= 80 for line in shown)


def test_the_rate_of_chance_stands_below_the_leader() -> None:
    shown = lines(trial_table(TRIALS, TRIALS[0], objective="val_accuracy", chance=0.2361))
    assert shown[5:7] == [
        "* 0012 leads by val_accuracy.",
        "Always answering the most frequent class: 23.6 %",
    ]


def test_a_narrow_terminal_does_without_some_columns_and_says_so() -> None:
    shown = lines(trial_table(TRIALS, TRIALS[0], width=60), width=60)
    assert words(shown[0]) == "trial score ep. head blocks drop L2 lr"
    assert words(shown[2]) == "*0012 0.9877 100 2048-1024 BN 16 0.35 1.2e-5 1.2e-5"
    assert shown[-1] == "Too narrow for time, status, factor: see --format csv."
    assert all(len(line) <= 60 for line in shown)


def test_only_as_many_columns_are_left_out_as_needed() -> None:
    shown = lines(trial_table(TRIALS, None, width=74), width=74)
    assert shown[0].split()[-1] == "lr"
    assert "status" in shown[0]
    assert shown[-1] == "Too narrow for time: see --format csv."


@pytest.mark.parametrize("width", [1, 20, 40])
def test_a_very_narrow_terminal_still_gets_lines(width: int) -> None:
    assert all(len(line) <= width for line in lines(trial_table(TRIALS, None, width=width), width))


def test_a_trial_that_failed_and_one_that_runs() -> None:
    message = "OOM when\nallocating [red]tensor\x1b[31m" + "!" * 400
    trials = [
        trial(0, PLAIN, None, status=FAILED, message=message),
        trial(1, PLAIN, None, status=RUNNING),
    ]
    shown = lines(trial_table(trials, None))
    assert shown[2].split()[:4] == ["0000", "-", "0", "failed"]
    assert shown[3].split()[:4] == ["0001", "-", "0", "running"]
    notes = " ".join(shown[4:])
    assert notes.startswith("0000 failed: OOM when allocating [red]tensor\ufffd[31m!!!")
    assert notes.endswith("! ...")
    assert len(notes) < 350


def test_the_leader_is_known_by_its_record_not_its_place() -> None:
    shown = lines(trial_table(TRIALS, trial(3, PLAIN, 0.75, recipe="plain head", seconds=4.2)))
    assert [line[0] for line in shown[2:5]] == [" ", "*", " "]


def test_no_trials_yet() -> None:
    assert lines(trial_table([], None))[-1] == "There are no trials yet."


def test_another_space_has_columns_under_its_own_names() -> None:
    values = {"[red]units": 64, "kind": "[bold]\x07wide", "learning_rate": 0.5}
    shown = lines(trial_table([trial(0, values)], None))
    assert words(shown[0]) == "trial score ep. status lr [red]units kind time"
    assert "[bold]\ufffdwide" in shown[2]


def test_a_schedule_in_lines() -> None:
    assert schedule_lines(Schedule(hyperband(4, 2), 2, ("a", "b")), 7384.0) == [
        "Hyperband: 22 trials, 68 epochs in all, up to 4 a trial, about 2h03m.",
        "  recipes (known to be good): 2 to epoch 4",
        "  bracket 2: 4 to epoch 1, the best 2 to epoch 2, the best 1 to epoch 4",
        "  bracket 1: 3 to epoch 2, the best 2 to epoch 4",
        "  bracket 0: 3 to epoch 4",
        "  all brackets 2 times",
    ]
    assert schedule_lines(Schedule(hyperband(1, 3))) == [
        "Hyperband: 1 trials, 1 epochs in all, up to 1 a trial.",
        "  bracket 0: 1 to epoch 1",
    ]


def test_runs_with_hostile_names() -> None:
    runs = [
        RunSummary("fi[red]rst", "/my/ph\x1b[31motos", "done", 22, 0.987654, "val_accuracy", 1234),
        RunSummary("x" * 60, None, "damaged", None, None, "val_loss", 10**9),
    ]
    shown = lines(run_table(runs))
    assert shown[2].split() == [
        "fi[red]rst", "ph\ufffd[31motos", "done", "22", "0.9877", "1.2", "KB",
    ]  # fmt: skip
    assert all(len(line) <= 80 for line in shown)
    assert "".join(line.split()[0] for line in shown[3:]).startswith("x" * 20)
    assert "digits" in shown[3]


@given(st.text())
def test_plain_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() or not shown
    assert len(shown) == len(text)
    assert plain(text).plain == shown


@pytest.mark.parametrize(
    ("message", "expected"),
    [(None, "unknown"), ("", "unknown"), (" a\n\tb ", "a b"), ("x" * 301, "x" * 300 + " ...")],
)
def test_brief(message: str | None, expected: str) -> None:
    assert brief(message) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"), (0.0, "0"), (0.03, "0.03"), (0.3, "0.3"), (1.0, "1"), (0.123456, "0.12"),
        (1e-5, "1e-5"), (9.96e-3, "1e-2"), (1.234e-5, "1.2e-5"), (0.01, "0.01"), (2048, "2048"),
        (99.96, "100"), (106.0, "106"), (2.5e7, "2.5e7"), (float("inf"), "inf"),
        (True, "True"), ("text", "text"),
    ],
)  # fmt: skip
def test_numbers(value: Any, expected: str) -> None:
    assert number(value) == expected


@given(st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9))
def test_a_number_has_six_characters_at_most(value: float) -> None:
    assert len(number(value)) <= 6 + (value < 0)


def test_percent() -> None:
    assert [percent(share) for share in (0.0, 0.7149, 1.0)] == ["0.0 %", "71.5 %", "100.0 %"]


def warned(
    skipped: tuple[Skipped, ...] = (),
    conflicts: tuple[tuple[str, ...], ...] = (),
    leaks: tuple[Leak, ...] = (),
    used: str | None = "",
) -> list[str]:
    """`used`: names of the images in use, without .jpg."""
    paths = None if used is None else {f"{name}.jpg" for name in used}
    return data_warnings(skipped, conflicts, leaks, paths)


def test_sound_images_need_no_warning() -> None:
    assert warned() == []


def test_damaged_images_are_named_up_to_ten() -> None:
    skipped = tuple(Skipped(f"{n}.png", "it is cut short") for n in range(12))
    lines = warned(skipped)
    assert lines[0] == "0.png is left out: it is cut short."
    assert lines[10:] == ["2 more images are left out: tune data --json names all."]
    assert len(warned(skipped[:10])) == 10


@pytest.mark.parametrize(
    ("used", "fate"),
    [
        ("", ": 3 left out (--keep-conflicts trains on them)."),
        ("ab", ": 2 of them used, 1 left out."),
        ("abc", ": 3 of them used."),
        (None, "."),
    ],
)
def test_conflicts_say_what_becomes_of_them(used: str | None, fate: str) -> None:
    assert warned(conflicts=(("a.jpg", "b.jpg", "c.jpg"),), used=used) == [
        "3 images show a picture that stands under another label too, such as a.jpg and b.jpg"
        + fate
    ]


@pytest.mark.parametrize(
    ("used", "fate"),
    [
        ("abv", ": 2 of them used (--drop-leaks leaves them out)."),
        ("bv", ": 1 of them used, 1 left out (--drop-leaks leaves them out)."),
        ("v", ": 2 left out."),
        (None, "."),
    ],
)
def test_leaks_say_what_becomes_of_them(used: str | None, fate: str) -> None:
    leaks = (
        Leak("a.jpg", "train", "v.jpg", "validation"),
        Leak("b.jpg", "train", "t.jpg", "test"),
        Leak("v.jpg", "validation", "t.jpg", "test"),
    )
    training, validation = warned(leaks=leaks, used=used)
    assert training == (
        "2 training images show what validation and test images show, such as a.jpg and v.jpg"
        + fate
    )
    used_too = "" if used is None else ": 1 of them used"
    assert validation == (
        f"1 validation images show what test images show, such as v.jpg and t.jpg{used_too}."
    )
