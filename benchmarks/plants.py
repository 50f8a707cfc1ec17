"""The faults that `planted.py` plants, in copies of an image folder and in models.

Each has the name of the cause that a diagnosis has to rank first. Nothing here imports Keras when
it is imported.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# What is planted, and the cause that has to be ranked first.
FAULTS = {
    "20 % wrong labels": "wrong labels",
    "30 images a class": "too few images",
    "a leak": "leak",
    "pixels from 0 to 1": "scaled input",
    "a legacy model": "BatchNorm in training mode",
    "a tutorial model": "BatchNorm in training mode",
    "head BatchNorm at 0.99": "lagging head BatchNorm",
    "learning rate times 100": "learning rate",
    "nothing": "nothing",
}
WRONG_SHARE, IMAGES_A_CLASS, VALIDATION_SHARE, LEAKED_SHARE = 0.2, 30, 0.25, 0.5
USUAL_RATE = 1e-3


def images(fault: str, data: Path, healthy: Sequence[str], folder: Path) -> Path:
    """The images of a fault, in a folder of their own; of a fault of a model as they are."""
    plant = {
        "20 % wrong labels": _mislabelled,
        "30 images a class": lambda data, folder: some_images(data, folder, IMAGES_A_CLASS),
        "a leak": _leaking,
        "nothing": lambda data, folder: _some_classes(data, folder, healthy),
    }.get(fault)
    if plant is None:
        return data
    plant(data, folder)
    return folder


def model(fault: str, classes: int, image_size: int, weights: str, folder: Path) -> Any:
    """The user's model of a fault, as `--model` gets it; None for a fault of the images."""
    from tuner.model_check.load import load_model

    build = {
        "pixels from 0 to 1": _scaled,
        "a legacy model": _legacy,
        "a tutorial model": _tutorial,
        "head BatchNorm at 0.99": _lagging,
        "learning rate times 100": _wild,
        "nothing": _sound,
    }.get(fault)
    if build is None:
        return None
    built = build(classes, image_size, weights)
    if (
        fault == "a legacy model"
    ):  # a class of the user's own comes from a function, not from a file
        return built
    built.save(folder / "mine.keras")
    return load_model(str(folder / "mine.keras"))


def _files(data: Path) -> list[Path]:
    """Every image, class by class."""
    return sorted(path for path in data.glob("*/*") if path.is_file())


def _copy(paths: Sequence[Path], folder: Path) -> None:
    for path in paths:
        target = folder / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _mislabelled(data: Path, folder: Path) -> None:
    """A fifth of all images moves to another class, whichever."""
    random, paths = np.random.default_rng(0), _files(data)
    classes = sorted({path.parent.name for path in paths})
    moved = set(random.choice(len(paths), round(WRONG_SHARE * len(paths)), replace=False).tolist())
    for number, path in enumerate(paths):
        others = [name for name in classes if name != path.parent.name]
        name = str(random.choice(others)) if number in moved else path.parent.name
        target = folder / name / f"{path.parent.name}-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def some_images(data: Path, folder: Path, most: int) -> None:
    """Copies no more than so many images of each class, whichever."""
    random = np.random.default_rng(0)
    for name in sorted(path.name for path in data.iterdir() if path.is_dir()):
        paths = [path for path in _files(data) if path.parent.name == name]
        chosen = random.permutation(len(paths))[:most]
        _copy([paths[number] for number in chosen], folder)


def _leaking(data: Path, folder: Path) -> None:
    """Folders train and val; half of the images of val stand in train too, compressed again."""
    random, paths = np.random.default_rng(0), _files(data)
    order = random.permutation(len(paths))
    validation = round(VALIDATION_SHARE * len(paths))
    for part, numbers in (("val", order[:validation]), ("train", order[validation:])):
        _copy([paths[number] for number in numbers], folder / part)
    for number in order[: round(LEAKED_SHARE * validation)]:
        path = paths[number]
        copy = folder / "train" / path.parent.name / f"copy-{path.name}"
        Image.open(path).convert("RGB").save(copy, quality=75)


def _some_classes(data: Path, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        shutil.copytree(data / name, folder / name)


def _base(image_size: int, weights: str, batchnorm: Any = None) -> Any:
    """ResNet50 of keras.applications with pooling, frozen."""
    import keras

    base = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(image_size, image_size, 3), pooling="avg"
    )
    base.load_weights(weights)
    if batchnorm is not None:
        base = _with_batchnorm(base, batchnorm)
    base.trainable = False
    return base


def _with_batchnorm(base: Any, batchnorm: Any) -> Any:
    """The same network with BatchNormalization layers of another class."""
    import keras

    def other(layer: Any) -> Any:
        is_batchnorm = isinstance(layer, keras.layers.BatchNormalization)
        return (batchnorm if is_batchnorm else type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(base, clone_function=other)
    copy.set_weights(base.get_weights())
    return copy


def _classifier(
    base: Any,
    classes: int,
    *,
    scale: Callable[[Any], Any] | None = None,
    head: Callable[[Any], Any] = lambda x: x,
    rate: float = USUAL_RATE,
    **call: Any,
) -> Any:
    import keras

    inputs = keras.Input(base.input_shape[1:])
    prepared = (scale or keras.applications.resnet50.preprocess_input)(inputs)
    outputs = keras.layers.Dense(classes, activation="softmax")(head(base(prepared, **call)))
    built = keras.Model(inputs, outputs)
    built.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return built


def _sound(classes: int, image_size: int, weights: str) -> Any:
    return _classifier(_base(image_size, weights), classes)


def _scaled(classes: int, image_size: int, weights: str) -> Any:
    import keras

    scale = keras.layers.Rescaling(1 / 255)
    return _classifier(_base(image_size, weights), classes, scale=scale)


def _legacy(classes: int, image_size: int, weights: str) -> Any:
    """Keras before 2.2.5: frozen, but normalised by the batch in fit."""
    import keras

    class LegacyBatchNorm(keras.layers.BatchNormalization):
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=False)
            mean, variance = keras.ops.moments(inputs, axes=[0, 1, 2])
            normal = (inputs - mean) / keras.ops.sqrt(variance + self.epsilon)
            return normal * self.gamma + self.beta

    return _classifier(_base(image_size, weights, LegacyBatchNorm), classes)


def _tutorial(classes: int, image_size: int, weights: str) -> Any:
    """The second step of guides for fine-tuning: training=False, and everything trainable."""
    base = _base(image_size, weights)
    base.trainable = True
    return _classifier(base, classes, rate=1e-5, training=False)


def _lagging(classes: int, image_size: int, weights: str) -> Any:
    import keras

    def head(x: Any) -> Any:
        x = keras.layers.Dense(256, activation="relu")(x)
        return keras.layers.BatchNormalization(momentum=0.99)(x)

    return _classifier(_base(image_size, weights), classes, head=head)


def _wild(classes: int, image_size: int, weights: str) -> Any:
    return _classifier(_base(image_size, weights), classes, rate=100 * USUAL_RATE)
