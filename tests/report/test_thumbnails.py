"""Pictures and heat maps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data.dataset import ImageFile
from tuner.errors import DataError
from tuner.report import thumbnails


def test_heat_is_brightest_where_it_is_hottest() -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    shown = thumbnails.overlay(grey, np.array([[0.0, 0.0], [0.0, 1.0]]))
    brightness = shown.astype(int).sum(axis=-1)
    assert brightness[35, 35] > brightness[5, 5] + 100


def test_a_picture_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    file = ImageFile("a.png", "cat", "train", "0" * 64)
    with pytest.raises(DataError, match=r"a.png can no longer be read"):
        thumbnails.picture(file, tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png has changed since the search"):
        thumbnails.picture(file, tmp_path)
