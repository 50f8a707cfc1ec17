"""Families of keras.applications are recognised by their layers, with the input they expect."""

import keras
import pytest

from tuner.model_check.keras_applications import FAMILIES, Family, family_of
from tuner.model_check.pixel_mapping import colour_images, fit_mapping

# Builders of keras.applications, those of one family together.
MEMBERS = {
    "DenseNet": ("DenseNet121",),
    "ResNet": ("ResNet50",),
    "ResNetV2": ("ResNet50V2",),
    "VGG": ("VGG16", "VGG19"),
    "MobileNet": ("MobileNet",),
    "MobileNetV2": ("MobileNetV2",),
    "MobileNetV3": ("MobileNetV3Small", "MobileNetV3Large"),
    "Xception": ("Xception",),
    "InceptionV3": ("InceptionV3",),
    "InceptionResNetV2": ("InceptionResNetV2",),
    "NASNet": ("NASNetMobile",),
    "EfficientNet": ("EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S"),
    "ConvNeXt": ("ConvNeXtTiny",),
}


def test_every_family_has_a_member_here() -> None:
    assert [family.name for family in FAMILIES] == list(MEMBERS)


@pytest.mark.parametrize(
    ("name", "member"), [(name, member) for name, members in MEMBERS.items() for member in members]
)
def test_a_backbone_is_recognised_whatever_its_name(name: str, member: str) -> None:
    build = getattr(keras.applications, member)
    base = build(include_top=False, weights=None, input_shape=(75, 75, 3))
    family = family_of(layer.name for layer in base.layers)
    assert family is not None
    assert family.name == name


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_expects_what_keras_gives_it(family: Family) -> None:
    names = {"keras": keras, "images": colour_images(4, 5)}
    images = eval(family.repair("images"), names)
    assert fit_mapping(images).is_like(family.expected)


def test_other_networks_are_of_no_family() -> None:
    assert family_of(["conv1", "conv2", "block1_conv1"]) is None
    assert family_of([]) is None
