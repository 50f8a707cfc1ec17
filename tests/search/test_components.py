"""Single settings of a tuner: what may be changed, and what is refused."""

import dataclasses

import keras
import keras_tuner
import pytest

from search_spaces.resnet50 import ResNet50Space
from tuner.errors import SettingsError
from tuner.search.components import (
    TRAINING_SETTINGS,
    changed_settings,
    keras_settings_of,
    refuse,
)
from tuner.settings import SearchSettings


def test_training_settings_are_fields_of_search_settings() -> None:
    fields = {field.name for field in dataclasses.fields(SearchSettings)}
    assert set(TRAINING_SETTINGS) <= fields


def test_single_settings_replace_those_of_the_search() -> None:
    settings = SearchSettings(max_epochs=10, seed=3)
    assert changed_settings(settings, {}) == settings
    changed = changed_settings(settings, {"max_epochs": 5, "fixed": {"head_layers": "0"}})
    assert changed == SearchSettings(max_epochs=5, seed=3, fixed={"head_layers": "0"})


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("image_size", "Use one of objective, max_epochs"),
        ("hyperband_iterations", r"Use HyperbandTuner\(iterations=...\)"),
        ("executions_per_trial", "a trial is trained once"),
        ("hyperparameters", r"fixed=\{"),
    ],
)
def test_a_setting_without_effect_is_refused_with_where_it_is_set(name: str, where: str) -> None:
    with pytest.raises(TypeError, match=f"HyperbandTuner takes no setting {name}. .*{where}"):
        changed_settings(SearchSettings(), {name: 64})


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("epochs", "max_epochs"),
        ("batch_size", "HyperbandTuner"),
        ("validation_split", "validation_data="),
        ("callbacks", "observer="),
        ("verbose", "observer="),
        ("shuffle", "objective, max_epochs"),
    ],
)
def test_search_says_where_keras_tuners_arguments_are_set(name: str, where: str) -> None:
    with pytest.raises(TypeError, match=f"search takes no setting {name}. Use .*{where}"):
        refuse("search", {name: 1})


def test_keras_tuners_types_are_taken() -> None:
    objective = keras_tuner.Objective("val_loss", "min")
    changed = changed_settings(
        SearchSettings(), {"objective": objective, "fixed": {"unfreeze_blocks": 0, "l2": 1e-4}}
    )
    assert changed.objective == "val_loss"
    assert changed.fixed == {"unfreeze_blocks": "0", "l2": "0.0001"}
    with pytest.raises(SettingsError, match='val_loss has the direction "min"'):
        changed_settings(SearchSettings(), {"objective": keras_tuner.Objective("val_loss", "max")})
    with pytest.raises(SettingsError, match=r"--objective must be one of .*, but is val_auc"):
        changed_settings(SearchSettings(), {"objective": keras_tuner.Objective("val_auc", "max")})


def test_float32_is_held_for_our_networks_alone() -> None:
    class Own(keras_tuner.HyperModel):
        pass

    keras.config.set_dtype_policy("mixed_float16")
    try:
        with keras_settings_of(Own()):
            assert keras.config.dtype_policy().name == "mixed_float16"
        with keras_settings_of(ResNet50Space(num_classes=2)):
            assert keras.config.dtype_policy().name == "float32"
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_values_are_checked() -> None:
    with pytest.raises(SettingsError, match="--max-epochs must be at least 1, but is 0"):
        changed_settings(SearchSettings(), {"max_epochs": 0})
