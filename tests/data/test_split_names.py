"""Splits by the names that people give them."""

import pytest

from tuner.data.split_names import split_named, split_names


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("train val test", "train validation test"),
        ("training_set test_set", "train test"),
        ("seg_train seg_test", "train test"),
        ("Train_data Valid_data", "train validation"),
        ("train eval", "train validation"),
        ("train validate", "train validation"),
        ("train holdout", "train test"),
        ("train held-out", "train test"),
        ("x_train x_test", "train test"),
        ("train2017 val2017", "train validation"),
        ("TrainImages ValImages", "train validation"),
        ("trainA testA", "train test"),
        ("TRAIN DEV", "train validation"),
        ("train", "train"),
    ],
)
def test_splits_in_many_spellings(names: str, splits: str) -> None:
    expected = list(zip(splits.split(), names.split(), strict=True))
    assert split_names(names.split()) == expected


def test_folders_beside_splits_are_no_splits() -> None:
    assert split_names(["extra", "test", "train"]) == [("test", "test"), ("train", "train")]


@pytest.mark.parametrize(
    "names",
    [
        ("car", "plane", "train"),
        ("train station", "test tube"),
        ("train", "seg_test"),
        ("valid", "invalid"),
        ("test1", "test2"),
        ("traincar", "testcar"),
        (),
    ],
)
def test_names_of_classes(names: tuple[str, ...]) -> None:
    assert split_names(names) == []


def test_one_name() -> None:
    assert split_named("Training Set") == "train"
    assert split_named("val") == "validation"
    assert split_named("train station") is split_named("tset") is split_named("train/test") is None
