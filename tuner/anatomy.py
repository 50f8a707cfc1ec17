"""What a user's own model is made of: a pretrained backbone, and what was put around it."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

# keras.applications gives the ResNets of He et al. 2016 these names; ResNetV2 has no conv1_bn.
_RESNET = frozenset({"conv1_conv", "conv1_bn", "conv2_block1_1_conv"})
_RESNET_BATCHNORM = re.compile(r"conv1_bn|conv\d_block\d+_\d_bn")
_RESNET_BLOCK_END = re.compile(r"conv\d_block\d+_out")
# What keras.applications calls the layers of a block, in most of its families.
_BLOCK = re.compile(r"(\w*block_?\d+[a-z]?)_.+")
# So many neighbouring blocks are told one by one.
_FEW_BLOCKS = 2


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


@dataclass(frozen=True)
class TrainableLayers:
    """Which layers of a model `fit` changes.

    Attributes:
        names: of the layers with a weight that is trained, from input to output.
        layers: how many layers have weights.
        summary: the same in a few words, neighbouring layers of a block and neighbouring blocks put
            together, such as "conv5_block3_* (3 of 6 layers), head_logits (4 of 107 layers with
            weights)".
    """

    names: tuple[str, ...]
    layers: int
    summary: str


def trainable_layers(model: keras.Model) -> TrainableLayers:
    """Which layers of a model `fit` changes, whatever their own flags say.

    Args:
        model: any built model.
    """
    trained = {id(weight) for weight in model.trainable_weights}
    owners: dict[int, Any] = {}  # of each weight the innermost layer, which comes last
    for layer in (model, *all_layers(model)):
        owners |= {id(weight): layer for weight in layer.weights}
    changed: dict[int, tuple[str, bool]] = {}
    for weight, layer in owners.items():
        is_trained = weight in trained or changed.get(id(layer), ("", False))[1]
        changed[id(layer)] = layer.name, is_trained
    layers = list(changed.values())
    names = tuple(name for name, is_trained in layers if is_trained)
    of = f"{len(names)} of {len(layers)} layers with weights"
    summary = f"{', '.join(_together(layers))} ({of})" if names else f"none ({of})"
    return TrainableLayers(names, len(layers), summary)


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


def _together(layers: Sequence[tuple[str, bool]]) -> list[str]:
    """What is trained, in few words.

    Args:
        layers: name of each, and whether it is trained, from input to output.
    """
    groups = [
        (block, [is_trained for _, is_trained in members])
        for block, members in itertools.groupby(layers, lambda layer: _block_of(layer[0]))
    ]
    words: list[str] = []
    for (is_trained, is_block), run in itertools.groupby(
        groups, lambda group: (any(group[1]), group[0].endswith("*"))
    ):
        parts = list(run)
        if is_trained and is_block and len(parts) > _FEW_BLOCKS:
            flags = [flag for _, members in parts for flag in members]
            parts = [(f"{parts[0][0]} to {parts[-1][0]}", flags)]
        if is_trained:
            words += [_counted(name, flags) for name, flags in parts]
    return words


def _block_of(name: str) -> str:
    """The block that a layer belongs to, ending in `_*`; outside of blocks its own name."""
    found = _BLOCK.fullmatch(name)
    return f"{found[1]}_*" if found else name


def _counted(name: str, flags: Sequence[bool]) -> str:
    return name if all(flags) else f"{name} ({sum(flags)} of {len(flags)} layers)"


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
