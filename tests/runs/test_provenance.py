"""What a run was begun with: noted once, compared ever after."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import RunError
from tuner.runs import provenance
from tuner.runs.journal import Journal
from tuner.runs.provenance import check_asked, note_or_check

ASKED: dict[str, Any] = {
    "objective": "val_accuracy", "max_epochs": 10, "hyperband_iterations": 2, "seed": 0,
    "pinned part of the space": {"dropout": 0.5}, "search space": [{"values": (1, 2)}],
}  # fmt: skip
MADE_FROM = {"images": "abc", "weights": "def"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.create(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def begun(journal: Journal) -> Journal:
    assert note_or_check(journal, ASKED, MADE_FROM) is None
    return journal


def test_an_empty_journal_was_asked_nothing(journal: Journal) -> None:
    check_asked(journal, ASKED)
    assert journal.note("asked") is None


def test_the_same_is_accepted_again_and_again(begun: Journal) -> None:
    for _ in range(2):
        check_asked(begun, ASKED)  # the tuple is a list by now
        assert note_or_check(begun, ASKED, MADE_FROM) is None


def test_each_difference_is_named(begun: Journal) -> None:
    asked = ASKED | {"objective": "val_loss", "max_epochs": 20}
    with pytest.raises(RunError) as raised:
        check_asked(begun, asked)
    assert (
        "the run was begun with other settings: objective was val_accuracy, not val_loss, "
        "max_epochs was 10, not 20. Go on with the same"
    ) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pinned part of the space", {"dropout": 0.4}),
        ("pinned part of the space", {}),
        ("search space", [{"values": (1, 2, 3)}]),
    ],
)
def test_a_changed_space_is_named(begun: Journal, name: str, value: Any) -> None:
    with pytest.raises(RunError, match=f"other settings: the {name} has changed"):
        check_asked(begun, ASKED | {name: value})


def test_something_that_was_not_asked_before_is_a_difference(begun: Journal) -> None:
    with pytest.raises(RunError, match="colour was None, not red"):
        check_asked(begun, ASKED | {"colour": "red"})


def test_a_run_that_was_not_asked_for_class_weights_has_none(begun: Journal) -> None:
    check_asked(begun, ASKED | {"class_weights": "none"})
    with pytest.raises(RunError, match="class_weights was none, not balanced"):
        check_asked(begun, ASKED | {"class_weights": "balanced"})


def test_more_iterations_are_no_difference_and_are_noted(begun: Journal) -> None:
    more = ASKED | {"hyperband_iterations": 3}
    check_asked(begun, more)
    note_or_check(begun, more, MADE_FROM)
    with pytest.raises(RunError, match="hyperband_iterations was 3, not 2"):
        check_asked(begun, ASKED)


def test_fewer_iterations_are_refused(begun: Journal) -> None:
    with pytest.raises(RunError, match="hyperband_iterations was 2, not 1"):
        check_asked(begun, ASKED | {"hyperband_iterations": 1})


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"images": "x"}, "the images are not those"),
        ({"weights": "x"}, "the weights are not those"),
        ({"images": "x", "weights": "x"}, "the images and weights are not those"),
    ],
)
def test_what_a_search_is_made_from_stays(
    begun: Journal, changed: dict[str, str], expected: str
) -> None:
    with pytest.raises(RunError, match=expected):
        note_or_check(begun, ASKED, MADE_FROM | changed)
    assert begun.note("made_from") == MADE_FROM


def test_what_is_refused_changes_no_note(begun: Journal) -> None:
    with pytest.raises(RunError):
        note_or_check(begun, ASKED | {"hyperband_iterations": 3}, {"images": "x", "weights": "x"})
    check_asked(begun, ASKED)


@pytest.mark.parametrize(
    ("name", "value"), [("versions", {"tensorflow": "99.0"}), ("processor", "abacus")]
)
def test_another_computer_is_told_and_nothing_worse(
    begun: Journal, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.setattr(provenance, name, lambda: value)
    check_asked(begun, ASKED)
    note = note_or_check(begun, ASKED, MADE_FROM)
    assert note is not None
    assert "another Keras, TensorFlow or processor" in note


def test_a_run_that_noted_fewer_versions_is_gone_on_with_silently(begun: Journal) -> None:
    noted = begun.note("computes")
    fewer = {name: value for name, value in noted.items() if name not in ("python", "numpy")}
    begun.set_notes({"computes": fewer})
    assert note_or_check(begun, ASKED, MADE_FROM) is None
    begun.set_notes({"computes": noted | {"python": "3.0.0"}})
    assert note_or_check(begun, ASKED, MADE_FROM) is None
