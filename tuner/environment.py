"""What TensorFlow runs on: the one backend that is supported, and the device."""

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tuner.errors import SettingsError

_SUPPORTED = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}


def check_keras_config() -> None:
    """Refuses a Keras that is set to anything but what this program is tested with.

    Call it before Keras is imported.

    Raises:
        SettingsError: KERAS_BACKEND or keras.json names another backend, image format or floatx.
    """
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    configured = _read(home / "keras.json")
    if "KERAS_BACKEND" in os.environ:
        configured["backend"] = os.environ["KERAS_BACKEND"]
    for name, supported in _SUPPORTED.items():
        value = configured.get(name, supported)
        if value != supported:
            raise SettingsError(
                f"Keras is set to {name}={value}, but only {supported} is supported. "
                f"Change KERAS_BACKEND or {home / 'keras.json'}."
            )


def prepare_device() -> str:
    """Lets a GPU's memory grow as it is needed, and names what will be computed on."""
    tf = _import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus:
        return f"CPU ({os.cpu_count()} cores)"
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus
    ]
    return f"GPU ({', '.join(names)})"


def _import_tensorflow() -> Any:
    """Imports TensorFlow without what its C++ part prints before logging can be configured."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow as tf
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    return tf


def versions() -> dict[str, str]:
    """Versions of this program, Keras and TensorFlow, by distribution; imports none of them."""
    homes = metadata.packages_distributions()
    packages = {"tune-resnet50": "tuner", "keras": "keras", "tensorflow": "tensorflow"}
    return {
        name: metadata.version(homes[package][0])
        for name, package in packages.items()
        if package in homes
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        configured = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return configured if isinstance(configured, dict) else {}
