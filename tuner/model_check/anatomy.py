"""What a user's own model is made of: pretrained backbones, and what was put around them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

# keras.applications gives the ResNets of He et al. 2016 these names; ResNetV2 has no conv1_bn, and
# the blocks of DenseNet end in "_concat".
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
        layers: from input to output; one that stands inside another comes after it.
        entrance: layer that the images enter it by; of a ResNet the one before whose convolution
            nothing but padding happens.
        end: layer that its activations come from.
        batchnorms: its BatchNormalization layers.
    """

    name: str
    layers: tuple[Any, ...]
    entrance: Any
    end: Any
    batchnorms: tuple[Any, ...]

    @property
    def is_resnet(self) -> bool:
        """Whether it is one whose preprocessing is known."""
        return self.name == "ResNet"


@dataclass(frozen=True)
class Anatomy:
    """The parts of a model.

    Attributes:
        backbones: usually one; those of an ensemble; none if none was found.
        head_batchnorms: the BatchNormalization layers outside of them.
    """

    backbones: tuple[Backbone, ...]
    head_batchnorms: tuple[Any, ...]

    @property
    def batchnorms(self) -> tuple[Any, ...]:
        """The BatchNormalization layers of all backbones."""
        return tuple(layer for each in self.backbones for layer in each.batchnorms)


def all_layers(layer: Any) -> list[Any]:
    """Every layer below one, also those inside nested models and layers, each once.

    Returns:
        A layer stands before those that are inside it, and a graph's layers from input to output.
    """
    found: dict[int, Any] = {}
    for part in layer._layers:
        for each in (part, *all_layers(part)):
            found.setdefault(id(each), each)
    return list(found.values())


def dissect(model: keras.Model) -> Anatomy:
    """Tells backbones from the head by the layers' names and nesting.

    A ResNet of keras.applications is known by its layers' names, wherever they stand. Every other
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
    return Anatomy(backbones, tuple(head))


def _resnets(holders: Sequence[Any]) -> list[Backbone]:
    """ResNets, each with its layers that stand in further models, as where it was cut in two."""
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
    """What a ResNet consists of in the model that directly holds it; its head comes after that."""
    parts = holder._layers
    last = max(
        (n for n, part in enumerate(parts) if _RESNET_LAYER.fullmatch(part.name)), default=-1
    )
    return list(parts[: last + 1])


def _resnet(layers: list[Any]) -> Backbone:
    names = {layer.name: layer for layer in layers}
    entrance = names.get("conv1_pad", names["conv1_conv"])
    batchnorms = [layer for layer in _batchnorms(layers) if _RESNET_BATCHNORM.fullmatch(layer.name)]
    every = {id(each): each for layer in layers for each in (layer, *all_layers(layer))}
    return Backbone("ResNet", tuple(every.values()), entrance, layers[-1], tuple(batchnorms))


def _nested_models(layer: Any) -> list[keras.Model]:
    """The models below a layer that images enter.

    Of one inside another, as in a whole classifier behind a Rescaling, the inner one counts if it
    has most of the convolutions: then the outer one is it and a head, and not it and its stem.
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
    """How many layers stand up to the pooling after the last convolution; a head comes after it.

    Squeeze-and-excitation pools in front of convolutions.
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
