"""What leaks, conflicts and uneven classes do to accuracy is counted."""

from pathlib import Path

import numpy as np
import pytest

from tuner.dataset import Dataset, ImageFile
from tuner.findings import judged
from tuner.leakage import conflict_finding, imbalance_finding, leak_finding, leaked


def dataset(*shared: int, conflicts: tuple[tuple[str, ...], ...] = ()) -> Dataset:
    """Ten validation images, eight of them of class a; some have a copy in training."""
    files = [ImageFile(f"v{n}.jpg", "ab"[n >= 8], "validation", f"{n}", f"g{n}") for n in range(10)]
    files += [
        ImageFile(f"t{n}.jpg", "ab"[n % 2], "train", f"t{n}", f"g{n if n in shared else n + 50}")
        for n in range(4)
    ]
    return Dataset(Path(), ("a", "b"), tuple(files), conflicts=conflicts)


def right(*wrong: int) -> np.ndarray:
    return np.array([number not in wrong for number in range(10)])


def test_images_that_share_a_group_are_leaked() -> None:
    training, validation = leaked(dataset(0, 2))
    assert training.tolist() == [True, False, True, False]
    assert np.flatnonzero(validation).tolist() == [0, 2]


def test_accuracy_owed_to_a_leak_is_what_heads_without_it_do_not_reach() -> None:
    finding = leak_finding(dataset(0, 2), right(), right(0, 2, 3, 4, 5, 6, 7))
    assert finding.gain == pytest.approx(0.7)
    assert finding.p_value is not None
    assert finding.p_value < 0.02
    assert finding.numbers["leaked"] == 2
    assert "tune search DATA --drop-leaks" in finding.remedy
    assert "overstated" in finding.sentence


def test_a_leak_that_accuracy_owes_nothing_is_not_called_overstatement() -> None:
    told, is_cause = judged([leak_finding(dataset(0, 2), right(), right())])[0]
    assert not is_cause
    assert told.sentence.startswith("2 of 10 validation images stand in training too, but")


def test_without_a_leak_there_is_nothing_to_remedy() -> None:
    finding = leak_finding(dataset(), right(2), right(2))
    assert (finding.gain, finding.p_value, finding.remedy) == (0.0, None, "")


def test_pictures_under_two_labels_are_told_and_cost_nothing_here() -> None:
    finding = conflict_finding(dataset(conflicts=(("x.jpg", "y.jpg"),)))
    assert finding.gain == 0
    assert "x.jpg and y.jpg" in finding.sentence
    assert "tune data DATA --json" in finding.sentence
    assert "two labels" in conflict_finding(dataset()).sentence


def test_accuracy_stands_beside_the_most_frequent_class() -> None:
    finding = imbalance_finding(dataset(), right(8, 9))
    assert finding.numbers["balanced_accuracy"] == pytest.approx(0.5)
    assert finding.numbers["majority_rate"] == pytest.approx(0.8)
    assert (finding.gain, finding.p_value) == (0.0, None)
    assert "--class-weights" not in finding.sentence


def test_very_unequal_classes_are_told_what_is_meant_for_them() -> None:
    few = dataset()
    more = tuple(ImageFile(f"m{n}.jpg", "a", "train", f"m{n}") for n in range(20))
    finding = imbalance_finding(Dataset(Path(), ("a", "b"), few.files + more), right())
    assert "--class-weights balanced" in finding.sentence
