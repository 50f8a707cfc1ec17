"""Events and several observers as one."""

import pytest

from tuner.observer import Counting, Note, Observers, SearchEvent, SearchObserver


class Diary(SearchObserver):
    def __init__(self, name: str, entries: list[tuple[str, SearchEvent]]) -> None:
        self._name, self._entries = name, entries

    def on_event(self, event: SearchEvent) -> None:
        self._entries.append((self._name, event))


def test_every_observer_receives_every_event_in_order() -> None:
    entries: list[tuple[str, SearchEvent]] = []
    together = Observers(Diary("first", entries), Diary("second", entries))
    together.note("a sentence")
    together.count("reading images", 1, 2)
    note, count = Note("a sentence"), Counting("reading images", 1, 2)
    assert entries == [("first", note), ("second", note), ("first", count), ("second", count)]


def test_an_observer_that_overrides_nothing_ignores_events() -> None:
    SearchObserver().note("a sentence")


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Note("a sentence").text = "another"  # type: ignore[misc]
