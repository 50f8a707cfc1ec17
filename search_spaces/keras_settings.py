"""Settings of Keras that hold for the whole process, and that a user's code may change."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class KerasSettings:
    """What decides the numbers of every network that is built; the defaults are those of ours.

    The policy may be a name or an object.
    """

    dtype_policy: Any = "float32"
    floatx: str = "float32"
    image_data_format: str = "channels_last"
    eager_functions: bool = False
    tensor_float_32: bool = False

    @classmethod
    def current(cls) -> "KerasSettings":
        """Those of the process."""
        return cls(
            keras.config.dtype_policy(),
            keras.config.floatx(),
            keras.config.image_data_format(),
            _tensorflow().config.functions_run_eagerly(),
            _tensorflow().config.experimental.tensor_float_32_execution_enabled(),
        )

    def differences(self, other: "KerasSettings") -> str:
        """Those that differ, such as "dtype_policy mixed_float16"."""
        theirs = other.names()
        return ", ".join(f"{n} {value}" for n, value in self.names().items() if value != theirs[n])

    def names(self) -> dict[str, str]:
        """Each setting as text."""
        return {name: str(getattr(value, "name", value)) for name, value in vars(self).items()}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold these for a `with` block or a decorated function; then put back what was before."""
        before = KerasSettings.current()
        self.set()
        try:
            yield
        finally:
            before.set()

    def set(self) -> None:
        """Set these for the process."""
        keras.config.set_floatx(self.floatx)
        keras.config.set_dtype_policy(self.dtype_policy)
        keras.config.set_image_data_format(self.image_data_format)
        _tensorflow().config.run_functions_eagerly(self.eager_functions)
        _tensorflow().config.experimental.enable_tensor_float_32_execution(self.tensor_float_32)


in_float32 = KerasSettings().held  # as a decorator: @in_float32()


def has_eager_tensors() -> bool:
    """Whether TensorFlow computes at once, not in a graph as in version 1."""
    return bool(_tensorflow().executing_eagerly())


def _tensorflow() -> Any:
    return sys.modules["tensorflow"]  # Keras has imported it
