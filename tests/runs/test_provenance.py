"""What a run was begun with is noted once, and compared on resume."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import RunError
from tuner.runs import provenance
from tuner.runs.journal import Journal
from tuner.runs.notes import Notes
from tuner.runs.provenance import check_same_search, note_search
from tuner.settings import SearchSettings

SETTINGS = SearchSettings(max_epochs=10, iterations=2, fixed={"dropout": "0.5"})
BEGUN = Notes(
    settings=asdict(SETTINGS),
    pinned={"dropout": 0.5},
    space=[{"values": (1, 2)}],
    fingerprint={"images": "abc", "weights": "def"},
)


def with_settings(**changes: Any) -> Notes:
    return replace(BEGUN, settings=asdict(replace(SETTINGS, **changes)))


def check(journal: Journal, now: Notes) -> None:
    check_same_search("first", journal, now)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def begun(journal: Journal) -> Journal:
    assert note_search(journal, BEGUN) is None
    return journal


def test_an_empty_journal_differs_from_nothing(journal: Journal) -> None:
    check(journal, BEGUN)
    assert journal.notes() == Notes()


def test_the_same_is_accepted_again_and_again(begun: Journal) -> None:
    for _ in range(2):
        check(begun, BEGUN)  # the tuple is a list by now
        assert note_search(begun, BEGUN) is None


def test_each_difference_is_named(begun: Journal) -> None:
    with pytest.raises(RunError) as raised:
        check(begun, with_settings(objective="val_loss", max_epochs=20))
    assert (
        "the run first was begun with other settings: --max-epochs was 10, not 20; --objective was "
        "val_accuracy, not val_loss. Go on with the same"
    ) in str(raised.value)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (with_settings(fixed={"dropout": "0.4"}), "--fix was dropout=0.5, not dropout=0.4"),
        (with_settings(fixed={}), "--fix was dropout=0.5, not nothing"),
        (replace(BEGUN, space=[{"values": (1, 2, 3)}]), "the search space has changed"),
    ],
)
def test_a_changed_space_is_named(begun: Journal, now: Notes, expected: str) -> None:
    with pytest.raises(RunError, match=f"other settings: {expected}"):
        check(begun, now)


def test_more_iterations_are_no_difference_and_are_noted(begun: Journal) -> None:
    more = with_settings(iterations=3)
    check(begun, more)
    note_search(begun, more)
    with pytest.raises(RunError, match="--iterations was 3, not 2"):
        check(begun, BEGUN)


def test_fewer_iterations_are_refused(begun: Journal) -> None:
    with pytest.raises(RunError, match="--iterations was 2, not 1"):
        check(begun, with_settings(iterations=1))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"images": "x"}, "the images are not those"),
        ({"weights": "x"}, "the weights are not those"),
        ({"images": "x", "weights": "x"}, "the images and weights are not those"),
    ],
)
def test_images_and_weights_stay_the_same(
    begun: Journal, changed: dict[str, str], expected: str
) -> None:
    now = replace(BEGUN, fingerprint=dict(BEGUN.fingerprint or {}) | changed)
    with pytest.raises(RunError, match=expected):
        note_search(begun, now)
    assert begun.notes().fingerprint == BEGUN.fingerprint


def test_a_refused_search_changes_no_note(begun: Journal) -> None:
    now = replace(with_settings(iterations=3), fingerprint={"images": "x", "weights": "x"})
    with pytest.raises(RunError):
        note_search(begun, now)
    check(begun, BEGUN)


@pytest.mark.parametrize(
    ("name", "value"), [("versions", {"tensorflow": "99.0"}), ("processor", "abacus")]
)
def test_another_computer_gives_a_note_and_nothing_worse(
    begun: Journal, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.setattr(provenance, name, lambda: value)
    check(begun, BEGUN)
    note = note_search(begun, BEGUN)
    assert note is not None
    assert "another Keras, TensorFlow or processor" in note


def test_another_python_gives_no_note(begun: Journal) -> None:
    noted = dict(begun.notes().versions or {})
    begun.set_notes(Notes(versions=noted | {"python": "3.0.0"}))
    assert note_search(begun, BEGUN) is None
