"""Lines of code that fix a user's own model, with its layers as the user can access them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tuner.model_check.parts import Backbone, ModelParts


@dataclass(frozen=True)
class _Place:
    """The place of a layer in a model.

    Attributes:
        holder: the model or layer that directly contains it.
        of_holder: Python expression for the holder.
        of_layer: Python expression for the layer.
    """

    holder: Any
    of_holder: str
    of_layer: str


def freeze_batchnorms_code(
    model: keras.Model, layers: Sequence[Any], others: Sequence[Any] = ()
) -> str:
    """A line that freezes BatchNormalization layers.

    Args:
        model: the user's own; `model` in the line.
        layers: BatchNormalization layers in it.
        others: BatchNormalization layers to leave as they are.
    """
    places = _places(model)
    held: dict[int, list[Any]] = {}
    for layer in layers:
        held.setdefault(id(places[id(layer)].holder), []).append(layer)
    spared = {id(layer) for layer in others}
    parts = [part for group in held.values() for part in _iterated(group, places, spared)]
    is_one = len(parts) == 1 and parts[0].startswith("*")
    every = parts[0][1:] if is_one else f"[{', '.join(parts)}]"
    # The holder's other layers are not touched: setting the flag of a layer that contains others,
    # even to its own value, sets theirs.
    return (
        f"for layer in [each for each in {every} "
        "if isinstance(each, keras.layers.BatchNormalization)]: layer.trainable = False"
    )


def train_head_code(model: keras.Model, parts: ModelParts) -> str:
    """A line that makes everything but the backbones trainable.

    Args:
        model: the user's own; `model` in the line.
        parts: its parts.
    """
    places = _places(model)
    frozen = {
        f"{part}.trainable = False": None
        for backbone in parts.backbones
        for part in _bodies(backbone, places)
    }
    return "; ".join(["model.trainable = True", *frozen])


def _iterated(group: list[Any], places: dict[int, _Place], spared: set[int]) -> list[str]:
    """Expressions that cover a holder's `group`, starred where they are several layers."""
    place = places[id(group[0])]
    each = [places[id(layer)].of_layer for layer in group]
    if not isinstance(place.holder, keras.Model):
        return each
    listed = list(map(id, place.holder.layers))
    if not {id(layer) for layer in group} <= set(listed):
        return each
    length = 1 + max(listed.index(id(layer)) for layer in group)
    if spared.intersection(listed[:length]):
        return each
    # A flat model's layers are those of its head too.
    cut = f"[:{length}]" if spared.intersection(listed) else ""
    return [f"*{place.of_holder}.layers{cut}"]


def _bodies(backbone: Backbone, places: dict[int, _Place]) -> list[str]:
    """Expressions for models that together make up a backbone and nothing else."""
    own = {id(layer) for layer in backbone.layers}
    outermost = [layer for layer in backbone.layers if id(places[id(layer)].holder) not in own]
    last = {id(places[id(layer)].holder): layer for layer in outermost}
    return [_body(places[id(layer)], own, layer) for layer in last.values()]


def _body(place: _Place, own: set[int], last: Any) -> str:
    holder, expression = place.holder, place.of_holder
    if all(id(layer) in own for layer in holder._layers if layer.weights):
        return expression
    return f"keras.Model({expression}.inputs, {expression}.get_layer({last.name!r}).output)"


def _places(model: keras.Model) -> dict[int, _Place]:
    """The place of each layer of a model by its id; the outermost of several."""
    places: dict[int, _Place] = {}
    waiting: deque[tuple[Any, str]] = deque([(model, "model")])
    while waiting:
        holder, expression = waiting.popleft()
        for number, part in enumerate(holder._layers):
            if id(part) not in places:
                places[id(part)] = _Place(holder, expression, _inside(holder, expression, number))
                waiting.append((part, places[id(part)].of_layer))
    return places


def _inside(holder: Any, expression: str, number: int) -> str:
    """Expression for a layer in its holder."""
    part = holder._layers[number]
    for name, value in vars(holder).items():
        if value is part and not name.startswith("_"):
            return f"{expression}.{name}"
    listed = holder.layers if isinstance(holder, keras.Model) else []
    # Layers of a subclass may share a name: get_layer returns the first.
    first = [each for each in listed if each.name == part.name][:1]
    if first and first[0] is part:
        return f"{expression}.get_layer({part.name!r})"
    return f"{expression}._layers[{number}]"
