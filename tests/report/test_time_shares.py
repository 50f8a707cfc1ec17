"""Where the time went."""

import pytest

from tuner.report.contents import Contents
from tuner.report.time_shares import time_shares


def test_time_adds_up(contents: Contents) -> None:
    data = contents.data
    before = sum(data.prepared.values())
    for title, shares in time_shares(data).items():
        if title != "The slowest trials":
            total = data.seconds + (before if title == "All of it" else 0)
            assert sum(each.share for each in shares) == pytest.approx(1)
            assert sum(each.seconds for each in shares) == pytest.approx(total)
