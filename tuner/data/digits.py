"""scikit-learn's digits as a folder of images: the demo dataset."""

from pathlib import Path

import numpy as np
from PIL import Image


def _write_digits(folder: Path) -> None:
    """Write PNG files: grey values 0 to 16 scaled to 0 to 255, each pixel as a square of 4 x 4."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    for number, (pixels, label) in enumerate(zip(grey, labels, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Uncompressed: compressed bytes differ between versions of zlib, and the split with them.
        image = Image.fromarray(pixels.repeat(4, axis=0).repeat(4, axis=1))
        image.save(path, compress_level=0)
