"""Compare what reaches a backbone with what it was trained on."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tuner.model_check.findings import (
    ERROR,
    INPUT_SCALING,
    PREPROCESSING_OUTSIDE,
    UNEXAMINED_SCALING,
    WARNING,
    ModelFinding,
)
from tuner.model_check.keras_applications import Family, family_of
from tuner.model_check.parts import Backbone, ModelParts
from tuner.model_check.pixel_mapping import (
    CAFFE,
    COLOURS,
    RGB,
    SIGNED,
    TORCH,
    UNIT,
    PixelMapping,
    colour_images,
    fit_mapping,
    mapping_by_range,
)
from tuner.model_check.probe import Probe

# What may come before a backbone's first convolution without changing the pixels. A nested model is
# followed by its layers.
_NEUTRAL = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.Model)
_RESCALING = (keras.layers.Rescaling, keras.layers.Normalization)


def check_scaling(probe: Probe, is_given: bool) -> Iterator[ModelFinding]:
    """Find wrong or unknown scaling of a model's input; nothing where it is as expected.

    Args:
        probe: of the user's model.
        is_given: whether its images are the user's, and not random ones.
    """
    if not probe.parts.backbones:
        return  # a finding of its own
    known = _known_backbone(probe.parts)
    if isinstance(known, str):
        yield _unknown(known)
        return
    family, backbone = known
    in_model = _mapping(probe, backbone)
    if in_model is None:
        yield _unknown(f"what reaches the {family.name} are no RGB images")
        return
    images = mapping_by_range(probe.images) if is_given else RGB
    if images is None:
        low, high = float(probe.images.min()), float(probe.images.max())
        yield _unknown(f"the scaling of images with values from {low:.4g} to {high:.4g} is unclear")
        return
    reached = in_model.after(images)
    # A model may take other values than 0 to 255, which only given images show.
    possible = [reached] if is_given else [in_model.after(each) for each in (RGB, UNIT, SIGNED)]
    if in_model.is_untouched and not is_given and not reached.is_like(family.expected):
        yield _outside(family)
    elif not any(each.is_like(family.expected) for each in possible):
        yield _wrong(family, in_model, images, reached)


def mapping_at_backbone(model: keras.Model) -> PixelMapping | None:
    """What reaches a ResNet's first convolution for images from 0 to 255; None where unknown.

    Raises:
        ModelError: as `check_model`.
    """
    probe = Probe(model)
    known = _known_backbone(probe.parts)
    if isinstance(known, str) or known[0].name != "ResNet":
        return None
    return _mapping(probe, known[1])


def _known_backbone(parts: ModelParts) -> tuple[Family, Backbone] | str:
    """The backbone, and the family that defines its expected input; or why that is not known."""
    if len(parts.backbones) > 1:
        return "several backbones stand side by side"
    (backbone,) = parts.backbones
    family = family_of(layer.name for layer in backbone.layers)
    if family is None:
        return f"what the backbone {backbone.name!r} was trained on is not known"
    if not backbone.is_resnet and not _is_as_built(family, backbone.layers):
        return (
            f"what comes before the {family.name}'s first convolution is not what "
            "keras.applications puts there"
        )
    return family, backbone


def _is_as_built(family: Family, layers: Sequence[Any]) -> bool:
    """Whether only the family's own rescaling comes before the first convolution."""
    before = list(
        itertools.takewhile(lambda layer: not isinstance(layer, keras.layers.Conv2D), layers)
    )
    rescaling = [layer for layer in before if isinstance(layer, _RESCALING)]
    neutral = [layer for layer in before if isinstance(layer, _NEUTRAL)]
    rescales_itself = not family.module
    return len(rescaling) + len(neutral) == len(before) and bool(rescaling) is rescales_itself


def _unknown(why: str) -> ModelFinding:
    return ModelFinding(UNEXAMINED_SCALING, WARNING, f"scaling was not examined: {why}.")


def _outside(family: Family) -> ModelFinding:
    return ModelFinding(
        PREPROCESSING_OUTSIDE,
        WARNING,
        "preprocessing is not part of the model: RGB images with values from 0 to 255 would be "
        "wrong, and whether they are preprocessed before it is unknown.",
        f"x = {family.repair('inputs')}  # in the model, in front of the backbone",
    )


def _wrong(
    family: Family, in_model: PixelMapping, images: PixelMapping, reached: PixelMapping
) -> ModelFinding:
    gets = f"{family.name} gets" if family.name != "ResNet" else "ResNet's first convolution gets"
    if (images is UNIT or images is SIGNED) and in_model.is_like(family.expected):
        what = (
            f"the model takes values from 0 to 255, but the images have "
            f"{'0' if images is UNIT else '-1'} to 1: its {gets} {reached.description()}"
        )
        repair = f"images = {'images * 255' if images is UNIT else '(images + 1) * 127.5'}"
    elif (images is CAFFE or images is TORCH) and not in_model.is_untouched:
        what = "images that are preprocessed already are preprocessed again in the model"
        repair = "images = rgb  # from 0 to 255: the model preprocesses them"
    else:
        what = f"the {gets} {reached.description()}"
        repair = f"x = {family.repair('images')}  # RGB from 0 to 255, in place of other scaling"
    sentence = f"{what}; the {family.name} was trained on {family.trained_on}."
    return ModelFinding(INPUT_SCALING, ERROR, sentence, repair)


def _mapping(probe: Probe, backbone: Backbone) -> PixelMapping | None:
    """The pixels that reach the backbone; None for grey images, or parts of images."""
    inputs = probe.run(colour_images(*probe.images.shape[1:3])).backbone_inputs
    pixels = inputs.get(backbone.input_layer)
    if pixels is None or pixels.ndim != 4 or pixels.shape[::3] != (len(COLOURS), 3):
        return None
    return fit_mapping(pixels)
