"""A diagnosis is found by its images."""

from pathlib import Path
from typing import Any

import pytest

from tuner.diagnose.stored import keep_diagnosis, kept_diagnosis

CAUSE = {"cause": "rate", "gain": 0.1, "sentence": "Slow.", "remedy": "Faster."}
FOUND = {
    "training_images": 42,
    "validation_images": 9,
    "accuracy": 0.5,
    "train_accuracy": 0.75,
    "majority_rate": 0.25,
    "causes": [CAUSE],
    "excluded": [{"cause": "size", "sentence": "No."}],
    "prices": [CAUSE | {"certainty": "p 0.02"}],
    "model": [{"severity": "fault", "name": "bn", "sentence": "It moves.", "repair": ""}],
}


def test_a_diagnosis_is_found_by_its_images(tmp_path: Path) -> None:
    keep_diagnosis(tmp_path / "cache", "a1", FOUND, {"image_size": 64})
    kept = kept_diagnosis(tmp_path / "cache", "a1")
    assert kept is not None
    assert (kept["found"], kept["options"]) == (FOUND, {"image_size": 64})
    assert kept_diagnosis(tmp_path / "cache", "b2") is None


def test_a_later_one_takes_its_place(tmp_path: Path) -> None:
    for accuracy in (0.5, 0.75):
        file = keep_diagnosis(tmp_path, "a1", FOUND | {"accuracy": accuracy}, {})
    kept = kept_diagnosis(tmp_path, "a1")
    assert kept is not None
    assert kept["found"] == FOUND | {"accuracy": 0.75}
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_or_newer_one_counts_as_none(tmp_path: Path) -> None:
    file = keep_diagnosis(tmp_path, "a1", {}, {})
    for text in ("{", "[]", '{"schema": 2}', ""):
        file.write_text(text, "utf-8")
        assert kept_diagnosis(tmp_path, "a1") is None


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in FOUND.items() if name != field}


@pytest.mark.parametrize(
    "found",
    [
        *map(without, FOUND),
        FOUND | {"accuracy": "half"},
        FOUND | {"causes": [{"cause": "rate"}]},
        FOUND | {"causes": [CAUSE | {"gain": None}]},
        FOUND | {"excluded": ["size"]},
        FOUND | {"model": 3},
        {},
    ],
)
def test_one_that_lacks_what_a_report_shows_counts_as_none(
    found: dict[str, Any], tmp_path: Path
) -> None:
    keep_diagnosis(tmp_path, "a1", found, {})
    assert kept_diagnosis(tmp_path, "a1") is None


def test_one_with_more_fields_is_as_good(tmp_path: Path) -> None:
    more = FOUND | {"causes": [CAUSE | {"trust": "high"}], "model": None, "new": 1}
    keep_diagnosis(tmp_path, "a1", more, {})
    kept = kept_diagnosis(tmp_path, "a1")
    assert kept is not None
    assert kept["found"] == more
