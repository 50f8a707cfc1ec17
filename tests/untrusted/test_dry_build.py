"""What a model would take of the memory is told before it is built."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tuner.export.files import export_model
from tuner.untrusted.dry_build import rehearse
from tuner.untrusted.keras_archive import ArchiveError, check_keras_file

RGB = (None, None, 3)
Config = dict[str, Any]


def of(*steps: Callable[[Any], Any], shape: tuple[int | None, ...] = RGB) -> keras.Model:
    x = rgb = keras.Input(shape)
    for step in steps:
        x = step(x)
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(rgb, layers.Dense(3, "softmax")(x))


def saved(
    model: keras.Model, folder: Path, change: Callable[[Config], object] = lambda config: None
) -> Path:
    """A file of the model, whose configuration is changed afterwards."""
    path = folder / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def changing(**changes: Any) -> Callable[[Config], None]:
    """Changes what the file says of the layer that is named "changed"."""

    def change(config: Config) -> None:
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)  # of what the layer was made for
            if layer["name"] == "changed":
                layer["config"] |= changes.get("config", {})
                layer |= {key: value for key, value in changes.items() if key != "config"}

    return change


def passes(path: Path, compiled: bool = True) -> None:
    rehearse(check_keras_file(path), compiled)


def reason(path: Path, compiled: bool = True) -> str:
    with pytest.raises(ArchiveError) as caught:
        passes(path, compiled)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0", "ResNet50"])
def test_networks_that_are_widely_used(tmp_path: Path, name: str) -> None:
    build = getattr(keras.applications, name)
    backbone = build(weights=None, include_top=False, input_shape=(64, 64, 3))
    model = of(
        backbone, layers.Flatten(), layers.Dense(64, kernel_initializer="orthogonal"),
        layers.Dropout(0.5, seed=2**40), shape=(64, 64, 3),
    )  # fmt: skip
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=10_000_000)
    model.compile(keras.optimizers.Adam(schedule, amsgrad=True, use_ema=True), "mse")
    passes(saved(model, tmp_path))


def test_layers_that_change_images_or_stand_within_others(tmp_path: Path) -> None:
    def centred(x: Any) -> Any:
        return (x - np.array([123.0, 117.0, 104.0], "float32")) / 65535

    inner = keras.Sequential([keras.Input(RGB), layers.Conv2D(8, 3), layers.BatchNormalization()])
    model = of(
        layers.Resizing(1024, 1024), layers.Rescaling(1 / 255), layers.RandomFlip(seed=2**40),
        layers.RandomRotation(0.1), layers.CenterCrop(512, 512), centred,
        layers.Normalization(mean=[0, 0, 0], variance=[65025, 65025, 65025]),
        layers.ZeroPadding2D(((3, 4), (3, 4))), inner, layers.UpSampling2D(2),
        layers.MaxPooling2D(64), layers.TimeDistributed(layers.Dense(4)),
        layers.SpectralNormalization(layers.Conv2D(6, 1)), layers.Reshape((256, 6)),
        layers.Bidirectional(layers.LSTM(4)),
    )  # fmt: skip
    passes(saved(model, tmp_path))


def test_our_own_exports(tmp_path: Path) -> None:
    network = of(layers.Conv2D(8, 3), shape=(32, 32, 3))
    for crop in (False, True):
        passes(saved(export_model(network, 32, crop), tmp_path), compiled=False)


def test_a_network_of_no_images_is_not_given_one(tmp_path: Path) -> None:
    passes(saved(keras.Sequential([keras.Input((20,)), layers.Dense(3)]), tmp_path))


def test_weights_are_a_product(tmp_path: Path) -> None:
    """Each number is one that a classifier may have, and one of them is that of the file."""
    model = of(layers.Conv2D(500, 1), layers.Conv2D(2, 3, name="changed"))
    passes(saved(model, tmp_path))
    assert reason(saved(model, tmp_path, changing(config={"filters": 50_000}))) == (
        "asks for layers of 901 million numbers, but holds weights of 0.0 million"
    )


@pytest.mark.parametrize(
    "layer",
    [layers.PReLU(name="changed"), layers.Normalization(mean=0.0, variance=1.0, name="changed")],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_that_is_built_for_another_shape(tmp_path: Path, layer: keras.Layer) -> None:
    """Keras builds it for the shape that stands in the file, before it knows the real one."""
    shape = {"input_shape": [None, 1, 1, 900_000_000]}
    path = saved(of(layer, shape=(1, 1, 3)), tmp_path, changing(build_config=shape))
    assert "million numbers, but holds weights of 0.0 million" in reason(path)


def test_what_is_computed_while_it_is_loaded_counts(tmp_path: Path) -> None:
    """A layer that is called with numbers, and not with another's result, computes at once."""
    model = of(layers.ZeroPadding2D(9000, name="changed"), layers.Resizing(8, 8), shape=(8, 8, 3))
    path = saved(model, tmp_path, calling([[[[0.0]]]]))
    assert "asks for layers of 324 million numbers" in reason(path)
    model = of(layers.Reshape((64, 3)), layers.LSTM(3, name="changed"), shape=(8, 8, 3))
    path = saved(model, tmp_path, calling([[[0.0, 0.0, 0.0]]]))
    assert reason(path) == "computes while it is loaded, as no model does"


def calling(value: Any) -> Callable[[Config], None]:
    """Calls the layer that is named "changed" with numbers too."""

    def change(config: Config) -> None:
        (layer,) = (each for each in config["config"]["layers"] if each["name"] == "changed")
        constant = {"class_name": "__tensor__", "config": {"value": value, "dtype": "float32"}}
        layer["inbound_nodes"].append({"args": [constant], "kwargs": {}})

    return change


def test_an_optimizer_counts_where_it_is_loaded(tmp_path: Path) -> None:
    model = of(layers.Conv2D(2, 3))
    model.compile("sgd", "mse", metrics=[keras.metrics.MeanIoU(3)])
    model.evaluate(np.zeros((1, 8, 8, 3)), np.zeros((1, 3)), verbose=0)

    def enlarge(config: Config) -> None:
        (metric,) = config["compile_config"]["metrics"]
        metric["config"]["num_classes"] = 10_000

    path = saved(model, tmp_path, enlarge)
    assert "asks for layers of" in reason(path)
    passes(path, compiled=False)


@pytest.mark.parametrize(
    "steps",
    [
        [layers.ZeroPadding2D(9000)],
        [layers.UpSampling2D(4)] * 5,
        [layers.Resizing(10_000, 10_000)],
        [layers.Conv2D(5000, 1)],
    ],
)
def test_an_image_that_becomes_too_large(tmp_path: Path, steps: list[Any]) -> None:
    assert "million numbers of an image in one layer" in reason(saved(of(*steps), tmp_path))


def test_a_model_that_runs_on_no_image(tmp_path: Path) -> None:
    """What it would do with one of another size is not known."""
    model = of(layers.Conv2D(2, 3), layers.Reshape((36, 2)), layers.GlobalAveragePooling1D())
    passes(saved(of(*model.layers[1:-1], shape=(8, 8, 3)), tmp_path))
    assert reason(saved(model, tmp_path)) == "does not run on an image of 224 x 224 pixels"


def test_a_model_whose_layers_are_built_when_it_is_called(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Dense(3)])
    with pytest.warns(UserWarning, match="not yet been built"):
        path = saved(model, tmp_path)
    assert "has no keras.Input" in reason(path)
