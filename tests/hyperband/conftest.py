"""A clock, and a journal, for searches that train nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import Clock
from tuner.hyperband import time_budget, time_left
from tuner.runs.journal import Journal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(now=0.0)
    for module in (time_budget, time_left):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.db")
    yield journal
    journal.close()
