"""Load a dataset from a folder, a table or the built-in digits."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset, SplitOptions, split_survey
from tuner.data.listing import USUAL, Layout
from tuner.data.survey import survey
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, storage_errors


def load_dataset(
    data: Path,
    options: SplitOptions | None = None,
    *,
    layout: Layout = USUAL,
    cache: Cache | None = None,
    on_progress: Progress = silent,
) -> Dataset:
    """Find, read and split the images of a folder or a table.

    Raises:
        DataError: as for `survey`; or a class has too few different images to split.
        CacheError: the cache folder is full, or is not writable.
    """
    options = options or SplitOptions()
    found = survey(data, cache, on_progress, layout, near_duplicates=options.near_duplicates)
    return split_survey(found, options)


def digits_dataset(
    cache_dir: Path,
    options: SplitOptions | None = None,
    *,
    on_progress: Progress = silent,
) -> Dataset:
    """The 1,797 handwritten digits of scikit-learn, written once to `cache_dir / "digits"`."""
    folder, cache = cache_dir / "digits", Cache(cache_dir)
    if not folder.is_dir():
        with storage_errors(cache_dir):
            cache.mark()
            with tempfile.TemporaryDirectory(dir=cache_dir, prefix="digits.") as temporary:
                written = Path(temporary, "digits")
                _write_digits(written)
                try:
                    written.rename(folder)
                except OSError:
                    if not folder.is_dir():  # else another process was faster, with the same files
                        raise
    return load_dataset(folder, options, on_progress=on_progress)


def scan(settings: SearchSettings, cache_dir: Path, on_progress: Progress = silent) -> Dataset:
    """Find, check and split the images of a search's settings."""
    options = SplitOptions(
        settings.val_fraction,
        settings.test_fraction,
        settings.split_seed,
        settings.drop_leaks,
        settings.keep_conflicts,
        settings.near_duplicates,
    )
    if settings.data is None:
        return digits_dataset(cache_dir, options, on_progress=on_progress)
    layout = Layout(
        settings.class_level,
        settings.path_column,
        settings.label_column,
        settings.split_column,
        settings.group_by,
    )
    with Cache(cache_dir) as cache:
        data = Path(settings.data)
        return load_dataset(data, options, layout=layout, cache=cache, on_progress=on_progress)


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
