"""Convert a .keras file to other formats, in another process.

Converters print at will, leak memory and may crash. `python -m tuner.export.convert JOB`, with a
JSON file, is that process.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import TuneError
from tuner.export.formats import FORMATS
from tuner.untrusted.model_process import last_line, runtime_environment

# Operations of the resize and the softmax. In 8 bits, their values (thousands, or shares of one)
# would turn images of different sizes to noise. Networks use other operations.
_IN_FLOAT = (
    "ABS", "BATCH_MATMUL", "BROADCAST_TO", "CUMSUM", "DIV", "EXPAND_DIMS", "FLOOR", "GATHER",
    "MAXIMUM", "MINIMUM", "MUL", "RESHAPE", "SELECT_V2", "SOFTMAX", "STRIDED_SLICE", "SUB", "SUM",
    "TRANSPOSE",
)  # fmt: skip


def convert(
    model: Path,
    folder: Path,
    formats: Sequence[str],
    quantize: str | None = None,
    examples: np.ndarray | None = None,
) -> None:
    """Write a .keras file in other formats.

    Args:
        model: from RGB values, (batch, any height, any width, 3), to probabilities.
        folder: gets a file for each format, or a folder for SavedModel.
        formats: of `FORMATS`; keras is skipped.
        quantize: of `QUANTIZATIONS`: the LiteRT file's number format; None for float32.
        examples: for int8, training images at the network's size, uint8, (images, size, size, 3).

    Raises:
        TuneError: a converter failed; the message ends with its last line.
        OSError: the disk is full.
    """
    if set(formats) <= {"keras"}:
        return
    with tempfile.TemporaryDirectory(prefix=".conversion.", dir=folder) as temporary:
        job = {
            "model": str(model), "folder": str(folder), "formats": list(formats),
            "quantize": quantize, "temporary": temporary,
        }  # fmt: skip
        if examples is not None:
            np.save(Path(temporary, "examples.npy"), examples)
        Path(temporary, "job.json").write_text(json.dumps(job), "utf-8")
        finished = subprocess.run(
            # -P: nothing in the working folder is imported.
            [sys.executable, "-P", "-m", "tuner.export.convert", Path(temporary, "job.json")],
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(),
        )
    if finished.returncode and os.strerror(errno.ENOSPC) in finished.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if finished.returncode:
        raise TuneError(f"the model could not be converted: {last_line(finished.stderr)}")


def _environment() -> dict[str, str]:
    """The environment of a process that finds this package."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | runtime_environment() | {"PYTHONPATH": path}


def _main(job_file: str) -> None:
    import keras

    job = json.loads(Path(job_file).read_text("utf-8"))
    folder, formats, temporary = Path(job["folder"]), job["formats"], Path(job["temporary"])
    model = keras.models.load_model(job["model"], compile=False, safe_mode=True)
    if "onnx" in formats:
        _write_onnx(model, folder / FORMATS["onnx"].file)
    if {"savedmodel", "litert"} & set(formats):
        _write_savedmodel(model, temporary / "savedmodel")
    if "litert" in formats:
        examples = temporary / "examples.npy"
        images = np.load(examples, allow_pickle=False) if examples.exists() else None
        content = _litert(temporary / "savedmodel", job["quantize"], images)
        (folder / FORMATS["litert"].file).write_bytes(content)
    if "savedmodel" in formats:
        shutil.move(temporary / "savedmodel", folder / FORMATS["savedmodel"].file)


def _write_savedmodel(model: Any, folder: Path) -> None:
    """Write two signatures: on pixels, and on the bytes of JPEG and PNG files."""
    import keras
    import tensorflow as tf

    def on_pixels(rgb: Any) -> dict[str, Any]:
        return {"probabilities": model(rgb, training=False)}

    def of_bytes(data: Any) -> Any:
        # Only this method decodes to the same pixels as Pillow.
        rgb = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
        return model(rgb[None], training=False)[0]

    def on_bytes(images: Any) -> dict[str, Any]:
        return {"probabilities": tf.map_fn(of_bytes, images, fn_output_signature=tf.float32)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    pixels = tf.TensorSpec((None, None, None, 3), tf.uint8, name="rgb")
    archive.add_endpoint("serving_default", on_pixels, input_signature=[pixels])
    encoded = tf.TensorSpec((None,), tf.string, name="images")
    archive.add_endpoint("encoded", on_bytes, input_signature=[encoded])
    archive.write_out(str(folder), verbose=False)


def _write_onnx(model: Any, path: Path) -> None:
    import keras
    import onnx

    signature = [keras.InputSpec(shape=(None, None, None, 3), dtype="uint8", name="rgb")]
    model.export(str(path), format="onnx", verbose=False, input_signature=signature)
    content = onnx.load(str(path))
    _name_axes(content.graph.input[0], ("batch", "height", "width"))
    _name_axes(content.graph.output[0], ("batch",))
    _rename_output(content.graph, "probabilities")
    onnx.checker.check_model(content)
    onnx.save(content, str(path))


def _rename_output(graph: Any, name: str) -> None:
    old, graph.output[0].name = graph.output[0].name, name
    for node in graph.node:
        node.input[:] = [name if each == old else each for each in node.input]
        node.output[:] = [name if each == old else each for each in node.output]


def _name_axes(value: Any, names: Sequence[str]) -> None:
    for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
        axis.dim_param = name


def _litert(savedmodel: Path, quantize: str | None, examples: np.ndarray | None) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(savedmodel), signature_keys=["serving_default"]
    )
    if quantize is None:
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
    if examples is None:
        raise ValueError("int8 needs examples.")
    converter.representative_dataset = lambda: ([image[None]] for image in examples)
    # Used only because it alone can leave operations in float32.
    # https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(_IN_FLOAT)),
    )
    return debugger.get_nondebug_quantized_model()


if __name__ == "__main__":
    _main(sys.argv[1])
