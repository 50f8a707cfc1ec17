"""Variants that were made before the split are recognised by name."""

import pytest

from tuner.data.variants import families, groups_by, original_name
from tuner.errors import SettingsError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/IMG_1.jpg", "IMG_1"),
        ("a/IMG_1_flip.jpg", "IMG_1"),
        ("a/IMG_1_rot-10.jpg", "IMG_1"),
        ("a/IMG_1_rot_90_flip.png", "IMG_1"),
        ("a/IMG_1-zoomed.jpg", "IMG_1"),
        ("a/IMG_1 (2).jpg", "IMG_1 (2)"),
        ("a/IMG_1_bright1.2.jpg", "IMG_1"),
        ("a/flipped_IMG_1.jpg", "IMG_1"),
        ("a/IMG_1_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "IMG_1"),
        ("a/cat_original_IMG_1.jpg_01234567-89ab-cdef-0123-456789abcdef.jpg", "IMG_1"),
        ("a/aug_3_8123.jpeg", "aug_3"),
        ("a/IMG_20230412_143355.jpg", "IMG_20230412_143355"),
        ("a/flip.jpg", "flip"),
        ("a/scoop.jpg", "scoop"),
    ],
)
def test_the_name_of_the_original(path: str, expected: str) -> None:
    assert original_name(path) == expected


def test_families_are_of_one_class_and_have_a_variant() -> None:
    paths = ["a/1.jpg", "a/1_flip.jpg", "b/1.jpg", "c/2.jpg", "d/2.jpg", "a/3_flip.jpg"]
    assert families(paths, ["a", "a", "b", "c", "c", "a"]) == [[0, 1]]


def test_groups_by_a_pattern() -> None:
    paths = ["a/p1_x.jpg", "a/p1_y.jpg", "b/p2_x.jpg", "b/other.jpg"]
    assert groups_by(r"(p\d)_", paths) == ["p1", "p1", "p2", None]
    assert groups_by(r"p\d", paths) == ["p1", "p1", "p2", None]
    assert groups_by("variants", ["a/1.jpg", "a/1_flip.jpg", "b/1.jpg"]) == ["a/1", "a/1", "b/1"]
    with pytest.raises(SettingsError, match="or a regular expression"):
        groups_by("(", paths)
