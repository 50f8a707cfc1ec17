"""An exported file in its own runtime, as somebody has it who never heard of this program.

`python elsewhere.py FORMAT FILE OUT < IMAGES` predicts images one at a time. IMAGES is a stream of
arrays as `write_item` frames them: the UTF-8 bytes of a path (uint8, one axis), or pixels (uint8,
three axes). OUT (.npz) gets `probabilities`, float32, (images, classes),
and `seconds`, float64, (images,): what each took, decoding left out. Nothing but NumPy, Pillow and
the file's own runtime is imported here, and importing this program is made to fail.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

# From one batch of images to class probabilities: uint8 RGB, (batch, height, width, 3), to float32,
# (batch, classes).
Predictor = Callable[[np.ndarray], np.ndarray]


def compute_in_float32() -> None:
    """Forbids TensorFlow to round what it multiplies to 10 bits, as it may on NVIDIA GPUs.

    The other formats are run on a processor, which does not; nor does what is compared with.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


def load_keras(path: str) -> Predictor:
    """A .keras file, in safe mode: a layer that could run code is refused."""
    import keras

    compute_in_float32()
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda images: np.asarray(model.predict_on_batch(images))


def load_savedmodel(path: str) -> Predictor:
    """A SavedModel's signature on pixels."""
    import tensorflow as tf

    compute_in_float32()
    loaded = tf.saved_model.load(path)

    def predict(images: np.ndarray, kept: Any = loaded) -> np.ndarray:
        signature = kept.signatures["serving_default"]
        return signature(rgb=tf.constant(images))["probabilities"].numpy()

    return predict


def load_encoded(path: str) -> Callable[[bytes], np.ndarray]:
    """A SavedModel's signature on the bytes of one JPEG or PNG file."""
    import tensorflow as tf

    compute_in_float32()
    loaded = tf.saved_model.load(path)

    def predict(data: bytes, kept: Any = loaded) -> np.ndarray:
        signature = kept.signatures["encoded"]
        return signature(images=tf.constant([data]))["probabilities"].numpy()

    return predict


def load_onnx(path: str) -> Predictor:
    """An ONNX file, on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"rgb": images})[0]


def load_litert(path: str) -> Predictor:
    """A LiteRT file, on as many threads as there are cores."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path, num_threads=os.cpu_count()).get_signature_runner()
    return lambda images: np.array(runner(rgb=images)["probabilities"])


LOADERS: dict[str, Callable[[str], Predictor]] = {
    "keras": load_keras,
    "savedmodel": load_savedmodel,
    "onnx": load_onnx,
    "litert": load_litert,
}
ENCODED = "encoded"


def decode(path: str | Path) -> np.ndarray:
    """The pixels of an image of 8 bits in sRGB: upright, on white. uint8, (height, width, 3)."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def write_item(stream: IO[bytes], item: np.ndarray) -> None:
    """Writes an array: the number of bytes (8, little-endian), then those of an .npy file."""
    framed = BytesIO()  # NumPy itself seeks in what it writes and reads; a pipe cannot
    np.save(framed, item, allow_pickle=False)
    stream.write(framed.tell().to_bytes(8, "little"))
    stream.write(framed.getbuffer())
    stream.flush()


def read_items(stream: IO[bytes]) -> Iterator[np.ndarray]:
    """The arrays of a stream, up to its end."""
    while length := stream.read(8):
        yield np.load(BytesIO(stream.read(int.from_bytes(length, "little"))), allow_pickle=False)


def _predictor(name: str, path: str) -> Callable[[np.ndarray], tuple[np.ndarray, float]]:
    """From an array of the stream to class probabilities and the seconds that they took."""
    predict: Callable[[Any], np.ndarray]
    predict = load_encoded(path) if name == ENCODED else LOADERS[name](path)

    def timed(item: np.ndarray) -> tuple[np.ndarray, float]:
        value: Any = item[None]
        if item.ndim == 1:
            file = bytes(item).decode("utf-8", "surrogateescape")
            value = Path(file).read_bytes() if name == ENCODED else decode(file)[None]
        begun = time.perf_counter()
        probabilities = predict(value)[0]
        return probabilities, time.perf_counter() - begun

    return timed


def _main(name: str, path: str, out: str) -> None:
    sys.modules.update(dict.fromkeys(("tuner", "search_spaces")))  # type: ignore[arg-type]
    predict = _predictor(name, path)
    results = [predict(item) for item in read_items(sys.stdin.buffer)]
    np.savez(
        out,
        probabilities=np.stack([row for row, _ in results]).astype(np.float32),
        seconds=np.array([seconds for _, seconds in results]),
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
