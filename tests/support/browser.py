"""A page in the system's Chromium that remembers what a user should never meet."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Route

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WIDTH, _HEIGHT = 1400, 1000


@dataclass
class Watched:
    """A page, and what happened in it.

    Attributes:
        page: Playwright's page.
        errors: what was written to the console as an error, and what JavaScript raised.
        outside: addresses that were asked for and lie neither on this machine's loopback nor in a
            file. They are refused.
        dialogs: texts of `alert` and its like: what a page shows when text was taken for a script.
    """

    page: "Page"
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Watches the page from now on."""
        self.page.route("**/*", self._route)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _route(self, route: "Route", request: "Request") -> None:
        if is_outside(request.url):
            self.outside.append(request.url)
            route.abort()
        else:
            route.continue_()

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


def is_outside(url: str) -> bool:
    """Whether an address leads to another machine."""
    parts = urlsplit(url)
    return parts.scheme not in ("file", "data", "blob", "about") and parts.hostname not in _LOOPBACK


@contextlib.contextmanager
def chromium() -> Iterator["Browser"]:
    """The system's Chromium without a window; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def watched_page(browser: "Browser", **options: Any) -> Iterator[Watched]:
    """A page of its own, with nothing stored.

    Args:
        browser: as `chromium` gives it.
        options: of Playwright's `Browser.new_context`, such as `java_script_enabled=False`.
    """
    context = browser.new_context(**{"viewport": {"width": _WIDTH, "height": _HEIGHT}} | options)
    try:
        watched = Watched(context.new_page())
        watched.begin()
        yield watched
    finally:
        context.close()
