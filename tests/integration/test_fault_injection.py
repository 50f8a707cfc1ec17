"""Every system call in a run's folder fails once: the search ends with one sentence and resumes.

`strace` injects the faults. Command, journal, checkpoints and tuner are the real ones; training is
replaced by arithmetic, so that an attempt takes no time.
"""

import itertools
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.arithmetic import arithmetic_command, arithmetic_search
from tests.support.forked import (
    CHANGING,
    Child,
    differences,
    memory,
    names_of_calls,
    paths_of_run,
    traced,
    why_no_strace,
)
from tests.support.killed_searches import Searches as HeadSearches
from tests.support.small_search import write_photos

_WHY_NOT = why_no_strace()
pytestmark = pytest.mark.skipif(_WHY_NOT is not None, reason=str(_WHY_NOT))

KILL = f"signal={signal.SIGKILL.name}"
SEARCH = (
    "--space tests.support.arithmetic:Space --weights none --image-size 32 "
    "--max-epochs 2 --factor 2 --seed 8"
)
FAULTS = ("error=ENOSPC", "error=EIO", KILL)


class Searches:
    """The same search, repeated in runs of different names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        write_photos(folder / "photos", per_class=6)
        whole = self.begin("whole", hold_at=0)
        assert whole.is_held()
        with traced(whole, paths_of_run(self.runs / "whole", whole.pid)) as output:
            assert whole.exit_code() == 0, whole.printed()
        self.calls = Counter(names_of_calls(output))
        self.expected = memory(self.runs / "whole")

    def begin(self, run: str, hold_at: int | None = None) -> Child:
        arguments = ["search", str(self.folder / "photos"), "--run", run, "--resume"]
        arguments += ["--runs-dir", str(self.runs), "--cache-dir", str(self.folder / "cache")]
        arguments += SEARCH.split()
        log = self.folder / f"{run}.log"
        log.unlink(missing_ok=True)
        return Child(arithmetic_command, arguments, log=log, hold_at=hold_at)

    def strike_and_resume(self, call: str, number: int, fault: str) -> list[str]:
        """Inject a fault into one call, then resume; return what went wrong, in words.

        Args:
            call: name of a system call.
            number: of the call among those of that name in the run's folder, from 1.
            fault: one of FAULTS.
        """
        run = f"{call}-{number}-{fault.partition('=')[2]}"
        struck = self.begin(run, hold_at=0)
        assert struck.is_held()
        inject = f"{call}:{fault}:when={number}"
        with traced(struck, paths_of_run(self.runs / run, struck.pid), inject):
            wrong = _not_as_promised(struck, fault)
        resumed = self.begin(run)
        if resumed.exit_code():
            wrong.append(f"not resumed: {resumed.printed()}")
        else:
            wrong += differences(memory(self.runs / run), self.expected)
            wrong += [f"left: {path.name}" for path in self.runs.glob(".*")]
        return [f"{run}: {text}" for text in wrong]


def _not_as_promised(struck: Child, fault: str) -> list[str]:
    """What is wrong with how a command ended."""
    code, printed = struck.exit_code(), struck.printed()
    if fault == KILL:
        return [] if code in (0, -signal.SIGKILL) else [f"exit code {code}: {printed}"]
    sentences = [line for line in printed.splitlines() if line.startswith("Error: ")]
    helpful = all(str(struck.log.parent) in sentence for sentence in sentences)
    if "Traceback" in printed or code not in (0, 1, 2) or len(sentences) != bool(code):
        return [f"exit code {code}: {printed}"]
    return [] if helpful else [f"no path in the message: {printed}"]


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Searches:
    return Searches(tmp_path_factory.mktemp("searches").resolve())


def test_the_search_covers_statuses_and_calls(searches: Searches) -> None:
    statuses = {trial["status"] for trial in searches.expected["trials"]}
    assert statuses == {"COMPLETED", "STOPPED", "FAILED"}
    assert {"write", "pwrite64", "fsync", "openat"} <= set(searches.calls)
    assert set(searches.calls) <= set(CHANGING)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_call_of_each_name(searches: Searches, fault: str) -> None:
    numbers = random.Random(fault)
    wrong = [
        text
        for call, count in sorted(searches.calls.items())
        for text in searches.strike_and_resume(call, numbers.randint(1, count), fault)
    ]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CHANGING)
def test_a_fault_in_every_call(searches: Searches, call: str, fault: str) -> None:
    if not searches.calls[call]:
        pytest.skip(f"the search makes no call of {call} here")
    wrong = [
        text
        for number in range(1, searches.calls[call] + 1)
        for text in searches.strike_and_resume(call, number, fault)
    ]
    assert wrong == []


class LibrarySearches(Searches):
    """The same search, begun from Python."""

    def begin(self, run: str, hold_at: int | None = None) -> Child:
        places = (self.runs / run, self.folder / "cache")
        return Child(arithmetic_search, *places, log=self.folder / f"{run}.log", hold_at=hold_at)


@pytest.mark.slow
def test_a_search_from_python_is_killed_in_every_early_call(tmp_path: Path) -> None:
    searches = LibrarySearches(tmp_path.resolve())
    wrong = [
        text
        for call, count in sorted(searches.calls.items())
        for number in range(1, min(count, 20) + 1)
        for text in searches.strike_and_resume(call, number, KILL)
    ]
    assert wrong == []


@pytest.mark.slow
def test_faults_in_a_search_that_trains_networks(tmp_path: Path) -> None:
    heads = HeadSearches(tmp_path.resolve())
    expected = heads.whole()
    for call, fault in itertools.product(("pwrite64", "fsync", "rename"), FAULTS):
        run = f"{call}-{fault.partition('=')[2]}"
        struck = heads.begin(run, hold_at=10)
        assert struck.is_held()
        inject = f"{call}:{fault}:when=3"
        with traced(struck, paths_of_run(heads.runs / run, struck.pid), inject):
            assert struck.exit_code() != 0
            assert _not_as_promised(struck, fault) == []
        resumed = heads.begin(run)
        assert resumed.exit_code() == 0, resumed.printed()
        assert differences(memory(heads.runs / run), expected) == []
