"""Where a page may be written."""

from pathlib import Path

import pytest

from tests.support.small_search import small_search, tune
from tuner.errors import SettingsError
from tuner.report.write import check_page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "there is no run nobody"),
        (["--out", "missing/page.html"], "there is no folder missing"),
        (["--out", "."], "is a folder"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], said: str) -> None:
    search = small_search()
    result = tune("report", *arguments, "--runs-dir", search.runs, "--cache-dir", search.cache)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        check_page(tmp_path / "a" / "b.html")
