"""What is kept of the test images: names instead of numbers, JSON all through, and what leaked."""

import json
from pathlib import Path

import numpy as np

from tuner.data.dataset import Dataset, ImageFile
from tuner.evaluate.held_out import details_of
from tuner.evaluate.leaked_images import Leaked, leaked


def test_details_are_json_with_names() -> None:
    labels = ("cat", "cat", "dog", "dog", "dog")
    files = [ImageFile(f"{n}.png", name, "test", f"{n:02}") for n, name in enumerate(labels)]
    dataset = Dataset(Path(), ("cat", "dog"), tuple(files))
    cat = np.array([0.9, 0.2, 0.7, 0.4, 0.99])
    details = json.loads(json.dumps(details_of(np.stack([cat, 1 - cat], axis=1), dataset)))
    assert details["scores"]["accuracy"] == 0.4
    assert details["confusions"] == [[0, 0, 1], [0, 1, 1], [1, 0, 2], [1, 1, 1]]
    assert [(row["class"], row["right"]) for row in details["per_class"]] == [
        ("cat", 1),
        ("dog", 1),
    ]
    assert [row["path"] for row in details["mistakes"]] == ["4.png", "1.png", "2.png"]
    surest = details["mistakes"][0]
    assert (surest["label"], surest["predicted"]) == ("dog", "cat")
    assert surest["confidence"] + surest["probability"] == 1
    assert sum(row["images"] for row in details["reliability"]) == 5
    for name, (low, high) in details["intervals"].items():
        assert low <= details["scores"][name] <= high


def leaky(*given: tuple[str, str, str]) -> Dataset:
    """Files of (split, content, group) in one class."""
    files = [ImageFile(f"{n}.png", "a", *row) for n, row in enumerate(given)]
    return Dataset(Path(), ("a",), tuple(files))


def test_what_leaks_into_the_test_is_counted() -> None:
    dataset = leaky(
        ("train", "t0", "g0"), ("train", "t1", "t1"), ("validation", "v0", "g0"),
        ("validation", "v1", ""), ("test", "s0", "g0"), ("test", "v1", ""), ("test", "s2", "s2"),
        ("test", "s3", ""), ("test", "t1", "other"),
    )  # fmt: skip
    found = leaked(dataset, {"5.png", "7.png"})
    assert (found.images, found.of, found.training, found.validation) == (3, 5, 2, 2)
    assert found.accuracy == 0.5  # of the two that are new, one is named wrongly
    low, high = found.interval
    assert low < 0.5 < high
    assert "have a copy, or one of their group, among the training images (2) and the" in (
        found.sentence
    )
    assert "The accuracy on the other 2 is 50.0 %" in found.sentence
    assert leaked(dataset).accuracy is None
    assert "new images are named worse" in leaked(dataset).sentence
    assert json.loads(json.dumps(found.to_json()))["validation"] == 2


def test_a_test_of_nothing_new_says_nothing() -> None:
    found = leaked(leaky(("train", "a", ""), ("validation", "b", ""), ("test", "a", "")), set())
    assert found == Leaked(1, 1, 1)
    assert found.sentence == (
        "1 of the 1 test images has a copy, or one of its group, among the training images (1): "
        "the test accuracy says nothing of new images."
    )


def test_images_without_a_group_are_not_of_one() -> None:
    found = leaked(leaky(("train", "a", ""), ("validation", "b", ""), ("test", "c", "")), set())
    assert (found.images, found.sentence, found.accuracy) == (0, None, 1.0)
