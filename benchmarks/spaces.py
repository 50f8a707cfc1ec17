"""The search spaces of the benchmarks: `ResNet50Space` with something left out or pinned."""

from collections.abc import Mapping
from typing import Any

import keras
import keras_tuner

from search_spaces.resnet50 import UNFREEZE_BLOCKS, ResNet50Space


class DrawnOnly(ResNet50Space):
    """Without recipes, so that both arms train the same drawn configurations."""

    def recipes(self) -> dict[str, dict[str, Any]]:
        return {}


class NarrowHeads(ResNet50Space):
    """Heads of at most 256 units, recipes included."""

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        super().declare_hyperparameters(_Restricted(hp, {"head_width": [128, 256]}))


class WideHeads(DrawnOnly):
    """Heads of one or two hidden layers, the first of 2,048 units."""

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        choices = {"head_layers": [1, 2], "head_width": [2048]}
        super().declare_hyperparameters(_Restricted(hp, choices))


class UpTo(ResNet50Space):
    """Without the deepest networks, which take longest to trace.

    Args:
        deepest: most blocks that are unfrozen.
        *arguments: of ResNet50Space.
        **options: likewise.
    """

    def __init__(self, deepest: int, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._depths = [blocks for blocks in UNFREEZE_BLOCKS if blocks <= deepest]

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        super().declare_hyperparameters(_Restricted(hp, {"unfreeze_blocks": self._depths}))


class PlainSpace(ResNet50Space):
    """What stock Keras Tuner searches: the same networks, pinned in the same way, plain `fit`.

    `ResNet50Space.fit` measures the head's BatchNorm statistics before each validation, which is
    one more forward pass for a head with BatchNorm; a plain tuner does not do that, and is faster.

    Args:
        pinned: hyperparameters that are not searched, by name; `Fixed` takes their place.
        **arguments: of ResNet50Space.
    """

    def __init__(self, pinned: Mapping[str, Any], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pinned = dict(pinned)

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        choices = {name: [value] for name, value in self._pinned.items()}
        super().declare_hyperparameters(_Restricted(hp, choices))

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        return keras_tuner.HyperModel.fit(self, hp, model, *args, **kwargs)


class _Restricted:
    """HyperParameters with other choices for some names; a single choice becomes `Fixed`.

    A hyperparameter whose parent is pinned to a value that switches it off is left out.
    """

    def __init__(self, hp: keras_tuner.HyperParameters, choices: Mapping[str, list[Any]]) -> None:
        self._hp = hp
        self._choices = choices

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hp, name)

    def Choice(self, name: str, values: list[Any], **options: Any) -> Any:  # noqa: N802
        parent = self._choices.get(options.get("parent_name") or "")
        if parent is not None and not set(parent) & set(options["parent_values"]):
            return None
        chosen = self._choices.get(name, values)
        if len(chosen) == 1:
            parents = {key: options[key] for key in options if key.startswith("parent_")}
            return self._hp.Fixed(name, chosen[0], **parents)
        if options.get("default") not in chosen:
            options["default"] = chosen[0]
        return self._hp.Choice(name, chosen, **options)
