"""Decode one file to upright RGB pixels with Pillow, inside a decoder process.

Pillow's classes are called directly, since `Image.open` would try other formats. The global
settings of Pillow below never reach the caller's process.
"""

import contextlib
import importlib
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import AvifImagePlugin, Image, PngImagePlugin, TiffImagePlugin
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from tuner.decoding.colour import to_srgb
from tuner.decoding.formats import (
    HEADER_BYTES,
    MAX_MEMORY_BYTES,
    MAX_PROFILE_BYTES,
    NEEDS_MEMORY,
    DecodeError,
    check_size,
    image_format,
    not_an_image,
)
from tuner.decoding.orientation import as_stored, orientation_of

_PLUGINS = {
    "JPEG": "PIL.JpegImagePlugin.JpegImageFile",
    "PNG": "PIL.PngImagePlugin.PngImageFile",
    "WebP": "PIL.WebPImagePlugin.WebPImageFile",
    "GIF": "PIL.GifImagePlugin.GifImageFile",
    "BMP": "PIL.BmpImagePlugin.BmpImageFile",
    "TIFF": "PIL.TiffImagePlugin.TiffImageFile",
    "AVIF": "PIL.AvifImagePlugin.AvifImageFile",
    "HEIC": "pi_heif.HeifImageFile",
    "PPM": "PIL.PpmImagePlugin.PpmImageFile",
}
# Bytes a pixel (measured) of decoders that report a lack of memory as damage.
_PEAK_BYTES = {"WebP": 19, "AVIF": 18, "HEIC": 12}
# A progressive JPEG of 100 megapixels may have 40 scans; usual are 10.
_MAX_SCANNED_PIXELS = 4_000_000_000
_RAW = "it is a camera's raw file, which is not supported: convert it to JPEG or PNG"
_END_OF_JPEG = b"\xff\xd9"
_BAND_PIXELS = 1_000_000
_UNSUPPORTED = re.compile(r"cannot handle|unsupported|not (yet )?supported|unknown pixel mode")
_GREY_STEPS = {"1": 255, "L;2": 85, "L;4": 17}
# None, Huffman, fax, LZW, JPEG (old and new), deflate (new and old), PackBits, LZMA and Zstandard.
_TIFF_COMPRESSIONS = {*range(1, 9), 32946, 32773, 34925, 50000}
_TIFF_SEGMENTS = ((273, 279), (324, 325))  # offsets and lengths, of strips and of tiles
# libtiff returns numbers in the machine's byte order, which Pillow knows of few kinds.
_NATIVE = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}


class _PixelStream(PngImagePlugin.PngStream):
    """PNG chunks without texts, and with profiles that may be broken."""

    def chunk_tEXt(self, pos: int, length: int) -> bytes:  # noqa: N802
        return self._skip(pos, length)

    chunk_zTXt = chunk_iTXt = chunk_tEXt  # noqa: N815

    def chunk_iCCP(self, pos: int, length: int) -> bytes:  # noqa: N802
        with contextlib.suppress(Exception):
            return super().chunk_iCCP(pos, length)
        return self._skip(pos, length)

    def _skip(self, pos: int, length: int) -> bytes:
        assert self.fp is not None
        self.fp.seek(pos)
        return self.fp.read(length)


Image.MAX_IMAGE_PIXELS = None
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a decoder process runs on each core already
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES
PngImagePlugin.PngStream = _PixelStream  # type: ignore[misc]
# Read images in which 0 is white like the others; they are inverted here.
for _kind, _modes in list(TiffImagePlugin.OPEN_INFO.items()):
    if _kind[1] == 1:
        TiffImagePlugin.OPEN_INFO.setdefault((_kind[0], 0, *_kind[2:]), _modes)


class Room(Protocol):
    """Memory for the pixels of one image."""

    def wait_for_turn(self, pixels: int) -> None:
        """Return once an image of so many pixels may be decoded."""

    def allocate(self, height: int, width: int) -> np.ndarray:
        """An array of uint8, shape (height, width, 3)."""


@dataclass(frozen=True)
class Opened:
    """An image, not yet decoded, with what Pillow does not apply itself.

    `unsigned` is of mode I, `bits` of mode I;16; around `box` (left, top, right, bottom) is white.
    """

    image: ImageFile
    profile: bytes | None = None
    bits: int = 16
    white_is_zero: bool = False
    unsigned: bool = False
    box: tuple[int, int, int, int] | None = None


def write_pixels(data: bytes, room: Room) -> np.ndarray:
    """Decode a file into an array of `room`, and return it; DecodeError says why not.

    Integers of 9 to 16 bits keep their upper eight. Fractions between 0 and 1 are multiplied by
    255; other fractions, and integers of 32 bits or with a sign, are stretched from their least to
    their greatest. What is not a number is black.
    """
    name = image_format(data[:HEADER_BYTES])
    if name is None:
        raise DecodeError(not_an_image(data))
    try:
        opened = _open(data, name)
        room.wait_for_turn(opened.image.width * opened.image.height)
        try:
            opened.image.load()
        except OSError:
            if name != "JPEG" or not _lacks_only_its_end(data):
                raise
            opened = _open(data + _END_OF_JPEG, name)
            opened.image.load()
        return _fill(opened, room)
    except DecodeError:
        raise
    except Exception as error:  # Pillow's parsers raise nearly any type
        raise DecodeError(_reason(error, name)) from error


def _fill(opened: Opened, room: Room) -> np.ndarray:
    image = opened.image
    orientation = orientation_of(image)
    size = (image.height, image.width)
    upright = room.allocate(*(size[::-1] if orientation >= 5 else size))
    pixels = as_stored(upright, orientation)
    eight_bits = _eight_bits(opened)
    for top, band in _bands(image):
        pixels[top : top + band.height] = np.asarray(to_srgb(eight_bits(band), opened.profile))
    if opened.box is not None:
        left, top, right, bottom = opened.box
        pixels[:top] = pixels[bottom:] = 255
        pixels[:, :left] = pixels[:, right:] = 255
    return upright


def _open(data: bytes, name: str) -> Opened:
    if _claimed_bytes(data, name) > len(data):
        raise DecodeError("it is cut short")
    module, _, plugin = _PLUGINS[name].rpartition(".")
    image: ImageFile = getattr(importlib.import_module(module), plugin)(BytesIO(data))
    check_size(image.width, image.height, _PEAK_BYTES.get(name, 1))
    profile = image.info.get("icc_profile")
    if name == "JPEG":
        scans = data.count(b"\xff\xda")
        if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
            raise DecodeError(f"it has {scans} scans, too many for its size")
        _shrink(image, len(data))
    elif name == "PNG":
        _mend_transparency(image)
    elif name == "BMP":
        profile = _bmp_profile(data)
    elif name == "GIF":
        return Opened(image, box=image.tile[0][1])
    elif name == "TIFF":
        if data[8:10] == b"CR":  # Canon's
            raise DecodeError(_RAW)
        return _tiff(image, len(data))
    return Opened(image, profile)


def _claimed_bytes(data: bytes, name: str) -> int:
    """The length of a file of boxes (ISO/IEC 14496-12, 4.2) or a RIFF file; of others 0.

    Their decoders report any file that is cut short as damaged.
    """
    if name == "WebP":
        return 8 + int.from_bytes(data[4:8], "little")
    position, size = 0, 8 if name in ("AVIF", "HEIC") else 0
    while position + 8 <= len(data) and size >= 8:
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        position += size
    return position


def _lacks_only_its_end(data: bytes) -> bool:
    """Whether all pixels of a JPEG are there: then whatever follows them changes none.

    Only of one scan that holds all components; of others it cannot be known.
    """
    image = JpegImageFile(BytesIO(data))
    scan = data.rfind(b"\xff\xda")
    if image.info.get("progressive") or data[scan + 4 : scan + 5] != bytes([len(image.layer)]):
        return False
    ends = (_END_OF_JPEG, bytes(64) + _END_OF_JPEG, b"\xa5" * 64 + _END_OF_JPEG)
    pixels = [JpegImageFile(BytesIO(data.rstrip(b"\xff") + end)).tobytes() for end in ends]
    return pixels[0] == pixels[1] == pixels[2]


def _shrink(image: Any, file_bytes: int) -> None:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 if the whole would take too much memory.

    A progressive file is held as coefficients of 2 bytes, whatever the scale.
    """
    areas = [height * width for _, height, width, _ in image.layer]
    held = 2 * sum(areas) / max(areas) if image.info.get("progressive") else 0
    stored = 1 if image.mode == "L" else 4
    allowed = (MAX_MEMORY_BYTES - file_bytes) / (image.width * image.height)
    for scale in (1, 2, 4, 8):
        if max(held + stored / scale**2, (stored + 3) / scale**2) <= allowed:
            break
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))


def _mend_transparency(image: ImageFile) -> None:
    """Pillow decodes a transparent colour of 1, 2, 4 or 16 bits to 8, but not the one to match it.

    In 16-bit colour, whatever has its upper bytes is transparent, as no others are decoded.
    """
    colour, raw_mode = image.info.get("transparency"), image.tile[0][3]
    if isinstance(colour, int) and raw_mode in _GREY_STEPS:
        image.info["transparency"] = colour * _GREY_STEPS[raw_mode] & 255
    if isinstance(colour, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _bmp_profile(data: bytes) -> bytes | None:
    """The profile in a header of version 5 (BITMAPV5HEADER)."""
    if len(data) < 138 or data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":
        return None
    start, length = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + length] or None


def _tiff(image: Any, file_bytes: int) -> Opened:
    tags = image.tag_v2
    # A file with DNG's version, or whose first image is a small version of another.
    if 50706 in tags or tags.get(254, 0) & 1:
        raise DecodeError(_RAW)
    for starts, lengths in _TIFF_SEGMENTS:
        pairs = zip(tags.get(starts, ()), tags.get(lengths, ()), strict=False)
        if any(start + length > file_bytes for start, length in pairs):
            raise DecodeError("it is cut short")
    compression, photometric = tags.get(259, 1), tags.get(262, 0)
    # Pillow misreads YCbCr without compression.
    if compression not in _TIFF_COMPRESSIONS or (compression == 1 and photometric == 6):
        raise DecodeError("it is a kind of TIFF image that is not supported")
    image.tile = [_native(tile) for tile in image.tile]
    bits = tags.get(258, (1,))[0]
    unsigned = tags.get(339, (1,))[0] == 1
    # Pillow inverts those of 8 bits and less itself.
    return Opened(image, tags.get(34675), bits, photometric == 0 and bits > 8, unsigned)


def _native(tile: Any) -> Any:
    if tile.codec_name != "libtiff":
        return tile
    raw_mode, *others = tile.args
    return tile._replace(args=(_NATIVE.get(raw_mode, raw_mode), *others))


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Bands of rows from the top, as (first row, band), small enough to copy."""
    rows = max(1, _BAND_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _eight_bits(opened: Opened) -> Callable[[Image.Image], Image.Image]:
    """The function that converts a band to a mode of 8 bits."""
    image = opened.image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        shift = max(opened.bits - 8, 0)
        clear = image.info.get("transparency")
        return lambda band: _grey(np.asarray(band) >> shift, opened, np.asarray(band) == clear)
    if image.mode in ("I", "F"):
        least, greatest = _range(opened)
        scale = 255 / (greatest - least)
        return lambda band: _grey((_values(opened, band) - least) * scale, opened)
    return lambda band: band


def _grey(values: np.ndarray, opened: Opened, clear: np.ndarray | None = None) -> Image.Image:
    """Values from 0 to 255 as an image, white where `clear`."""
    values = np.nan_to_num(values, nan=0, posinf=255, neginf=0)
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if opened.white_is_zero:
        grey = 255 - grey
    if clear is not None:
        grey[clear] = 255
    return Image.fromarray(grey)


def _range(opened: Opened) -> tuple[float, float]:
    """The values of black and white."""
    least, greatest = np.inf, -np.inf
    for _, band in _bands(opened.image):
        values = _values(opened, band)
        values = values[np.isfinite(values)]
        least = min(least, values.min(initial=np.inf))
        greatest = max(greatest, values.max(initial=-np.inf))
    if not least < greatest or (opened.image.mode == "F" and least >= 0 and greatest <= 1):
        return 0.0, 1.0
    return float(least), float(greatest)


def _values(opened: Opened, band: Image.Image) -> np.ndarray:
    values = np.asarray(band)
    unsigned = opened.unsigned and band.mode == "I"
    with np.errstate(invalid="ignore"):  # some spellings of NaN
        return values.astype(np.uint32 if unsigned else values.dtype).astype(np.float64)


def _reason(error: Exception, name: str) -> str:
    text = str(error).lower()
    if isinstance(error, MemoryError) or "cannot allocate" in text:
        return NEEDS_MEMORY
    if "could not create decoder" in text:  # of WebP
        return f"it is damaged, or {NEEDS_MEMORY}"
    unknown = name == "TIFF" and isinstance(error.__cause__ or error, KeyError)
    if unknown or _UNSUPPORTED.search(text):
        return f"it is a kind of {name} image that is not supported"
    # A header that ends early shows as an index or a struct past the end, which Pillow wraps.
    early = isinstance(error.__cause__ or error, IndexError | EOFError | struct.error)
    return "it is cut short" if early or "truncated" in text else "it is damaged"
