"""Fixtures: a report of many trials and images."""

import pytest

from tests.support.report_page import NOW
from tests.support.synthetic_run import (
    many_contents,
    many_trials,
)
from tuner.report import page
from tuner.report.contents import Contents
from tuner.runs.run import Run


@pytest.fixture(scope="session")
def synthetic() -> Run:
    return many_trials()


@pytest.fixture(scope="session")
def contents() -> Contents:
    return many_contents()


@pytest.fixture(scope="session")
def html(contents: Contents) -> str:
    return page.render(contents, NOW)
