"""Whether a backbone gets such numbers as it was trained on, in the model and in front of it."""

from dataclasses import dataclass
from enum import Enum, auto

import keras

from tuner.probe import Probe
from tuner.scaling import (
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

_PREPROCESS = "keras.applications.resnet50.preprocess_input"
_TRAINED_ON = "the ResNet was trained on BGR values from 0 to 255 minus ImageNet's mean."


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
    """Compares what reaches the ResNet with what it was trained on; None where that is the same.

    Args:
        probe: of the model.
        is_given: whether its images are the user's, and not made up.
    """
    if not probe.anatomy.is_resnet:
        return None
    in_model = _arrival(probe)
    if in_model is None:
        return None
    images = given(probe.images) if is_given else RGB
    if images is None:
        low, high = float(probe.images.min()), float(probe.images.max())
        return Judgement(
            Verdict.UNKNOWN,
            f"scaling was not examined: what was done to images with values from {low:.4g} to "
            f"{high:.4g} cannot be told.",
        )
    reached = in_model.after(images)
    if reached.is_expected:
        return None
    if not is_given and any(in_model.after(each).is_expected for each in (UNIT, SIGNED)):
        return None
    if in_model.is_untouched and not is_given:
        return Judgement(
            Verdict.OUTSIDE,
            "preprocessing is not part of the model: RGB images with values from 0 to 255 would be "
            "wrong, and whether they are preprocessed before it is not known.",
            f"x = {_PREPROCESS}(inputs)  # in the model, in front of the backbone",
        )
    return _wrong(in_model, images, reached)


def reaching(model: keras.Model) -> Arrival | None:
    """What reaches a ResNet's first convolution of images from 0 to 255; None where none is known.

    Raises:
        ModelError: as `check_model`.
    """
    probe = Probe(model)
    return _arrival(probe) if probe.anatomy.is_resnet else None


def _wrong(in_model: Arrival, images: Arrival, reached: Arrival) -> Judgement:
    if (images is UNIT or images is SIGNED) and in_model.is_expected:
        what = (
            f"the model takes values from 0 to 255, but the images have "
            f"{'0' if images is UNIT else '-1'} to 1: its first convolution gets "
            f"{reached.description()}"
        )
        repair = f"images = {'images * 255' if images is UNIT else '(images + 1) * 127.5'}"
    elif (images is CAFFE or images is TORCH) and not in_model.is_untouched:
        what = "images that are preprocessed already are preprocessed once more in the model"
        repair = "images = rgb  # from 0 to 255: the model preprocesses them"
    else:
        what = f"the ResNet's first convolution gets {reached.description()}"
        repair = f"x = {_PREPROCESS}(images)  # RGB from 0 to 255, in place of other scaling"
    return Judgement(Verdict.WRONG, f"{what}; {_TRAINED_ON}", repair)


def _arrival(probe: Probe) -> Arrival | None:
    arrived = probe.run(coloured_images(*probe.images.shape[1:3])).entrance
    if arrived is None or arrived.ndim != 4 or arrived.shape[::3] != (len(COLOURS), 3):
        return None  # grey images, or parts of images
    return arrival(arrived)
