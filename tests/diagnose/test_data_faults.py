"""The effects of leaks, conflicting labels and unequal classes on accuracy."""

from pathlib import Path

import numpy as np
import pytest

from tuner.data.dataset import Dataset, ImageFile
from tuner.diagnose.data_faults import (
    conflict_finding,
    enough_without,
    imbalance_finding,
    leak_finding,
    leaked,
)
from tuner.diagnose.finding import judge


def dataset(*shared: int, conflicts: tuple[tuple[str, ...], ...] = ()) -> Dataset:
    """Ten validation images, eight of them of class a; some have a copy in training."""
    files = [ImageFile(f"v{n}.jpg", "ab"[n >= 8], "validation", f"{n}", f"g{n}") for n in range(10)]
    files += [
        ImageFile(f"t{n}.jpg", "ab"[n % 2], "train", f"t{n}", f"g{n if n in shared else n + 50}")
        for n in range(4)
    ]
    return Dataset(Path(), ("a", "b"), tuple(files), conflicts=conflicts)


def larger(shared: int, images: int = 100) -> Dataset:
    """A hundred validation images of two classes, the first of which are in training too."""
    files = [
        ImageFile(f"{split}{n}.jpg", "ab"[n % 2], split, f"{split}{n:03}", f"g{n}")
        for split, count in (("validation", images), ("train", shared))
        for n in range(count)
    ]
    return Dataset(Path(), ("a", "b"), tuple(files))


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
    assert "tune search DATA --drop-leaks" in str(finding.remedy)
    assert "overstated" in finding.sentence


def test_a_leak_without_effect_overstates_nothing() -> None:
    judged = judge([leak_finding(dataset(0, 2), right(), right())])[0]
    assert not judged.is_cause
    assert judged.sentence.startswith(
        "2 of 10 validation images are in training too, with no measurable"
    )


def test_a_leak_that_leaves_nothing_to_measure_with_is_a_cause() -> None:
    judged = judge([leak_finding(dataset(*range(4)), right(9), None)])[0]
    assert judged.is_cause
    assert judged.certainty == "counted"
    assert judged.effect == "overstated by at most 10.0 points"
    assert "is no estimate for images that were not trained on" in judged.sentence
    assert "split" in str(judged.remedy)
    total = leak_finding(larger(100), np.ones(100, bool), None)
    assert judge([total])[0].is_cause
    assert total.gain == pytest.approx(0.5)


def test_where_no_head_can_be_trained_without_a_leak_the_images_are_compared() -> None:
    shared = np.arange(100) < 60
    judged = judge([leak_finding(larger(60), shared | (np.arange(100) % 2 == 0), None)])[0]
    assert judged.is_cause
    assert judged.gain == pytest.approx(0.8 - 0.5)
    assert judged.effect == "overstated by 30.0 points"
    assert "80.0 % on all, and 50.0 % on the others" in judged.sentence
    judged = judge([leak_finding(larger(60), np.arange(100) % 2 == 0, None)])[0]
    assert not judged.is_cause
    assert "no measurable effect" in judged.sentence


def test_heads_are_trained_without_a_leak_where_every_class_and_half_of_the_images_remain() -> None:
    labels = np.arange(10) % 2
    assert enough_without(np.arange(10) < 5, labels)
    assert not enough_without(np.arange(10) < 4, labels)
    assert not enough_without(np.zeros(10, bool), labels)
    assert not enough_without(labels == 0, labels)


def test_without_a_leak_there_is_nothing_to_remedy() -> None:
    finding = leak_finding(dataset(), right(2), right(2))
    assert (finding.gain, finding.p_value, bool(finding.remedy)) == (0.0, None, False)


def test_images_with_two_labels_are_counted_and_cost_nothing() -> None:
    finding = conflict_finding(dataset(conflicts=(("x.jpg", "y.jpg"),)))
    assert finding.gain == 0
    assert "x.jpg and y.jpg" in finding.sentence
    assert "tune data --json" in finding.sentence
    assert "they are left out, here and by tune search" in finding.sentence
    assert "two labels" in conflict_finding(dataset()).sentence


def test_images_with_two_labels_may_be_trained_on() -> None:
    finding = conflict_finding(dataset(conflicts=(("t0.jpg", "t1.jpg"), ("t2.jpg", "x.jpg"))))
    assert "left out" not in finding.sentence
    assert "4 images" in finding.sentence
    assert "3 of them are trained on, because of --keep-conflicts." in finding.sentence
    assert finding.numbers["trained_on"] == 3


def test_accuracy_is_compared_with_the_most_frequent_class() -> None:
    finding = imbalance_finding(dataset(), right(9))
    assert finding.numbers["balanced_accuracy"] == pytest.approx(0.75)
    assert finding.numbers["majority_rate"] == pytest.approx(0.8)
    assert (finding.gain, finding.p_value) == (0.0, None)
    assert "--class-weights" not in finding.sentence


def uneven(rate: float) -> Dataset:
    files = tuple(
        ImageFile(f"{split}{n}.jpg", "ab"[n >= 200 * rate], split, f"{split}{n:03}")
        for split in ("train", "validation")
        for n in range(200)
    )
    return Dataset(Path(), ("a", "b"), files)


def test_accuracy_of_the_most_frequent_class_alone_is_a_cause() -> None:
    three_quarters = np.arange(200) < 152
    judged = judge([imbalance_finding(uneven(0.75), three_quarters)])[0]
    assert judged.is_cause
    assert "hardly more than the 75.0 % of always" in judged.sentence
    assert "--class-weights balanced --objective val_balanced_accuracy" in str(judged.remedy)
    assert (judged.effect, judged.certainty) == ("at most 25.0 points", "")


def test_what_is_better_than_the_most_frequent_class_is_healthy() -> None:
    assert imbalance_finding(uneven(0.75), np.arange(200) < 190).gain == 0
    # Of equal classes nothing is more frequent: weights would change nothing.
    assert imbalance_finding(uneven(0.5), np.arange(200) < 100).gain == 0
    tiny = imbalance_finding(dataset(), right(9))  # 9 of 10 against 8 of 10
    assert tiny.gain == 0


def test_very_unequal_classes_name_the_options_for_them() -> None:
    few = dataset()
    more = tuple(ImageFile(f"m{n}.jpg", "a", "train", f"m{n}") for n in range(20))
    finding = imbalance_finding(Dataset(Path(), ("a", "b"), few.files + more), right())
    assert "--class-weights balanced" in finding.sentence
