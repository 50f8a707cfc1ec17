"""Serve an exported file with its own runtime, where nothing of this package can be imported.

`python model_server.py KIND FILE [MEMORY_BYTES]` imports the runtime, waits for a first array,
loads the file and answers with an empty array. Then each array on standard input is one request:
images of one size, uint8 RGB, (batch, height, width, 3), or the UTF-8 bytes of an image's path
(uint8, one axis). The answer on standard output is two arrays: class probabilities, float32,
(batch, classes), and the seconds that they took, decoding left out. `write_array` frames an array.
This file imports NumPy, Pillow and the runtime, nothing else.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

# Class probabilities, float32, (batch, classes), of uint8 RGB images, (batch, height, width, 3).
Predictor = Callable[[np.ndarray], np.ndarray]

# For loading, and for each request.
SECONDS = 300
_FILE_BYTES = 1 << 20
_SIDE = 224  # of the image that is tried, where a model takes any


class UnusableError(Exception):
    """The model is of no use; the message completes "it ..."."""


def compute_in_float32() -> None:
    """Switch off TensorFloat-32, which rounds products to 10 bits on NVIDIA GPUs."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


def load_keras(path: str) -> Predictor:
    """Load a .keras file in safe mode; one program is traced for images of all sizes."""
    import keras
    import tensorflow as tf

    compute_in_float32()
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    if getattr(model, "input_shape", None) != (None, None, None, 3):
        raise UnusableError("does not take RGB images of any size")
    signature = tf.TensorSpec((None, None, None, 3), tf.uint8)
    compute = tf.function(
        lambda x: model(x, training=False),
        input_signature=[signature],
        autograph=False,  # there is nothing to convert, and it would leave a file behind
    )
    return lambda images: compute(images).numpy()


def load_compiled(path: str) -> Predictor:
    """Load a user's own .keras file with its optimizer, and run it on one image."""
    import keras

    model = keras.models.load_model(path, safe_mode=True)
    if not getattr(model, "inputs", None):
        raise UnusableError("has no keras.Input, without which its layers are not all built")
    if len(model.inputs) == 1 and len(model.inputs[0].shape) == 4:
        batch, height, width, channels = model.inputs[0].shape
        shape = (batch or 1, height or _SIDE, width or _SIDE, channels or 3)
        try:
            model(np.zeros(shape, model.inputs[0].dtype), training=False)
        except ValueError as error:
            height, width = shape[1:3]
            raise UnusableError(f"does not run on an image of {height} x {width} pixels") from error
    return lambda images: np.asarray(model(images, training=False))


def load_savedmodel(path: str) -> Predictor:
    """Load a SavedModel's signature on pixels."""
    return _signature(path, "serving_default", "rgb")


def load_encoded(path: str) -> Callable[[bytes], np.ndarray]:
    """Load a SavedModel's signature on the bytes of one JPEG or PNG file."""
    encoded = _signature(path, "encoded", "images")
    return lambda data: encoded([data])


def _signature(path: str, name: str, argument: str) -> Callable[[Any], np.ndarray]:
    import tensorflow as tf

    compute_in_float32()
    loaded = tf.saved_model.load(path)

    def predict(value: Any) -> np.ndarray:
        inputs = {argument: tf.constant(value)}
        return loaded.signatures[name](**inputs)["probabilities"].numpy()

    return predict


def load_onnx(path: str) -> Predictor:
    """Load an ONNX file on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"rgb": images})[0]


def load_litert(path: str) -> Predictor:
    """Load a LiteRT file, with a thread for each core."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
    return lambda images: np.array(runner(rgb=images)["probabilities"])


LOADERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "keras": ("keras", load_keras),
    "compiled": ("keras", load_compiled),
    "savedmodel": ("tensorflow", load_savedmodel),
    "encoded": ("tensorflow", load_encoded),
    "onnx": ("onnxruntime", load_onnx),
    "litert": ("ai_edge_litert.interpreter", load_litert),
}


def decode(path: str | Path) -> np.ndarray:
    """Decode an 8-bit sRGB image, upright, on white: uint8, (height, width, 3)."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.asarray(image)


def write_array(stream: IO[bytes], array: np.ndarray) -> None:
    """Write the length in bytes (8, little-endian), then the array as an .npy file."""
    framed = BytesIO()  # NumPy seeks in what it writes and reads; a pipe cannot
    np.save(framed, array, allow_pickle=False)
    stream.write(framed.tell().to_bytes(8, "little"))
    stream.write(framed.getbuffer())
    stream.flush()


def read_arrays(stream: IO[bytes]) -> Iterator[np.ndarray]:
    """Read arrays up to the stream's end."""
    while length := stream.read(8):
        yield np.load(BytesIO(stream.read(int.from_bytes(length, "little"))), allow_pickle=False)


def _answer(kind: str, predict: Callable[[Any], np.ndarray], request: np.ndarray) -> Any:
    """Class probabilities, and the seconds that they took."""
    value: Any = request
    if request.ndim == 1:
        file = request.tobytes().decode("utf-8", "surrogateescape")
        value = Path(file).read_bytes() if kind == "encoded" else decode(file)[np.newaxis]
    begun = time.perf_counter()
    probabilities = predict(value)
    return np.asarray(probabilities, np.float32), np.array(time.perf_counter() - begun)


def _limit(memory_bytes: int) -> None:
    """Limit this process's memory, and the size of files that it writes."""
    import resource

    limits = {"DATA": memory_bytes, "FSIZE": _FILE_BYTES, "CORE": 0}
    for name, most in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def _main(kind: str, path: str, memory_bytes: str | None = None) -> None:
    sys.modules.update(dict.fromkeys(("tuner", "search_spaces")))  # type: ignore[arg-type]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # standard input ends when the parent does
    if memory_bytes is not None:
        _limit(int(memory_bytes))
    module, load = LOADERS[kind]
    __import__(module)
    requests = read_arrays(sys.stdin.buffer)
    if next(requests, None) is None:
        return
    signal.alarm(SECONDS)
    predict = load(path)
    write_array(answers, np.empty(0))
    signal.alarm(0)
    for request in requests:
        signal.alarm(SECONDS)
        for array in _answer(kind, predict, request):
            write_array(answers, array)
        signal.alarm(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
