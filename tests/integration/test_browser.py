"""The watched page sees what it should see."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import is_outside, watched_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = """<!doctype html><title>A page</title><p>text</p>
<script src="https://elsewhere.example/script.js"></script>
<script>console.error("broken"); alert("taken for a script"); nothing.at.all</script>"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "page.html").write_text("<!doctype html><p>served</p>", "utf-8")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/page.html"
        server.shutdown()


def test_errors_dialogs_and_requests_are_seen(browser: "Browser", tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(PAGE, "utf-8")
    with watched_page(browser) as watched:
        watched.page.goto(file.as_uri())
        watched.page.wait_for_load_state()
    assert watched.outside == ["https://elsewhere.example/script.js"]
    assert watched.dialogs == ["taken for a script"]
    assert any("broken" in error for error in watched.errors)
    assert any("nothing is not defined" in error for error in watched.errors)


def test_a_page_of_this_machine_is_left_alone(browser: "Browser", served: str) -> None:
    with watched_page(browser) as watched:
        watched.page.goto(served)
        assert watched.page.inner_text("p") == "served"
    assert watched.outside == []


@pytest.mark.parametrize(
    ("url", "outside"),
    [
        ("file:///folder/report.html", False),
        ("data:image/png;base64,AAAA", False),
        ("http://127.0.0.1:6006/data", False),
        ("http://[::1]:6006/data", False),
        ("https://fonts.googleapis.com/css", True),
        ("http://127.0.0.1.elsewhere.example/", True),
        ("ws://elsewhere.example/", True),
    ],
)
def test_what_is_outside(url: str, outside: bool) -> None:
    assert is_outside(url) == outside
