"""Single settings of a tuner: what may be changed, and what is refused."""

import dataclasses

import pytest

from tuner.errors import SettingsError
from tuner.search.components import TRAINING_SETTINGS, changed_settings
from tuner.settings import SearchSettings


def test_training_settings_are_fields_of_search_settings() -> None:
    fields = {field.name for field in dataclasses.fields(SearchSettings)}
    assert set(TRAINING_SETTINGS) <= fields


def test_single_settings_replace_those_of_the_search() -> None:
    settings = SearchSettings(max_epochs=10, seed=3)
    assert changed_settings(settings, {}) == settings
    changed = changed_settings(settings, {"max_epochs": 5, "fixed": {"head_layers": "0"}})
    assert changed == SearchSettings(max_epochs=5, seed=3, fixed={"head_layers": "0"})


@pytest.mark.parametrize("name", ["image_size", "hyperband_iterations"])
def test_a_setting_without_effect_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(TypeError, match=f"takes no setting {name}. Choose objective, max_epochs"):
        changed_settings(SearchSettings(), {name: 64})


def test_values_are_checked() -> None:
    with pytest.raises(SettingsError, match="--max-epochs must be at least 1, but is 0"):
        changed_settings(SearchSettings(), {"max_epochs": 0})
