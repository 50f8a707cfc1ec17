"""Backbones of other families than ResNet are compared with what they were trained on."""

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from tuner.model_check.findings import (
    INPUT_SCALING,
    PREPROCESSING_OUTSIDE,
    UNEXAMINED_SCALING,
    ModelFinding,
)
from tuner.model_check.input_scaling import check_scaling, mapping_at_backbone
from tuner.model_check.probe import Probe

SIZE = 32
applications = keras.applications


def unit(x: Any) -> Any:
    return keras.layers.Rescaling(1 / 255)(x)


def signed(x: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, -1)(x)


def as_it_is(x: Any) -> Any:
    return x


@cache
def base_of(build: Callable[..., keras.Model], **options: Any) -> keras.Model:
    options = {"input_shape": (SIZE, SIZE, 3), **options}
    return build(include_top=False, weights=None, pooling="avg", **options)


def classifier(base: keras.Model, scaling: Callable[[Any], Any]) -> keras.Model:
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, keras.layers.Dense(3)(base(scaling(inputs))))


def scaling_fault(model: keras.Model, images: np.ndarray | None = None) -> ModelFinding | None:
    return next(check_scaling(Probe(model, images), images is not None), None)


@pytest.mark.parametrize(
    ("build", "scaling"),
    [
        (applications.MobileNetV2, signed),
        (applications.MobileNetV3Small, as_it_is),
        (applications.ConvNeXtTiny, as_it_is),
        (applications.DenseNet121, applications.densenet.preprocess_input),
        (applications.VGG16, applications.vgg16.preprocess_input),
    ],
)
def test_right_scaling_is_healthy(
    build: Callable[..., keras.Model], scaling: Callable[[Any], Any]
) -> None:
    assert scaling_fault(classifier(base_of(build), scaling)) is None


@pytest.mark.parametrize(
    ("build", "scaling", "part"),
    [
        (applications.MobileNetV2, unit, "the MobileNetV2 gets RGB values divided by 255"),
        (applications.EfficientNetB0, unit, "the EfficientNet gets RGB values divided by 255"),
        (applications.VGG16, signed, "the VGG was trained on BGR values"),
    ],
)
def test_wrong_scaling_is_named(
    build: Callable[..., keras.Model], scaling: Callable[[Any], Any], part: str
) -> None:
    model = classifier(base_of(build), scaling)
    found = scaling_fault(model)
    assert found is not None
    assert found.name == INPUT_SCALING
    assert part in found.sentence
    assert mapping_at_backbone(model) is None  # what a ResNet50 would make of it is not priced


def test_images_show_the_scaling_in_front_of_the_model(images: np.ndarray) -> None:
    outside = classifier(base_of(applications.MobileNetV2), as_it_is)
    found = scaling_fault(outside)
    assert found is not None
    assert found.name == PREPROCESSING_OUTSIDE
    assert "mobilenet_v2.preprocess_input(inputs)" in found.repair
    found = scaling_fault(outside, images)
    assert found is not None
    assert found.name == INPUT_SCALING
    assert "without any preprocessing (0 to 255)" in found.sentence
    assert scaling_fault(outside, images / 127.5 - 1) is None
    found = scaling_fault(classifier(base_of(applications.EfficientNetB0), as_it_is), images / 255)
    assert found is not None
    assert found.repair == "images = images * 255"


def own() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, x, name="own")


def scaled_inside() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    return base_of(applications.MobileNetV2, input_tensor=signed(inputs), input_shape=None)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (own, "what the backbone 'own' was trained on is not known."),
        (scaled_inside, "what comes before the MobileNetV2's first convolution is not"),
        (
            lambda: base_of(applications.MobileNetV3Small, include_preprocessing=False),
            "what comes before the MobileNetV3's first convolution is not",
        ),
    ],
    ids=["one's own", "scaled inside", "without its rescaling"],
)
def test_what_a_backbone_expects_may_be_unknown(build: Callable[[], keras.Model], why: str) -> None:
    found = scaling_fault(classifier(build(), as_it_is))
    assert found is not None
    assert found.name == UNEXAMINED_SCALING
    assert found.sentence.startswith(f"scaling was not examined: {why}")


def test_backbones_side_by_side_are_not_examined() -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    bases = [base_of(applications.MobileNetV2, name=name) for name in "ab"]
    both = keras.layers.Concatenate()([base(inputs) for base in bases])
    found = scaling_fault(keras.Model(inputs, keras.layers.Dense(3)(both)))
    assert found is not None
    assert found.name == UNEXAMINED_SCALING
    assert "side by side" in found.sentence


def test_a_backbone_inside_a_pipeline_is_examined() -> None:
    base = base_of(applications.MobileNetV2)
    pipeline = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), keras.layers.Rescaling(1 / 255), base]
    )
    found = scaling_fault(classifier(pipeline, as_it_is))
    assert found is not None
    assert "divided by 255" in found.sentence
