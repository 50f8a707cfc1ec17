"""Divide a user's own model into pretrained backbones and a head."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

# Layer names in the ResNets (v1) of keras.applications; ResNetV2 has no conv1_bn, and the blocks of
# DenseNet end in "_concat".
RESNET = frozenset({"conv1_conv", "conv1_bn", "conv2_block1_1_conv", "conv2_block1_out"})
_RESNET_BATCHNORM = re.compile(r"conv1_bn|conv\d_block\d+_\d_bn")
_RESNET_LAYER = re.compile(r"conv\d_(block\d+_.+|pad|conv|bn|relu)")
_POOLING = (
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
)


@dataclass(frozen=True)
class Backbone:
    """A pretrained network inside a model.

    Attributes:
        name: "ResNet", or the name of the nested model that it is.
        layers: from input to output; one inside another comes after it.
        input_layer: its first layer; in a ResNet the padding before the first convolution.
        output_layer: the layer that returns its activations.
        batchnorms: its BatchNormalization layers.
    """

    name: str
    layers: tuple[Any, ...]
    input_layer: Any
    output_layer: Any
    batchnorms: tuple[Any, ...]

    @property
    def is_resnet(self) -> bool:
        """Whether it is a ResNet (v1) of keras.applications."""
        return self.name == "ResNet"


@dataclass(frozen=True)
class ModelParts:
    """The parts of a model.

    Attributes:
        backbones: usually one; several in an ensemble; none if none was recognised.
        head_batchnorms: the BatchNormalization layers outside of the backbones.
    """

    backbones: tuple[Backbone, ...]
    head_batchnorms: tuple[Any, ...]

    @property
    def batchnorms(self) -> tuple[Any, ...]:
        """The BatchNormalization layers of all backbones."""
        return tuple(layer for each in self.backbones for layer in each.batchnorms)


def all_layers(layer: Any) -> list[Any]:
    """All layers inside a layer or model, also nested ones, each once.

    Returns:
        Layers before those inside them, and a graph's layers from input to output.
    """
    found: dict[int, Any] = {}
    for part in layer._layers:
        for each in (part, *all_layers(part)):
            found.setdefault(id(each), each)
    return list(found.values())


def find_parts(model: keras.Model) -> ModelParts:
    """Find the backbones and the head by the layers' names and nesting.

    A ResNet of keras.applications is recognised by its layers' names, flat or nested. Every other
    nested model with convolutions that takes images is a backbone too.

    Args:
        model: any built model.
    """
    resnets = _resnets([model, *all_layers(model)])
    known = {id(layer) for resnet in resnets for layer in resnet.layers}
    others = [
        _nested_backbone(nested)
        for nested in _nested_models(model)
        if not known & {id(layer) for layer in (nested, *all_layers(nested))}
    ]
    backbones = (*resnets, *others)
    own = {id(layer) for backbone in backbones for layer in backbone.batchnorms}
    head = [layer for layer in _batchnorms(all_layers(model)) if id(layer) not in own]
    return ModelParts(backbones, tuple(head))


def _resnets(holders: Sequence[Any]) -> list[Backbone]:
    """ResNets, each with all its layers, even if it was cut into several models."""
    found: list[list[Any]] = []
    seen: set[int] = set()
    for holder in holders:
        layers = [layer for layer in _resnet_layers(holder) if id(layer) not in seen]
        seen |= {id(layer) for layer in layers}
        if {layer.name for layer in layers} >= RESNET:
            found.append(layers)
        elif found and not _takes_images(holder):
            found[-1] += layers
    return [_resnet(layers) for layers in found]


def _resnet_layers(holder: Any) -> list[Any]:
    """The layers of a ResNet in the model that directly contains it, without its head."""
    parts = holder._layers
    last = max(
        (n for n, part in enumerate(parts) if _RESNET_LAYER.fullmatch(part.name)), default=-1
    )
    return list(parts[: last + 1])


def _resnet(layers: list[Any]) -> Backbone:
    names = {layer.name: layer for layer in layers}
    first = names.get("conv1_pad", names["conv1_conv"])
    batchnorms = [layer for layer in _batchnorms(layers) if _RESNET_BATCHNORM.fullmatch(layer.name)]
    every = {id(each): each for layer in layers for each in (layer, *all_layers(layer))}
    return Backbone("ResNet", tuple(every.values()), first, layers[-1], tuple(batchnorms))


def _nested_models(layer: Any) -> list[keras.Model]:
    """The nested models that take images.

    Of one inside another, as in a whole classifier behind a Rescaling, the inner one counts if it
    has most of the convolutions: then the outer one adds a head, and not a stem.
    """
    found: dict[int, keras.Model] = {}
    for part in layer._layers:
        nested = _nested_models(part)
        inside = sum(map(_convolutions, nested))
        if _takes_images(part) and 2 * inside < _convolutions(part):
            nested = [part]
        found |= {id(model): model for model in nested}
    return list(found.values())


def _nested_backbone(model: keras.Model) -> Backbone:
    parts = model._layers
    body = parts[: _body_length(parts)]
    layers = {id(each): each for part in body for each in (part, *all_layers(part))}
    end = model if len(body) == len(parts) else body[-1]
    own = [layer for layer in _batchnorms(layers.values()) if layer.input_spec.ndim == 4]
    return Backbone(model.name, tuple(layers.values()), model, end, tuple(own))


def _body_length(parts: Sequence[Any]) -> int:
    """Number of layers up to the pooling after the last convolution, where a head begins.

    Pooling before the last convolution is squeeze-and-excitation.
    """
    last = max(number for number, part in enumerate(parts) if _convolutions(part))
    poolings = [n for n in range(last, len(parts)) if isinstance(parts[n], _POOLING)]
    return poolings[0] + 1 if poolings else len(parts)


def _takes_images(layer: Any) -> bool:
    if not isinstance(layer, keras.Model) or len(getattr(layer, "inputs", None) or []) != 1:
        return False
    shape = layer.inputs[0].shape
    return len(shape) == 4 and shape[-1] == 3 and _convolutions(layer) > 0


def _convolutions(layer: Any) -> int:
    return sum(isinstance(each, keras.layers.Conv2D) for each in (layer, *all_layers(layer)))


def _batchnorms(layers: Iterable[Any]) -> list[Any]:
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
