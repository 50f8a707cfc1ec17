"""A user's own model is loaded from a file or a function, or a sentence says why not."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import pytest

from tuner.errors import ModelError
from tuner.model_check.load import check_classes, check_image_size, load_model

NOT_CALLABLE = 3


class Own(keras.layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs


def tiny(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])


def tiny_model() -> keras.Model:
    return tiny()


def failing() -> keras.Model:
    raise RuntimeError("no weights here.\nSee elsewhere.")


def not_a_model() -> list[int]:
    return []


def with_argument(classes: int) -> keras.Model:
    return keras.Sequential([keras.layers.Dense(classes)])


def message(spec: str) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_loaded_with_its_optimizer(tmp_path: Path) -> None:
    model = tiny()
    model.compile(keras.optimizers.Adam(0.25), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = load_model(str(tmp_path / "model.keras"))
    assert isinstance(loaded, keras.Model)
    assert float(loaded.optimizer.learning_rate) == 0.25


def test_a_function_is_called() -> None:
    assert isinstance(load_model(f"{__name__}:tiny_model"), keras.Model)


def test_a_file_that_is_not_there_or_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    assert f"there is no model file {path}" in message(str(path))
    path.write_text("text")
    assert f"{path} is not a Keras model" in message(str(path))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{")
    assert "is not a Keras model: it lacks config.json or model.weights.h5" in message(str(path))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("model.weights.h5", "")
    assert f"{path} is damaged" in message(str(path))


def test_a_lambda_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    tiny(keras.layers.Lambda(lambda x: x / 255)).save(path)
    assert "holds a Lambda layer, which could run any code" in message(str(path))
    assert "package.module:function" in message(str(path))


def test_a_class_that_keras_does_not_know_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    tiny(Own()).save(path)
    assert "your own Own, which Keras does not know" in message(str(path))


@pytest.mark.parametrize("spec", ["model.h5", "", ":", "module:", ".module:model", "a b:c"])
def test_half_a_name_lists_the_choices(spec: str) -> None:
    assert "Give a .keras file or package.module:function" in message(spec)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nothing", "has no attribute 'nothing'"),
        ("NOT_CALLABLE", "is of type int, and not a function"),
        ("failing", "RuntimeError: no weights here. Let it return"),
        ("with_argument", "missing 1 required positional argument"),
        ("not_a_model", "returns a list, and not a keras.Model"),
    ],
)
def test_a_function_that_gives_no_model(name: str, part: str) -> None:
    assert part in message(f"{__name__}:{name}")


def test_an_unreadable_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.keras"
    tiny().save(path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tuner.untrusted.keras_archive.open_file", refuse)
    assert f"{path} cannot be read: Permission denied." == message(str(path))


def classifier(shape: tuple[int | None, ...], outputs: int) -> Any:
    inputs = keras.Input(shape)
    return keras.Model(
        inputs, keras.layers.Dense(outputs)(keras.layers.GlobalAveragePooling2D()(inputs))
    )


def test_a_model_of_other_images_is_refused() -> None:
    check_image_size(classifier((64, 64, 3), 5), 64)
    check_image_size(classifier((None, None, 3), 5), 64)
    with pytest.raises(ModelError, match=r"96 x 96 px.*64. Give --image-size 96."):
        check_image_size(classifier((96, 96, 3), 5), 64)
    with pytest.raises(ModelError, match="square"):
        check_image_size(classifier((64, 96, 3), 5), 64)


def test_a_model_has_an_output_for_each_class_or_one_for_two() -> None:
    check_classes(classifier((8, 8, 3), 5), 5)
    check_classes(classifier((8, 8, 3), 1), 2)
    for outputs, classes in ((5, 3), (1, 3), (1000, 8)):
        with pytest.raises(ModelError, match=f"{outputs} outputs, .* {classes} classes"):
            check_classes(classifier((8, 8, 3), outputs), classes)
