"""What a user's own model is made of: a pretrained backbone, and what was put around it."""

import re
from dataclasses import dataclass
from typing import Any

import keras

# keras.applications gives the ResNets of He et al. 2016 these names; ResNetV2 has no conv1_bn.
_RESNET = frozenset({"conv1_conv", "conv1_bn", "conv2_block1_1_conv"})
_RESNET_BATCHNORM = re.compile(r"conv1_bn|conv\d_block\d+_\d_bn")
_RESNET_BLOCK_END = re.compile(r"conv\d_block\d+_out")


@dataclass(frozen=True)
class Anatomy:
    """The parts of a model.

    Attributes:
        backbone: "ResNet", the name of a nested model that begins with images, or None if neither
            was found.
        base: Python expression for the model that directly holds its BatchNormalization layers.
        entrances: layers that the images enter the backbone by; of a ResNet the one before whose
            convolution nothing but padding happens.
        ends: layers that the backbone's activations come from; the last one called is the end.
        batchnorms: the backbone's BatchNormalization layers.
        head_batchnorms: all others.
    """

    backbone: str | None
    base: str
    entrances: tuple[Any, ...]
    ends: tuple[Any, ...]
    batchnorms: tuple[Any, ...]
    head_batchnorms: tuple[Any, ...]

    @property
    def is_resnet(self) -> bool:
        """Whether the backbone is one whose preprocessing is known."""
        return self.backbone == "ResNet"


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
    """Tells the backbone from the head by the layers' names and nesting.

    A ResNet of keras.applications is known by its layers' names, wherever they stand. Else every
    nested model with convolutions that takes images is a backbone.

    Args:
        model: any built model.
    """
    layers = all_layers(model)
    every = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    names = {layer.name: layer for layer in layers}
    if names.keys() >= _RESNET:
        backbone: str | None = "ResNet"
        entrances = [names.get("conv1_pad", names["conv1_conv"])]
        ends = [layer for layer in layers if _RESNET_BLOCK_END.fullmatch(layer.name)]
        own = [layer for layer in every if _RESNET_BATCHNORM.fullmatch(layer.name)]
    else:
        entrances = ends = [layer for layer in layers if _is_backbone(layer)]
        backbone = entrances[0].name if entrances else None
        inside = [part for nested in entrances for part in all_layers(nested)]
        own = [layer for layer in every if layer in inside and layer.input_spec.ndim == 4]
    head = tuple(layer for layer in every if layer not in own)
    base = _holder(own[0], model, "model") if own else "base"
    return Anatomy(backbone, base, tuple(entrances), tuple(ends), tuple(own), head)


def _holder(layer: Any, model: keras.Model, expression: str) -> str:
    """Expression for the nested model that directly holds a layer; `base` where there is none."""
    if layer in model.layers:
        return expression
    for nested in model.layers:
        if isinstance(nested, keras.Model) and layer in all_layers(nested):
            return _holder(layer, nested, f"{expression}.get_layer({nested.name!r})")
    return "base"


def _is_backbone(layer: Any) -> bool:
    if not isinstance(layer, keras.Model) or len(getattr(layer, "inputs", None) or []) != 1:
        return False
    has_convolution = any(isinstance(part, keras.layers.Conv2D) for part in all_layers(layer))
    return len(layer.inputs[0].shape) == 4 and has_convolution
