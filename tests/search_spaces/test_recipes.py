import keras_tuner
import pytest

from search_spaces import load_space
from search_spaces.recipes import RECIPES
from search_spaces.resnet50 import ResNet50Space

HyperParameter = keras_tuner.engine.hyperparameters.HyperParameter


def active(values: dict[str, object]) -> dict[str, HyperParameter]:
    """The hyperparameters of the space that are in use when the others have these values."""
    declared = keras_tuner.HyperParameters()
    ResNet50Space(num_classes=3, image_size=32, weights="none").declare_hyperparameters(declared)
    chosen = keras_tuner.HyperParameters()
    chosen.values = dict(values)
    return {hp.name: hp for hp in declared.space if chosen.is_active(hp)}


def in_domain(hp: HyperParameter, value: object) -> bool:
    if hasattr(hp, "min_value"):
        return isinstance(value, float) and hp.min_value <= value <= hp.max_value
    return value in hp.values and type(value) is type(hp.default)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_exactly_the_active_hyperparameters(name: str) -> None:
    values = RECIPES[name]()
    assert set(values) == set(active(values))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_lies_inside_the_space(name: str) -> None:
    values = RECIPES[name]()
    outside = {
        key: values[key] for key, hp in active(values).items() if not in_domain(hp, values[key])
    }
    assert outside == {}


def test_a_foreign_recipe_would_be_found() -> None:
    values = RECIPES["plain head"]() | {"dropout": 0.7, "head_layers": 3}
    domains = active(values)
    assert not in_domain(domains["dropout"], 0.7)
    assert not in_domain(domains["head_layers"], 3)
    assert "head_width" not in domains


def test_the_space_offers_them_all() -> None:
    space = load_space("resnet50", num_classes=3, image_size=32, weights="none")
    assert space.recipes() == {name: recipe() for name, recipe in RECIPES.items()}


def test_recipes_differ() -> None:
    found = [recipe() for recipe in RECIPES.values()]
    assert all(one != other for number, one in enumerate(found) for other in found[:number])
