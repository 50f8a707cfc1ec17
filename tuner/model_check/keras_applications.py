"""The input that backbones of keras.applications expect, by the names of their layers."""

from collections.abc import Iterable
from dataclasses import dataclass

from tuner.model_check.parts import RESNET
from tuner.model_check.pixel_mapping import CAFFE, RGB, SIGNED, TORCH, PixelMapping


@dataclass(frozen=True)
class Family:
    """Backbones that expect the same input.

    Attributes:
        name: in sentences.
        layers: endings of the names of some of its first layers.
        expected: mapping of RGB values from 0 to 255 to its input.
        module: of keras.applications, whose preprocess_input does that; empty where the backbone
            takes values from 0 to 255 and rescales them itself.
    """

    name: str
    layers: frozenset[str]
    expected: PixelMapping
    module: str = ""

    @property
    def trained_on(self) -> str:
        """The expected input in words."""
        if self.expected is CAFFE:
            return "BGR values from 0 to 255 minus ImageNet's mean"
        if self.expected is SIGNED:
            return "RGB values from -1 to 1"
        if self.expected is TORCH:
            return "RGB values normalised by ImageNet's mean and deviation"
        return "RGB values from 0 to 255, which it rescales itself"

    def repair(self, images: str) -> str:
        """Python expression for the expected input.

        Args:
            images: expression for RGB images from 0 to 255.
        """
        return (
            f"keras.applications.{self.module}.preprocess_input({images})"
            if self.module
            else images
        )


def family_of(names: Iterable[str]) -> Family | None:
    """The family of a network, or None if it is unknown.

    Args:
        names: of its layers.
    """
    own = tuple(names)
    return next((each for each in FAMILIES if _is(each, own)), None)


def _is(family: Family, names: tuple[str, ...]) -> bool:
    return all(any(name.endswith(end) for name in names) for end in family.layers)


def _family(name: str, layers: str, expected: PixelMapping, module: str = "") -> Family:
    return Family(name, frozenset(layers.split()), expected, module)


FAMILIES = (
    _family("DenseNet", "conv1_conv conv2_block1_0_bn pool2_conv", TORCH, "densenet"),
    Family("ResNet", RESNET, CAFFE, "resnet50"),
    _family("ResNetV2", "conv1_conv conv2_block1_preact_bn", SIGNED, "resnet_v2"),
    _family("VGG", "block1_conv1 block1_pool block2_conv1", CAFFE, "vgg16"),
    _family("MobileNet", "conv1 conv_dw_1 conv_pw_1", SIGNED, "mobilenet"),
    _family("MobileNetV2", "bn_Conv1 expanded_conv_depthwise_BN", SIGNED, "mobilenet_v2"),
    _family("MobileNetV3", "conv_bn expanded_conv_depthwise_bn", RGB),
    _family("Xception", "block1_conv1_bn block2_sepconv1_bn", SIGNED, "xception"),
    _family("InceptionV3", "mixed0 mixed1", SIGNED, "inception_v3"),
    _family("InceptionResNetV2", "mixed_5b block35_1_mixed", SIGNED, "inception_resnet_v2"),
    _family("NASNet", "stem_bn1 reduction_conv_1_stem_1", SIGNED, "nasnet"),
    _family("EfficientNet", "stem_conv stem_bn block1a_project_bn", RGB),
    _family("ConvNeXt", "stage_0_block_0_depthwise_conv", RGB),
)
