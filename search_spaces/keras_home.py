"""The folder of keras.json and of downloaded weights."""

import os
from pathlib import Path


def keras_home() -> Path:
    """Keras's own folder, as `keras.src.backend.config` finds it when it is imported."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")
