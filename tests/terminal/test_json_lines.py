"""What another program reads while a search runs."""

import io
import json
import math
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import Clock
from tests.support.repository import ROOT
from tests.support.small_search import small_search, tune
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.observer import (
    EpochEnds,
    RungBegins,
    RungEnds,
    SearchBegins,
    SearchEnds,
    SearchEvent,
    TimeLeft,
)
from tuner.runs.records import FAILED, STOPPED, RungRecord, TrialRecord
from tuner.terminal import json_lines as jsonlines_module
from tuner.terminal.json_lines import JsonLines
from tuner.training.trainer import EpochMetrics

SCHEDULE = Schedule(hyperband(4, 2), 1, ("plain head",))
DOCUMENTATION = ROOT / "docs" / "json-lines.md"


def trial(number: int, *scores: float, status: str = STOPPED, **changes: Any) -> TrialRecord:
    rungs = tuple(RungRecord(i, i + 1, score, 1.5) for i, score in enumerate(scores))
    return TrialRecord(number, None, 0, 2, {"l2": 0.1}, status, 1, changes.get("message"), rungs)


def rows_of(file: io.StringIO) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in file.getvalue().splitlines()]


def test_each_event_is_a_line() -> None:
    file = io.StringIO()
    lines = JsonLines(file, "val_loss")
    lines.note("a name\nwith <b>two</b> lines")
    lines.on_event(SearchBegins(SCHEDULE, ("blog head",), (trial(0, 0.5),), 1, None, trial(0, 0.5)))
    lines.on_event(RungBegins(trial(0, 0.5), 2))
    lines.on_event(EpochEnds(trial(0, 0.5), 2, EpochMetrics(1.0, 0.5, math.nan, 0.5, 0.5)))
    lines.on_event(RungEnds(trial(0, 0.5, 0.25), trial(0, 0.5, 0.25)))
    lines.on_event(RungEnds(trial(1, status=FAILED, message="out of memory"), None))
    lines.on_event(TimeLeft(12.5))
    lines.on_event(SearchEnds((trial(0), trial(1))))
    rows = rows_of(file)
    assert [row["event"] for row in rows] == [
        "note", "search_begins", "rung_begins", "epoch_ends", "rung_ends", "rung_ends", "time_left",
        "search_ends",
    ]  # fmt: skip
    note, begins, rung, epoch, ended, failed, left, ends = rows
    assert note["text"] == "a name\nwith <b>two</b> lines"
    assert begins["trials"] == SCHEDULE.total_trials
    assert (begins["trials_done"], begins["epochs_done"]) == (1, 1)
    assert begins["best"] == {"trial": "0000", "score": 0.5}
    assert begins["brackets"][0]["rungs"][0] == {"trials": 4, "from": 0, "to": 1}
    assert (rung["from"], rung["to"], rung["hyperparameters"]) == (1, 2, {"l2": 0.1})
    assert epoch["metrics"]["val_loss"] is None
    assert (ended["score"], ended["best"]) == (0.25, {"trial": "0000", "score": 0.25})
    assert (failed["message"], failed["score"]) == ("out of memory", None)
    assert left["seconds"] == 12.5
    assert ends["trials"] == 2


def test_images_are_counted_a_line_a_second_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, file = Clock(), io.StringIO()
    clock.time = clock.monotonic  # type: ignore[attr-defined]
    monkeypatch.setattr(jsonlines_module, "time", clock)
    lines = JsonLines(file, "val_accuracy")
    for done in range(1, 16):
        clock.now += 0.25
        lines.count("reading images", done, 15)
    assert [row["done"] for row in rows_of(file)] == [1, 5, 9, 13, 15]


def test_a_reader_that_goes_away_ends_the_lines_not_the_search() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    lines = JsonLines(Gone(), "val_accuracy")
    lines.note("nobody reads this")
    lines.on_event(SearchEnds(()))


def test_a_search_that_goes_on_prints_lines_and_the_run_last(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    result = tune(
        "resume", "small", "--runs-dir", runs, "--cache-dir", search.cache, "--iterations", "2",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    events = [row["event"] for row in rows]
    assert {"counting", "search_begins", "rung_begins", "epoch_ends", "rung_ends"} < {*events}
    assert events[-2:] == ["search_ends", "result"]
    assert (rows[-1]["run"], rows[-1]["folder"]) == ("small", str(runs / "small"))
    assert isinstance(rows[-1]["winner"], int)


def test_every_event_is_documented() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    kinds = [kind.__name__ for kind in typing.get_args(SearchEvent)]
    for kind in [*kinds, "Result"]:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        assert f"| `{name}` |" in text
