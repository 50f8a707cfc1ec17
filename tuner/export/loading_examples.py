"""Code that loads an exported file, for the model card."""

_DECODING = """\
from PIL import Image, ImageOps
image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGBA")
image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")"""
# Six lines for each format; a test runs them.
LOADING = {
    "keras": f"""\
import keras, numpy
{_DECODING}
model = keras.models.load_model("model.keras")
print(model.predict(numpy.asarray(image)[None])[0])""",
    "savedmodel": f"""\
import numpy, tensorflow as tf
{_DECODING}
model = tf.saved_model.load("savedmodel")
print(model.signatures["serving_default"](rgb=numpy.asarray(image)[None])["probabilities"][0])""",
    "onnx": f"""\
import numpy, onnxruntime
{_DECODING}
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
print(session.run(None, {{"rgb": numpy.asarray(image)[None]}})[0][0])""",
    "litert": f"""\
import ai_edge_litert.interpreter, numpy
{_DECODING}
model = ai_edge_litert.interpreter.Interpreter("model.tflite").get_signature_runner()
print(model(rgb=numpy.asarray(image)[None])["probabilities"][0])""",
}
ENCODED = """\
import tensorflow as tf
model = tf.saved_model.load("savedmodel")
images = tf.constant([open("photo.jpg", "rb").read()])
print(model.signatures["encoded"](images=images)["probabilities"][0])"""
