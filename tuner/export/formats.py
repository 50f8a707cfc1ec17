"""The export formats: their files, and the packages that they need."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import ExportError


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        file: its file in the export's folder; a folder for SavedModel.
        runtime: the package that a user installs to run it.
        packages: modules needed to vet and run it, besides TensorFlow.
        converters: modules needed to write it, besides. All come with the extra `export`.
    """

    file: str
    runtime: str
    packages: tuple[str, ...] = ()
    converters: tuple[str, ...] = ()


FORMATS = {
    "keras": Format("model.keras", "keras"),
    "savedmodel": Format("savedmodel", "tensorflow"),
    "onnx": Format("model.onnx", "onnxruntime", ("onnx", "onnxruntime"), ("tf2onnx",)),
    "litert": Format("model.tflite", "ai-edge-litert", ("ai_edge_litert",)),
}
# Number formats of the LiteRT file's weights and activations, besides float32.
QUANTIZATIONS = ("float16", "int8")


def check_formats(formats: Sequence[str], quantize: str | None = None) -> None:
    """Raise ExportError unless those formats exist and their packages are installed."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ExportError(
            f"the format must be one or more of {', '.join(FORMATS)}, but is "
            f"{', '.join(unknown) or 'none'}."
        )
    if quantize is not None and quantize not in QUANTIZATIONS:
        raise ExportError(
            f"--quantize must be one of {', '.join(QUANTIZATIONS)}, but is {quantize}."
        )
    if quantize is not None and "litert" not in formats:
        raise ExportError("--quantize is for the LiteRT file. Add --format litert.")
    for name in formats:
        _check_installed(*FORMATS[name].packages, *FORMATS[name].converters)


def check_runtime(name: str) -> None:
    """Raise ExportError unless the packages that run a format are installed."""
    _check_installed(*FORMATS[name].packages)


def _check_installed(*packages: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ExportError(
            f"{', '.join(missing)} is not installed, which ONNX and LiteRT need. Install it with: "
            "pip install 'tune-resnet50[export]'"
        )
