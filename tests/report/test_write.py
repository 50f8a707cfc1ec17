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


def test_a_file_that_is_no_page_is_never_replaced(tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"mine")
    with pytest.raises(SettingsError, match=r"cat.jpg exists and is not a page of this program"):
        check_page(photo)
    assert photo.read_bytes() == b"mine"
    search = small_search()
    for _ in range(2):  # the second time over the page of the first
        page = ("--out", tmp_path / "page.html", "--runs-dir", search.runs)
        assert tune("report", *page, "--cache-dir", search.cache).exit_code == 0
