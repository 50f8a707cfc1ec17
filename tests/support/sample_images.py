"""Small images that show every mistake, and readings of them by anything but Pillow."""

import functools
import os
import struct
import subprocess
import tempfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

HEIGHT, WIDTH = 16, 24
_Y, _X = np.mgrid[:HEIGHT, :WIDTH]
# Red grows to the right and green downwards, so that no turn or flip leaves it as it is.
RGB = np.stack([_X * 11, _Y * 17, 255 - _X * 4 - _Y * 9], axis=2).astype(np.uint8)
GREY = (4 + _X * 7 + _Y * 6).astype(np.uint8)
ALPHA = (255 - _X * 10).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
DEEP = (RGB.astype(np.uint16) * 256) + _X[..., None].astype(np.uint16) * 9  # 16 bits
INDICES = (_X // 3 + _Y // 4).astype(np.uint8)  # 0 to 10
PALETTE = np.array([[i * 17, 255 - i * 15, i * 60 % 256] for i in range(16)], np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """A file as Pillow writes it."""
    stream = BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours of 8 bits laid on white; alpha from 0 to 255."""
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)


def difference(pixels: np.ndarray, expected: np.ndarray) -> int:
    """The greatest, over all pixels and colours."""
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    return int(np.abs(pixels.astype(int) - expected).max())


def opencv(data: bytes, turned: bool = False) -> np.ndarray:
    """How OpenCV reads a file: 8 bits, RGB, on white; or without alpha, but turned by its EXIF."""
    flag = cv2.IMREAD_COLOR if turned else cv2.IMREAD_UNCHANGED
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    assert pixels is not None, "OpenCV cannot read it"
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return np.stack([pixels] * 3, axis=2)
    if pixels.shape[2] == 4:
        return on_white(pixels[..., 2::-1], pixels[..., 3])
    return pixels[..., ::-1]


@functools.cache
def _imagemagick() -> str | None:
    for name in ("magick", "convert"):
        for folder in os.get_exec_path():
            path = Path(folder) / name
            if path.is_file() and b"Version: ImageMagick" in _output([str(path), "-version"]):
                return str(path)
    return None


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).stdout


def imagemagick(data: bytes, *options: str) -> bytes:
    """What ImageMagick makes of a file; the last option is its name for standard output."""
    program = _imagemagick()
    if program is None:
        pytest.skip("ImageMagick is not installed")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        output = _output([program, f"{file.name}[0]", *options])
    assert output, "ImageMagick cannot do it"
    return output


def magick_rgb(data: bytes, *options: str) -> np.ndarray:
    """How ImageMagick reads a file: 8 bits, RGB, on white."""
    output = imagemagick(data, *options, "-background", "white", "-flatten", "-depth", "8", "ppm:-")
    magic, width, height, _ = output.split(maxsplit=3)
    assert magic == b"P6"
    pixels = np.frombuffer(output[-int(width) * int(height) * 3 :], np.uint8)
    return pixels.reshape(int(height), int(width), 3)


def png(depth: int, colour: int, samples: np.ndarray, **chunks: bytes) -> bytes:
    """A PNG file of any depth; `samples` has one row of values for each row of pixels."""
    rows = b"".join(b"\0" + packed(row, depth) for row in samples)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    before = b"".join(png_chunk(name.encode(), body) for name, body in chunks.items())
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before,
            png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b""),
        ]
    )


def png_chunk(name: bytes, body: bytes) -> bytes:
    """With its length and checksum."""
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


def packed(values: np.ndarray, depth: int) -> bytes:
    """Values of `depth` bits one after the other, the highest bit first; then zeros to a byte."""
    bits = (values.reshape(-1, 1).astype(int) >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def bmp(
    bits: int, rows: list[bytes], palette: bytes = b"", masks: bytes = b"", **kind: int
) -> bytes:
    """A BMP file; `rows` from the bottom up, `kind` is compression, height or header_bytes."""
    body = b"".join(row + b"\0" * (-len(row) % 4) for row in rows)
    length = kind.get("header_bytes", 40)
    header = struct.pack(
        "<IiiHHIIiiII",
        *(length, WIDTH, kind.get("height", HEIGHT), 1, bits, kind.get("compression", 0)),
        *(len(body), 2835, 2835, len(palette) // 4, 0),
    )
    header = (header + masks).ljust(length, b"\0") + palette
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header))
        + (header + body)
    )


def grey_rgb(values: np.ndarray) -> np.ndarray:
    """Greys of 0 to 255 as three equal colours."""
    return np.stack([values.astype(np.uint8)] * 3, axis=2)


def cmyk() -> np.ndarray:
    """Inks of 0 to 255."""
    return np.dstack([RGB, GREY // 2])


def rgb_of_cmyk(inks: np.ndarray) -> np.ndarray:
    """Without a profile: each ink takes its share of what black lets through."""
    light = 255 - inks.astype(int)
    return np.rint(light[..., :3] * light[..., 3:] / 255).astype(np.uint8)


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera that was held so stores it: the inverse of what a viewer does."""
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    return np.ascontiguousarray(turned)


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    """A file as tifffile writes it."""
    stream = BytesIO()
    file = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    colour = pixels.ndim == 3 and pixels.shape[2] >= 3
    options.setdefault("photometric", "rgb" if colour else "minisblack")
    with tifffile.TiffWriter(stream, **file) as writer:
        writer.write(pixels, metadata=None, **options)
    return stream.getvalue()


PALETTE_IMAGE = Image.fromarray(INDICES)
PALETTE_IMAGE.putpalette(PALETTE.tobytes())


OTHERS = [Image.fromarray(RGB[::-1].copy())]


SMALL_GIF = encode(PALETTE_IMAGE, "GIF")


GIFS = {
    "still": SMALL_GIF,
    "not interlaced": encode(PALETTE_IMAGE, "GIF", interlace=0),
    "animated": encode(PALETTE_IMAGE, "GIF", save_all=True, append_images=OTHERS),
}


def bmp_16(red: int, green: int, blue: int) -> list[bytes]:
    """Rows of 16-bit pixels of so many bits a colour."""
    values = RGB.astype(int) >> [8 - red, 8 - green, 8 - blue]
    pixels = values[..., 0] << green + blue | values[..., 1] << blue | values[..., 2]
    return [row.astype("<u2").tobytes() for row in pixels[::-1]]


BGRA_ROWS = [row.tobytes() for row in RGBA[::-1, :, [2, 1, 0, 3]]]


BMP_PALETTE = b"".join(bytes(colour[::-1]) + b"\0" for colour in PALETTE)


BMPS = {
    "24": (encode(RGB, "BMP"), RGB, 0),
    "8 grey": (encode(GREY, "BMP"), grey_rgb(GREY), 0),
    "8 palette": (encode(PALETTE_IMAGE, "BMP"), PALETTE[INDICES], 0),
    "4": (bmp(4, [packed(row, 4) for row in INDICES[::-1]], BMP_PALETTE), PALETTE[INDICES], 0),
    "1": (encode(Image.fromarray(GREY > 90), "BMP"), grey_rgb((GREY > 90) * 255), 0),
    "16": (bmp(16, bmp_16(5, 5, 5)), RGB, 7),
    "565": (
        bmp(16, bmp_16(5, 6, 5), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F), compression=3),
        RGB,
        7,
    ),
    "32": (bmp(32, BGRA_ROWS), RGB, 0),
    "32 alpha": (
        bmp(
            32,
            BGRA_ROWS,
            masks=struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000),
            compression=3,
            header_bytes=108,
        ),
        on_white(RGB, ALPHA),
        1,
    ),
    "from the top": (bmp(24, [row.tobytes() for row in RGB[..., ::-1]], height=-HEIGHT), RGB, 0),
}


def run_length_encoded_bmp() -> bytes:
    """Each row as runs of one pixel, then the end of the row."""
    rows = [b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in INDICES[::-1]]
    return bmp(8, [b"".join(rows) + b"\0\1"], BMP_PALETTE.ljust(1024, b"\0"), compression=1)
