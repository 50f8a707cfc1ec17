"""Search spaces, by name or as `package.module:Class`."""

from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.named import import_named, is_named
from tuner.errors import SettingsError, TuneError, first_line

if TYPE_CHECKING:
    import keras_tuner

_OWN_SPACE = (
    "Give a subclass of keras_tuner.HyperModel whose __init__ takes num_classes, image_size and "
    "weights."
)
SPACES = {"resnet50": "search_spaces.resnet50:ResNet50Space"}


def load_space(
    name: str, num_classes: int, image_size: int = 224, weights: str | Path = "imagenet"
) -> "keras_tuner.HyperModel":
    """Make a search space.

    Args:
        name: a key of SPACES, or `package.module:Class` of a keras_tuner.HyperModel that takes the
            other arguments by name.
        num_classes: number of classes.
        image_size: height and width of the images in pixels.
        weights: "imagenet", "none", or the path of a weights file.

    Raises:
        SettingsError: the space is unknown, or refuses an argument.
    """
    place = SPACES.get(name, name)
    if not is_named(place):
        raise SettingsError(
            f"there is no search space {name!r}. "
            f"Choose {', '.join(SPACES)}, or give your own as package.module:Class."
        )
    space, left = import_named("search space", place, SettingsError)
    if changed := left.differences(type(left).current()):
        raise SettingsError(
            f"the module of the search space {name!r} sets Keras to {changed} for the whole "
            "process, but a search computes in float32. Remove that line; a layer of your own may "
            "take a dtype."
        )
    try:
        made = space(num_classes=num_classes, image_size=image_size, weights=weights)
    except TuneError:
        raise
    except Exception as error:  # the user's class may raise anything
        raise SettingsError(
            f"the search space {name!r} cannot be created: {first_line(error)}. {_OWN_SPACE}"
        ) from error
    if not callable(getattr(made, "declare_hyperparameters", None)):
        raise SettingsError(
            f"the search space {name!r} makes {type(made).__name__}, no search space. {_OWN_SPACE}"
        )
    return made
