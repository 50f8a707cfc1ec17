"""What leaks, conflicts and uneven classes do to accuracy is counted."""

from pathlib import Path

import numpy as np
import pytest

from tuner.dataset import Dataset, ImageFile
from tuner.leakage import conflict_finding, imbalance_finding, leak_finding
from tuner.survey import Leak


def dataset(leaks: tuple[Leak, ...] = (), conflicts: tuple[tuple[str, ...], ...] = ()) -> Dataset:
    """Ten validation images, eight of them of class a; their content sorts as their numbers."""
    files = [ImageFile(f"v{n}.jpg", "a" if n < 8 else "b", "validation", f"{n}") for n in range(10)]
    files += [ImageFile(f"t{n}.jpg", "ab"[n % 2], "train", f"t{n}") for n in range(4)]
    return Dataset(Path(), ("a", "b"), tuple(files), conflicts=conflicts, leaks=leaks)


def right(*wrong: int) -> np.ndarray:
    return np.array([number not in wrong for number in range(10)])


def test_accuracy_owed_to_a_leak_is_what_the_other_images_do_not_reach() -> None:
    leaks = (
        Leak("t0.jpg", "train", "v0.jpg", "validation"),
        Leak("t1.jpg", "train", "v1.jpg", "validation"),
    )
    finding = leak_finding(dataset(leaks), right(2, 3, 4, 5))
    assert finding.gain == pytest.approx(6 / 10 - 4 / 8)
    assert finding.p_value is None
    assert finding.numbers["leaked"] == 2
    assert "--drop-leaks" in finding.remedy


def test_leaks_into_the_test_are_not_those_of_validation() -> None:
    leaks = (
        Leak("t0.jpg", "train", "x.jpg", "test"),
        Leak("v0.jpg", "validation", "x.jpg", "test"),
    )
    finding = leak_finding(dataset(leaks), right(2))
    assert (finding.gain, finding.remedy) == (0.0, "")


def test_seeds_count_alike() -> None:
    leaks = (Leak("t0.jpg", "train", "v0.jpg", "validation"),)
    finding = leak_finding(dataset(leaks), np.stack([right(1, 2, 3), right()]))
    assert finding.gain == pytest.approx(0.85 - (9 - 1.5) / 9)


def test_conflicts_cost_at_most_half_of_their_images() -> None:
    finding = conflict_finding(dataset(conflicts=(("x.jpg", "y.jpg"),)))
    assert finding.gain == pytest.approx(1 / 16)
    assert "x.jpg and y.jpg" in finding.sentence
    assert conflict_finding(dataset()).gain == 0


def test_uneven_classes_are_told_where_the_small_ones_are_missed() -> None:
    even = imbalance_finding(dataset(), right(8, 9))
    assert even.numbers["balanced_accuracy"] == pytest.approx(0.5)
    assert even.numbers["majority_rate"] == pytest.approx(0.8)
    assert even.gain == 0  # 8 to 2 is less than 5 to 1
    files = tuple(file for file in dataset().files if file.path != "v9.jpg")
    uneven = imbalance_finding(Dataset(Path(), ("a", "b"), files), right(8)[:9])
    assert uneven.gain == pytest.approx(8 / 9 - 0.5)
    assert "--class-weights balanced" in uneven.remedy
