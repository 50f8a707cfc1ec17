"""What counts as the same answers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.errors import TuneError
from tuner.export.parity import Parity, Reference, _compare, check_encoded, check_file


@pytest.mark.parametrize(
    ("differing", "largest", "equal"),
    [(0, 0.0, True), (1, 9e-4, True), (2, 9e-4, False), (0, 1.1e-3, False)],
)
def test_one_class_in_a_thousand_images(differing: int, largest: float, equal: bool) -> None:
    assert Parity(1000, differing, 0, largest, 1.0).equal is equal


@pytest.mark.parametrize(
    ("lost", "gained", "worse"),
    [
        (0, 0, False),
        (5, 0, False),  # p = 0.06
        (6, 0, True),  # p = 0.03
        (30, 19, False),  # p = 0.15
        (40, 20, True),
        (0, 50, False),
    ],
)
def test_a_loss_that_chance_does_not_explain(lost: int, gained: int, worse: bool) -> None:
    assert Parity(100, lost + gained, 0, 0.5, 1.0, lost=lost, gained=gained).worse is worse


@pytest.mark.parametrize(
    ("far", "near", "usable"),
    [(0, True, True), (1, True, True), (2, False, True), (100, False, True), (101, False, False)],
)
def test_how_many_answers_fewer_digits_may_change(far: int, near: bool, usable: bool) -> None:
    parity = Parity(1000, 190, 0, 0.5, 1.0, far=far)
    assert (parity.near, parity.usable) == (near, usable)


def test_no_small_set_is_too_small_to_refuse() -> None:
    """Five of ten images lost may be chance (p = 0.06), and is no substitute all the same."""
    parity = Parity(10, 5, 0, 0.9, 1.0, lost=5, far=5)
    assert not parity.worse
    assert not parity.usable


def test_which_differences_cost_accuracy() -> None:
    known = reference([0.6, 0.4], [0.4, 0.6], [0.505, 0.495], [0.7, 0.3])
    found = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [0.6, 0.4]], np.float32)
    parity = _compare(known, np.arange(4), found, np.ones(4))
    assert (parity.differing, parity.lost, parity.gained, parity.far) == (3, 2, 1, 2)
    assert parity.loss.startswith(
        "of 4 images it misclassifies 2 that the network classifies correctly, and the reverse "
        "for 1"
    )


def reference(*rows: list[float]) -> Reference:
    paths = [Path(f"{number}.png") for number in range(len(rows))]
    return Reference(paths, np.zeros(len(rows), int), 2, np.array(rows, np.float32))


def test_ties_are_no_differences() -> None:
    known = reference([0.5, 0.49999], [0.6, 0.4], [0.3, 0.7])
    found = np.array([[0.49999, 0.5], [0.4, 0.6], [0.3, 0.7]], np.float32)
    parity = _compare(known, np.arange(3), found, np.array([0.1, 0.2, 0.9]))
    assert (parity.images, parity.differing, parity.ties) == (3, 1, 1)
    assert parity.largest == pytest.approx(0.2)
    assert parity.milliseconds == pytest.approx(200)
    assert known.accuracy(found, test=False) == 0
    assert known.accuracy(found, test=True) == 0
    assert known.accuracy(known.probabilities, test=False) == 1


@pytest.mark.parametrize("found", [np.full((1, 2), np.nan), np.ones((1, 3))])
def test_what_are_no_probabilities(found: np.ndarray) -> None:
    with pytest.raises(TuneError, match="one probability for each class"):
        _compare(reference([0.5, 0.5]), np.arange(1), found, np.ones(1))


def test_a_file_that_its_runtime_cannot_load(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "model.onnx").write_text("no model")
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    known = Reference([tmp_path / "image.png"], np.zeros(1, int), 1, np.full((1, 2), 0.5))
    with pytest.raises(TuneError, match="the exported onnx file could not be checked: "):
        check_file(known, "onnx", tmp_path / "model.onnx")


def test_no_image_is_for_the_signature_on_bytes(tmp_path: Path) -> None:
    assert check_encoded(reference([0.5, 0.5]), tmp_path) is None
