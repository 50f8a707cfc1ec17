"""A diagnosis is found again by the images that it was made of."""

from pathlib import Path

from tuner.diagnoses import keep_diagnosis, kept_diagnosis


def test_a_diagnosis_is_found_by_its_images(tmp_path: Path) -> None:
    keep_diagnosis(tmp_path / "cache", "a1", {"accuracy": 0.5}, {"image_size": 64})
    kept = kept_diagnosis(tmp_path / "cache", "a1")
    assert kept is not None
    assert (kept["found"], kept["options"]) == ({"accuracy": 0.5}, {"image_size": 64})
    assert kept_diagnosis(tmp_path / "cache", "b2") is None


def test_a_later_one_takes_its_place(tmp_path: Path) -> None:
    for accuracy in (0.5, 0.75):
        file = keep_diagnosis(tmp_path, "a1", {"accuracy": accuracy}, {})
    kept = kept_diagnosis(tmp_path, "a1")
    assert kept is not None
    assert kept["found"] == {"accuracy": 0.75}
    assert list(file.parent.iterdir()) == [file]


def test_a_damaged_or_newer_one_counts_as_none(tmp_path: Path) -> None:
    file = keep_diagnosis(tmp_path, "a1", {}, {})
    for text in ("{", "[]", '{"schema": 2}', ""):
        file.write_text(text, "utf-8")
        assert kept_diagnosis(tmp_path, "a1") is None
