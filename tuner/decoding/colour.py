"""Convert the colours of any image to sRGB on white."""

import functools
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tuner.decoding.formats import MAX_PROFILE_BYTES

_SPACE_OF_MODE = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a loaded image of any 8-bit mode to RGB, with `profile` to sRGB, on white.

    Without a profile, or with one that is broken or for another kind of image, colours count as
    sRGB, and CMYK is inverted.
    """
    if not image.has_transparency_data:
        return _converted(_base(image), profile)
    layer = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
    colours = _converted(layer.convert(layer.mode[:-1]), profile)
    colours.putalpha(layer.getchannel("A"))
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), colours).convert("RGB")


def _base(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _applied(ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB"), image)
    if image.mode in _SPACE_OF_MODE:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None or len(profile) > MAX_PROFILE_BYTES:
        return image.convert("RGB")
    if image.mode == "L" and profile[16:20] == b"RGB ":
        image = image.convert("RGB")
    if profile[16:20] == _SPACE_OF_MODE[image.mode]:
        transform = _transform(profile, image.mode)
        if transform is not None:
            return _applied(transform, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    result = transform.apply(image)
    result.info.clear()  # drops the copied profile
    return result


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB; None if it changes nothing, or the profile is broken."""
    # LittleCMS would approximate a steep curve by too few points for dark greys.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", flags=flags)
        probe = _probe(mode)
        change = np.asarray(_applied(transform, probe), int) - np.asarray(probe.convert("RGB"))
    except Exception:  # ImageCms raises several types
        return None
    # Profiles of sRGB differ by rounding; sRGB images keep their exact pixels.
    return transform if np.abs(change).max() > 1 else None


def _probe(mode: str) -> Image.Image:
    """An image of a grid of all colours."""
    levels = np.linspace(0, 255, 16 if mode != "L" else 256).round().astype(np.uint8)
    bands = np.meshgrid(*[levels] * len(mode))
    return Image.merge(mode, [Image.fromarray(band.reshape(-1, 256)) for band in bands])


@functools.cache
def _srgb() -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
