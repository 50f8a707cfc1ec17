"""Whether a backbone gets such numbers as it was trained on, in the model and in front of it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import keras

from tuner.model_check.anatomy import Anatomy, Backbone
from tuner.model_check.keras_applications import Family, family_of
from tuner.model_check.pixel_mapping import (
    CAFFE,
    COLOURS,
    RGB,
    SIGNED,
    TORCH,
    UNIT,
    Arrival,
    arrival,
    coloured_images,
    given,
)
from tuner.model_check.probe import Probe

# What may stand in front of a backbone's first convolution, for what enters it to be what it gets.
# The layers of a nested model follow it.
_PASSING = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.Model)
_RESCALING = (keras.layers.Rescaling, keras.layers.Normalization)


class Verdict(Enum):
    """What is said of the scaling."""

    WRONG = auto()
    OUTSIDE = auto()  # right or wrong in front of the model, which is not seen
    UNKNOWN = auto()


@dataclass(frozen=True)
class Judgement:
    """What is wrong with the scaling of a model's input, or unknown of it.

    Attributes:
        verdict: which of them.
        sentence: the same with figures.
        repair: one line of code that mends it; empty where none can be given.
    """

    verdict: Verdict
    sentence: str
    repair: str = ""


def judge(probe: Probe, is_given: bool) -> Judgement | None:
    """Compares what reaches the backbone with what it was trained on; None where that is the same.

    Args:
        probe: of the user's model.
        is_given: whether its images are the user's, and not made up.
    """
    if not probe.anatomy.backbones:
        return None  # which is a finding of its own
    known = _known_backbone(probe.anatomy)
    if isinstance(known, str):
        return _unknown(known)
    family, backbone = known
    in_model = _arrival(probe, backbone)
    if in_model is None:
        return _unknown(f"what reaches the {family.name} are no RGB images")
    images = given(probe.images) if is_given else RGB
    if images is None:
        low, high = float(probe.images.min()), float(probe.images.max())
        return _unknown(
            f"what was done to images with values from {low:.4g} to {high:.4g} cannot be told"
        )
    reached = in_model.after(images)
    if reached.is_like(family.expected):
        return None
    if in_model.is_untouched and not is_given:
        return Judgement(
            Verdict.OUTSIDE,
            "preprocessing is not part of the model: RGB images with values from 0 to 255 would be "
            "wrong, and whether they are preprocessed before it is not known.",
            f"x = {family.repair('inputs')}  # in the model, in front of the backbone",
        )
    # A model may take other values than 0 to 255, and nothing says which ones it is given.
    others = () if is_given else (UNIT, SIGNED)
    if any(in_model.after(each).is_like(family.expected) for each in others):
        return None
    return _wrong(family, in_model, images, reached)


def reaching(model: keras.Model) -> Arrival | None:
    """What reaches a ResNet's first convolution of images from 0 to 255; None where none is known.

    Raises:
        ModelError: as `check_model`.
    """
    probe = Probe(model)
    known = _known_backbone(probe.anatomy)
    if isinstance(known, str) or known[0].name != "ResNet":
        return None
    return _arrival(probe, known[1])


def _known_backbone(anatomy: Anatomy) -> tuple[Family, Backbone] | str:
    """The backbone, and the family that says what has to enter it; or why that is not known."""
    if len(anatomy.backbones) > 1:
        return "several backbones stand side by side"
    (backbone,) = anatomy.backbones
    family = family_of(layer.name for layer in backbone.layers)
    if family is None:
        return f"what the backbone {backbone.name!r} was trained on is not known"
    if not backbone.is_resnet and not _is_as_built(family, backbone.layers):
        return (
            f"what stands in front of the {family.name}'s first convolution is not what "
            "keras.applications puts there"
        )
    return family, backbone


def _is_as_built(family: Family, layers: Sequence[Any]) -> bool:
    """Whether nothing but the family's own rescaling stands in front of the first convolution."""
    in_front = list(itertools.takewhile(lambda layer: not _is_convolution(layer), layers))
    rescaling = [layer for layer in in_front if isinstance(layer, _RESCALING)]
    passing = [layer for layer in in_front if isinstance(layer, _PASSING)]
    rescales_itself = not family.module
    return len(rescaling) + len(passing) == len(in_front) and bool(rescaling) is rescales_itself


def _is_convolution(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Conv2D)


def _unknown(why: str) -> Judgement:
    return Judgement(Verdict.UNKNOWN, f"scaling was not examined: {why}.")


def _wrong(family: Family, in_model: Arrival, images: Arrival, reached: Arrival) -> Judgement:
    gets = f"{family.name} gets" if family.name != "ResNet" else "ResNet's first convolution gets"
    if (images is UNIT or images is SIGNED) and in_model.is_like(family.expected):
        what = (
            f"the model takes values from 0 to 255, but the images have "
            f"{'0' if images is UNIT else '-1'} to 1: its {gets} {reached.description()}"
        )
        repair = f"images = {'images * 255' if images is UNIT else '(images + 1) * 127.5'}"
    elif (images is CAFFE or images is TORCH) and not in_model.is_untouched:
        what = "images that are preprocessed already are preprocessed once more in the model"
        repair = "images = rgb  # from 0 to 255: the model preprocesses them"
    else:
        what = f"the {gets} {reached.description()}"
        repair = f"x = {family.repair('images')}  # RGB from 0 to 255, in place of other scaling"
    return Judgement(
        Verdict.WRONG, f"{what}; the {family.name} was trained on {family.trained_on}.", repair
    )


def _arrival(probe: Probe, backbone: Backbone) -> Arrival | None:
    """What enters the backbone; None where that are grey images, or parts of images."""
    observed = probe.run(coloured_images(*probe.images.shape[1:3]))
    entered = observed.entrances.get(backbone.entrance)
    if entered is None or entered.ndim != 4 or entered.shape[::3] != (len(COLOURS), 3):
        return None
    return arrival(entered)
