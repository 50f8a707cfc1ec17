"""What many tests need and what is slow to make: a backbone, images, the optional real ones."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import keras
    from playwright.sync_api import Browser

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

IMAGE_SIZE = 32
_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def random_backbone() -> "keras.Model":
    """A backbone of 32 px with random weights, for tests that change nothing in it."""
    from search_spaces.backbone import build_backbone

    return build_backbone(IMAGE_SIZE, "none")


@pytest.fixture(scope="session")
def random_weights(random_backbone: "keras.Model") -> list[np.ndarray]:
    """Its weights as built."""
    return random_backbone.get_weights()


@pytest.fixture(scope="session")
def backbone_weights(random_weights: list[np.ndarray]) -> list[np.ndarray]:
    """The same with a BatchNorm that does something: each array is its own."""
    rng = np.random.default_rng(0)
    return [
        array if array.ndim == 4 else (array + rng.uniform(0, 0.2, array.shape)).astype("float32")
        for array in random_weights
    ]


@pytest.fixture
def unweighted(random_backbone: "keras.Model") -> Iterator["keras.Model"]:
    """The same backbone, frozen; a test may unfreeze it, but leaves its weights alone."""
    from search_spaces.backbone import unfreeze

    unfreeze(random_backbone, 0)
    yield random_backbone
    unfreeze(random_backbone, 0)


@pytest.fixture
def backbone(
    unweighted: "keras.Model", random_weights: list[np.ndarray], backbone_weights: list[np.ndarray]
) -> Iterator["keras.Model"]:
    """The same backbone, frozen, with `backbone_weights`; a test may train it."""
    unweighted.set_weights(backbone_weights)
    yield unweighted
    unweighted.set_weights(random_weights)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Eight images of noise, RGB values 0 to 255, float32, shape (8, 32, 32, 3)."""
    shape = (8, IMAGE_SIZE, IMAGE_SIZE, 3)
    return np.random.default_rng(1).integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as images: float32 (rows, 32, 32, 3), and their labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    small = x.reshape(-1, 8, 8, 1).astype("float32") * (255 / 16)
    return small.repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3), y


@pytest.fixture(scope="session")
def pretrained_weights() -> Path:
    """A file of weights that were trained on drawings; the test is skipped where there is none."""
    return _optional(_SHARED / "weights" / "resnet50-clipart64.weights.h5")


@pytest.fixture(scope="session")
def emoji_folder() -> Path:
    """A folder of 8 class folders of drawings; the test is skipped where there is none."""
    return _optional(_SHARED / "datasets" / "emoji-google")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The system's Chromium, for `browser.watched_page`; skipped where there is none.

    Not for longer than a module: while it is open, its event loop runs in this thread.
    """
    from tests.support.browser import chromium

    with chromium() as opened:
        yield opened


def _optional(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the project")
    return path
