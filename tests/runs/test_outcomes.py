"""Predictions for validation images, and their round trip through bytes."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import RunError
from tuner.runs.outcomes import Outcomes


def test_outcomes_of_an_image() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [0.0, 1.0, 0.0]], np.float32)
    outcomes = Outcomes.of(probabilities, np.array([0, 1, 1], np.int32))
    assert outcomes.predicted.tolist() == [0, 2, 1]
    assert np.allclose(outcomes.confidence, [0.7, 0.5, 1.0], rtol=1e-3)
    assert np.allclose(outcomes.probability, [0.7, 0.25, 1.0], rtol=1e-3)
    assert outcomes.right(np.array([0, 1, 1])).tolist() == [True, False, True]


@given(st.integers(0, 40), st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_bytes_round_trip(images: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    outcomes = Outcomes.of(
        random.dirichlet(np.full(classes, 0.1), images).reshape(images, classes),
        random.integers(0, classes, images),
    )
    again = Outcomes.from_bytes(outcomes.to_bytes())
    for name in ("predicted", "confidence", "probability"):
        one, other = getattr(outcomes, name), getattr(again, name)
        assert (one.dtype, one.tolist()) == (other.dtype, other.tolist())
    assert again.to_bytes() == outcomes.to_bytes()


def test_outcomes_take_a_few_bytes_an_image() -> None:
    random = np.random.default_rng(0)
    outcomes = Outcomes.of(random.dirichlet(np.full(10, 0.05), 1000), random.integers(0, 10, 1000))
    assert len(outcomes.to_bytes()) < 6 * 1000


def test_classes_beyond_two_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 65536 classes"):
        Outcomes.of(np.zeros((1, 2**16 + 1), np.float16), np.zeros(1, np.int32))


def test_damaged_bytes() -> None:
    good = Outcomes.of(np.full((2, 2), 0.5), np.zeros(2, np.int32)).to_bytes()
    for bad in (b"", good[:-1], b"no" + good, zlib.compress(b"seven b")):
        with pytest.raises(RunError, match="are damaged"):
            Outcomes.from_bytes(bad)
