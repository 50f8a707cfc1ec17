"""Load a dataset from a folder, a table or the built-in digits."""

import tempfile
from pathlib import Path

from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset, SplitOptions, split_survey
from tuner.data.digits import _write_digits
from tuner.data.survey import survey
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, storage_errors


def load_dataset(
    data: Path,
    options: SplitOptions | None = None,
    *,
    cache: Cache | None = None,
    on_progress: Progress = silent,
) -> Dataset:
    """Find, read and split the images of a folder or a table.

    Args:
        data: a folder or a table, as for `tuner.data.survey.survey`.
        options: how they are split.
        cache: keeps what was found in each file.
        on_progress: counts images read.

    Raises:
        DataError: as for `survey`; or a class has too few different images to split.
        CacheError: the cache folder is full, or is not writable.
    """
    return split_survey(survey(data, cache, on_progress), options or SplitOptions())


def digits_dataset(
    cache_dir: Path,
    options: SplitOptions | None = None,
    *,
    on_progress: Progress = silent,
) -> Dataset:
    """The 1,797 handwritten digits that come with scikit-learn, as a demo that needs no download.

    Written once, as class folders of 32 x 32 PNG files, to `cache_dir / "digits"`.

    Args:
        cache_dir: created if it is missing.
        options: how they are split.
        on_progress: counts images read.

    Raises:
        CacheError: `cache_dir` is full, or is not writable.
    """
    folder = cache_dir / "digits"
    if not folder.is_dir():
        with storage_errors(cache_dir):
            cache_dir.mkdir(parents=True, exist_ok=True)
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
    """Find, check and split the images of a search's settings.

    Raises:
        DataError: the folder or its images are unusable.
    """
    options = SplitOptions(
        settings.val_fraction,
        settings.test_fraction,
        settings.split_seed,
        settings.drop_leaks,
        settings.keep_conflicts,
    )
    if settings.data is None:
        return digits_dataset(cache_dir, options, on_progress=on_progress)
    with Cache(cache_dir) as cache:
        return load_dataset(Path(settings.data), options, cache=cache, on_progress=on_progress)
