"""What is kept of the test images: names instead of numbers, and JSON all through."""

import json
from pathlib import Path

import numpy as np

from tuner.dataset import Dataset, ImageFile
from tuner.tested import details_of


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
