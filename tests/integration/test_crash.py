"""A search that is killed again and again ends bit for bit as an undisturbed one."""

import random
from pathlib import Path

import pytest

from tests.support.forked import differences, memory
from tests.support.killed_searches import SEED, Searches


@pytest.mark.parametrize("least_kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_and_resumed_again_and_again(tmp_path: Path, least_kills: int) -> None:
    searches = Searches(tmp_path)
    expected = searches.whole()
    heads = [trial["hyperparameters"] for trial in expected["trials"]]
    assert any(head.get("head_batchnorm") and head["dropout"] for head in heads)

    moments = random.Random(SEED)
    names, kills, in_a_trial, complete = ["killed"], 0, 0, False
    while kills < least_kills or not complete:
        if complete:
            names.append(f"killed-{len(names)}")
        child = searches.begin(names[-1])
        if kills < least_kills and child.kill_after(*_moment(moments)):
            kills, complete = kills + 1, False
            in_a_trial += searches.running(names[-1])
            continue
        assert child.exit_code() == 0, child.printed()
        assert differences(memory(searches.runs / names[-1]), expected) == []
        complete = True
    assert in_a_trial
    assert {path.name for path in searches.runs.iterdir()} == {"whole", *names}


def _moment(moments: random.Random) -> tuple[int, float]:
    """When to kill: after this many events, and this many seconds later."""
    events = moments.randrange(12)
    return events, moments.uniform(0, 0.04 if events else 1.5)
