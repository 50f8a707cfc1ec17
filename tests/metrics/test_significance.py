"""Tests on paired predictions."""

import numpy as np
import pytest

from tuner.metrics.significance import mcnemar_p


def test_mcnemar_counts_the_images_that_one_alone_knows() -> None:
    one, other = np.zeros(100, bool), np.zeros(100, bool)
    assert mcnemar_p(one, other) == 1.0
    one[:9] = True
    other[9:10] = True
    assert mcnemar_p(one, other) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar_p(other, one) == mcnemar_p(one, other)
    both = np.ones(100, bool)
    assert mcnemar_p(np.append(one, both), np.append(other, both)) == mcnemar_p(one, other)
