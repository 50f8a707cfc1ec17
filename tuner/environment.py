"""Keras configuration, device, memory, and versions."""

import contextlib
import ctypes
import gc
import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from search_spaces.keras_home import keras_home
from tuner.errors import SettingsError

_SUPPORTED = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}

# For other programs: this one imports Keras 3 by its name, and counts its epochs itself.
_UNSET = ("TF_USE_LEGACY_KERAS", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


def check_keras_config() -> None:
    """Refuse another backend, image format or floatx in keras.json or KERAS_BACKEND.

    For this process, variables that would choose another Keras or shorten every training are unset,
    and a user without a home gets one in the temporary folder: libraries would write to "~" in the
    current one. Call it before Keras is imported.
    """
    for name in _UNSET:
        os.environ.pop(name, None)
    if not os.environ.get("KERAS_HOME"):  # empty, it would be the current folder
        os.environ.pop("KERAS_HOME", None)
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - a user without a home, as in a container
        home = Path(tempfile.gettempdir(), f"home-{os.getuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        os.environ["HOME"] = str(home)
    file = keras_home() / "keras.json"
    sources = dict.fromkeys(_SUPPORTED, str(file))
    configured = _read(file)
    if os.environ.get("KERAS_BACKEND"):
        sources["backend"] = "the environment variable KERAS_BACKEND"
        configured["backend"] = os.environ["KERAS_BACKEND"]
    for name, supported in _SUPPORTED.items():
        value = configured.get(name, supported)
        if value != supported:
            raise SettingsError(
                f"Keras is set to {name} {value}, but only {supported} is supported. "
                f"Change {sources[name]}."
            )


def release_memory() -> None:
    """Return memory that Python and the C library hold but do not use to the system.

    glibc's heap becomes fragmented by large blocks: without this, 60 trials with heads of 2,048
    units took 1 GB more (benchmarks/memory.py).
    """
    gc.collect()  # a dropped network is kept by reference cycles
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def prepare_device() -> str:
    """Set up TensorFlow's device and return its name, such as "CPU (8 cores)".

    A GPU's memory grows as needed, and float32 is computed as float32, without TensorFloat-32.
    """
    tf = _import_tensorflow()
    # TensorFloat-32 rounds factors to 10 bits of mantissa: an export on a CPU would not give the
    # probabilities of the network that was trained and scored.
    # https://www.tensorflow.org/api_docs/python/tf/config/experimental/enable_tensor_float_32_execution
    tf.config.experimental.enable_tensor_float_32_execution(False)
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
    """Import TensorFlow without the messages that its C++ part prints before logging is set up."""
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
    tf.get_logger().setLevel("ERROR")  # it warns of retracing, which is meant here
    return tf


def versions() -> dict[str, str]:
    """Versions of this program, Keras and TensorFlow by distribution, without importing them.

    Distributions that are not installed are left out.
    """
    return _installed("tune-resnet50", "keras", "tensorflow", "tensorflow-cpu")


def all_versions() -> dict[str, str]:
    """`versions`, and those of Python, Keras Tuner and NumPy."""
    return versions() | _installed("keras-tuner", "numpy") | {"python": platform.python_version()}


def _installed(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def processor() -> str:
    """The CPU's vector extensions, which decide a result's last bits; or else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith(("flags", "Features")):
                return " ".join(sorted(line.split(":", 1)[1].split()))
    return platform.machine()


def _read(path: Path) -> dict[str, Any]:
    try:
        configured = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return configured if isinstance(configured, dict) else {}
