"""A report of a run, its text and tags, and faults of a journal."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from tuner.counting import silent
from tuner.report.contents import Contents, gather
from tuner.report.run_data import read_run_data
from tuner.runs.run import Run
from tuner.storage.cache import Cache

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class Outline(HTMLParser):
    """Tags, attributes and text of a page; what browsers take for code stands apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.code: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        inside = self.tags and self.tags[-1][0] in ("script", "style") and self.lasttag
        (self.code if inside in ("script", "style") else self.text).append(data)


def gathered(run: Run, cache: Path) -> Contents:
    with Cache(cache) as opened:
        return gather(run, opened, silent)


def altered(run: Run, table: str) -> None:
    """Bytes of a table that were not written so, as its checksums show."""
    import contextlib
    import sqlite3

    run.journal.close()
    with contextlib.closing(sqlite3.connect(run.folder / "journal.db")) as connection:
        assert connection.execute(f"UPDATE {table} SET crc = crc + 1").rowcount
        connection.commit()


def evaluation_damaged(run: Run) -> None:
    winner = read_run_data(run).winner
    assert winner is not None
    run.journal.set_evaluation(winner.id, {"epochs": 1, "test_correct": 3, "test_images": 4})
    altered(run, "evaluations")
