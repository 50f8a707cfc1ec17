"""Count a model's trainable layers, block by block."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tuner.model_check.parts import all_layers

# What keras.applications calls the layers of a block, in most of its families.
_BLOCK = re.compile(r"(\w*block_?\d+[a-z]?)_.+")
# Up to this many neighbouring blocks are listed one by one.
_FEW_BLOCKS = 2


@dataclass(frozen=True)
class TrainableLayers:
    """The layers of a model that `fit` changes.

    Attributes:
        names: of the layers with a trained weight, from input to output.
        layers: number of layers with weights.
        summary: the same in a few words, by blocks and runs of blocks, such as "conv5_block3_* (3
            of 6 layers), head_logits (4 of 107 layers with weights)".
    """

    names: tuple[str, ...]
    layers: int
    summary: str


def trainable_layers(model: keras.Model) -> TrainableLayers:
    """Find the layers of a model that `fit` changes, whatever their own flags say.

    Args:
        model: any built model.
    """
    trained = {id(weight) for weight in model.trainable_weights}
    owners: dict[int, Any] = {}  # the innermost layer of each weight, which comes last
    for layer in (model, *all_layers(model)):
        owners |= {id(weight): layer for weight in layer.weights}
    changed: dict[int, tuple[str, bool]] = {}
    for weight, layer in owners.items():
        is_trained = weight in trained or changed.get(id(layer), ("", False))[1]
        changed[id(layer)] = layer.name, is_trained
    layers = list(changed.values())
    names = tuple(name for name, is_trained in layers if is_trained)
    of = f"{len(names)} of {len(layers)} layers with weights"
    summary = f"{', '.join(_grouped(layers))} ({of})" if names else f"none ({of})"
    return TrainableLayers(names, len(layers), summary)


def _grouped(layers: Sequence[tuple[str, bool]]) -> list[str]:
    """The trained layers, by blocks and runs of blocks.

    Args:
        layers: each with its name and whether it is trained, from input to output.
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
    """The block of a layer, ending in `_*`; outside of blocks its own name."""
    found = _BLOCK.fullmatch(name)
    return f"{found[1]}_*" if found else name


def _counted(name: str, flags: Sequence[bool]) -> str:
    return name if all(flags) else f"{name} ({sum(flags)} of {len(flags)} layers)"
