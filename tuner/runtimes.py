"""An exported file of any format, loaded in its own runtime."""

from pathlib import Path

from tuner.artifacts import FORMATS, check_runtime
from tuner.elsewhere import LOADERS, Predictor
from tuner.errors import ExportError


def load_runtime(name: str, path: Path) -> Predictor:
    """Loads an exported file.

    Args:
        name: its format, a key of `FORMATS`.
        path: the file; of a SavedModel, its folder.

    Returns:
        Function from images of one size, uint8 RGB, (batch, height, width, 3), to class
        probabilities, float32, (batch, classes).

    Raises:
        ExportError: the format's packages are not installed, or the file cannot be loaded.
    """
    check_runtime(name)
    try:
        return LOADERS[name](str(path))
    except Exception as error:  # each runtime raises its own types
        raise ExportError(
            f"{path} is not a file that {FORMATS[name].runtime} can load. Export again."
        ) from error
