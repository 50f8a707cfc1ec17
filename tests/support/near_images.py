"""Pictures, and copies of them that the program promises to find."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw


def photo(seed: int, size: int = 96) -> Image.Image:
    """Noise whose amplitude falls with the frequency, as in photos, in a tint of its own."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(random.normal(size=(size, size))) / frequency, (size, size))
    grey = 128 + 40 * noise / noise.std()
    tint = random.uniform(-25, 25, 3)
    return Image.fromarray((grey[:, :, None] + tint).clip(0, 255).astype(np.uint8))


def icon(seed: int, size: int = 64) -> Image.Image:
    """Three coloured shapes on white."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (size * 4, size * 4), "white")
    draw = ImageDraw.Draw(image)
    for shape in (draw.ellipse, draw.rectangle, draw.ellipse):
        left, top = random.integers(size // 4, 2 * size, 2)
        right, below = np.array([left, top]) + random.integers(size, 2 * size, 2)
        colour = tuple(map(int, random.integers(0, 200, 3)))
        shape((int(left), int(top), int(right), int(below)), fill=colour)
    return image.resize((size, size), Image.Resampling.BOX)


def saved(image: Image.Image, kind: str = "JPEG", quality: int = 85) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, kind, quality=quality)
    return Image.open(buffer).convert("RGB")


def scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return saved(image.resize(size, Image.Resampling.BICUBIC))


def cropped(image: Image.Image, share: float) -> Image.Image:
    cut = round(image.width * share)
    inside = image.crop((cut, cut, image.width - cut, image.height - cut))
    return saved(inside.resize(image.size, Image.Resampling.BICUBIC))


def toned(image: Image.Image, curve: Callable[[float], float]) -> Image.Image:
    return saved(image.point([round(min(max(curve(v), 0), 255)) for v in range(256)] * 3))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 30": lambda image: saved(image, quality=30),
    "half the size": lambda image: scaled(image, 0.5),
    "three quarters": lambda image: scaled(image, 0.75),
    "twice the size": lambda image: scaled(image, 2),
    "another shape": lambda image: image.resize((image.width, image.height * 2 // 3)),
    "crop 2%": lambda image: cropped(image, 0.02),
    "crop 5%": lambda image: cropped(image, 0.05),
    "brighter": lambda image: toned(image, lambda v: v * 1.05),
    "darker": lambda image: toned(image, lambda v: v * 0.9),
    "more contrast": lambda image: toned(image, lambda v: 128 + (v - 128) * 1.1),
    "less contrast": lambda image: toned(image, lambda v: 128 + (v - 128) * 0.9),
    "gamma": lambda image: toned(image, lambda v: 255 * (v / 255) ** 1.25),
    "WebP": lambda image: saved(image, "WEBP", 60),
    "grey": lambda image: saved(image.convert("L")),
}
PICTURES = {f"{draw.__name__} {seed}": draw(seed) for draw in (photo, icon) for seed in range(4)}
