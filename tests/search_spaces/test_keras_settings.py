"""Keras's settings for the whole process, which a user's module may change: ours are held."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search_spaces import load_space
from search_spaces.backbone import build_backbone, segments
from search_spaces.keras_settings import KerasSettings
from search_spaces.named import import_named
from search_spaces.resize import resizer
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.errors import ModelError, SettingsError

CHANGES = {
    "dtype_policy mixed_float16": 'keras.mixed_precision.set_global_policy("mixed_float16")',
    "dtype_policy mixed_bfloat16": 'keras.config.set_dtype_policy("mixed_bfloat16")',
    "floatx float16": 'keras.config.set_floatx("float16")',
    "floatx float64": 'keras.config.set_floatx("float64")',
    "image_data_format channels_first": 'keras.config.set_image_data_format("channels_first")',
    "tensor_float_32 True": (
        "import tensorflow as tf; tf.config.experimental.enable_tensor_float_32_execution(True)"
    ),
    "eager_functions True": "import tensorflow as tf; tf.config.run_functions_eagerly(True)",
}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with KerasSettings().held():
        yield


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module that makes the parametrized change."""
    name = f"changing_{abs(hash(request.param))}"
    (tmp_path / f"{name}.py").write_text(
        f"import keras\n{CHANGES[request.param]}\n"
        "from search_spaces.resnet50 import ResNet50Space\n"
        "class Space(ResNet50Space): pass\n"
        "def build():\n"
        "    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


@pytest.mark.parametrize("module", CHANGES, indirect=True)
def test_a_modules_settings_end_with_its_import(module: str) -> None:
    before = KerasSettings.current().names()
    _, left = import_named("model", f"{module}:build", ModelError)
    assert KerasSettings.current().names() == before
    assert left.names() != before
    with left.held():
        assert KerasSettings.current().names() == left.names()
    assert KerasSettings.current().names() == before


@pytest.mark.parametrize(
    ("module", "named"), [(name, name) for name in CHANGES], indirect=["module"]
)
def test_a_search_space_whose_module_changes_them_is_refused(module: str, named: str) -> None:
    with pytest.raises(SettingsError, match=rf"sets Keras to {named}.* computes in float32"):
        load_space(f"{module}:Space", num_classes=3)


def test_a_module_that_ends_eager_execution_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf, "executing_eagerly", lambda: False)
    with pytest.raises(ModelError, match="switches TensorFlow's eager execution off"):
        import_named("model", "colorsys:rgb_to_hsv", ModelError)


def _dtypes(model: keras.Model) -> set[str]:
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    outer = {layer.compute_dtype for layer in model.layers if layer not in inner}
    return outer.union(*map(_dtypes, inner), {variable.dtype for variable in model.weights})


def _networks() -> Iterator[Any]:
    backbone = build_backbone(32, "none")
    space = ResNet50Space(num_classes=3, image_size=32, weights="none")
    configuration = Configuration(unfreeze_blocks=1, head_batchnorm=True)
    yield from (backbone, *segments(backbone), resizer(32))
    yield space.build_whole(configuration, backbone, seed=0)
    yield space.build_suffix(configuration, backbone, seed=0)


@pytest.mark.parametrize("change", [name for name in CHANGES if "tensorflow" not in CHANGES[name]])
def test_our_networks_are_in_float32_whatever_the_process_says(change: str) -> None:
    exec(CHANGES[change], {"keras": keras})
    for model in _networks():
        assert _dtypes(model) == {"float32"}
        assert model.inputs[0].dtype == "float32"
        assert model.input_shape[-1] != 32
    assert change in KerasSettings.current().differences(KerasSettings())


def test_features_under_another_policy_are_the_same_to_the_bit() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")

    def features() -> np.ndarray:
        first, *rest = segments(build_backbone(32, "none"))
        rows = first(images)
        for segment in rest:
            rows = segment(rows)
        return np.asarray(rows)

    expected = features()
    keras.config.set_dtype_policy("mixed_float16")
    assert np.array_equal(features(), expected)
