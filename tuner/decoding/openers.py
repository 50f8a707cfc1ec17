"""The header of a file of each format -> an image that Pillow can decode in bounded memory.

Pillow's classes are called directly: Image.open would try other formats, and has a limit of its own
that can be changed only for the whole process. What Pillow needs for no pixel (comments, EXIF
blocks, profiles, further pages) is taken off first, so that none can be a bomb or cost the image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tuner.decoding import metadata, tiff
from tuner.decoding.formats import MAX_MEMORY_BYTES, DecodeError, check_size

# What Pillow stores for a pixel of each mode; 4 bytes for any other.
_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_RESULT_BYTES = 3
_TURNING_BYTES = 2 * _RESULT_BYTES
# Measured: the decoders of these two hold a picture of their own, and hand it over as a copy.
_WEBP_BYTES = 19
_AVIF_BYTES = 18
_GREY_STEPS = {"1": 255, "L;2": 85, "L;4": 17}
_SEGMENTS = ((tiff.STRIP_OFFSETS, tiff.STRIP_BYTES), (tiff.TILE_OFFSETS, tiff.TILE_BYTES))
# None, Huffman, fax, LZW, JPEG (old and new), deflate (new and old), PackBits, LZMA and Zstandard.
_TIFF_COMPRESSIONS = {*range(1, 9), 32946, 32773, 34925, 50000}
_NATIVE = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}
# Pillow decodes run lengths in Python.
_MAX_RLE_PIXELS = 16_000_000
# A progressive JPEG of 100 megapixels may have 40 scans; usual are 10.
_MAX_SCANNED_PIXELS = 4_000_000_000


@dataclass(frozen=True)
class Opened:
    """An image of which no pixel is decoded yet, and which is small enough to be.

    Attributes:
        image: upright once it is turned by `orientation`.
        orientation: as EXIF counts, 1 to 8.
        profile: an ICC profile.
        bits: the depth of an image of mode I;16.
        white_is_zero: its values are to be inverted.
        unsigned: whether those of mode I are.
        box: left, top, right and bottom of what the file holds; around it there is nothing.
    """

    image: ImageFile
    orientation: int = 1
    profile: bytes | None = None
    bits: int = 16
    white_is_zero: bool = False
    unsigned: bool = False
    box: tuple[int, int, int, int] | None = None


def open_image(data: bytes, name: str) -> Opened:
    """The image of a file of a format that `image_format` names.

    Raises:
        DecodeError: it is too large.
        Exception: of nearly any type, if it is damaged.
    """
    return _OPENERS[name](data)


def _open_jpeg(data: bytes) -> Opened:
    bare, exif, profile = metadata.split_jpeg(data)
    image = JpegImageFile(BytesIO(bare))
    check_size(image.width, image.height)
    scans = bare.count(b"\xff\xda")
    if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
        raise DecodeError(f"it has {scans} scans, too many for its size")
    orientation = tiff.exif_orientation(exif)
    _shrink_jpeg(image, scans, _peak_bytes(image, orientation), len(bare))
    return Opened(image, orientation, profile)


def _shrink_jpeg(image: JpegImageFile, scans: int, peak_bytes: int, file_bytes: int) -> None:
    """Lets libjpeg decode at 1/2, 1/4 or 1/8 if the whole would take too much memory.

    Several scans are collected as coefficients of 2 bytes, whatever the scale.
    """
    pixels = image.width * image.height
    areas = [height * width for _, height, width, _ in image.layer]
    kept = 2 * sum(areas) / max(areas) if scans > 1 else 0
    stored = _STORED_BYTES.get(image.mode, 4)
    for scale in (1, 2, 4, 8):
        needed = max(kept + stored / scale**2, peak_bytes / scale**2)
        if pixels * needed + file_bytes <= MAX_MEMORY_BYTES or scale == 8:
            check_size(image.width, image.height, needed, file_bytes)
            if scale > 1:
                image.draft(None, (image.width // scale, image.height // scale))
            return


def _open_png(data: bytes) -> Opened:
    bare, exif, profile = metadata.split_png(data)
    image = PngImageFile(BytesIO(bare))
    orientation = tiff.exif_orientation(exif)
    check_size(image.width, image.height, _peak_bytes(image, orientation), len(data))
    _mend_png_transparency(image)
    return Opened(image, orientation, profile)


def _mend_png_transparency(image: PngImageFile) -> None:
    """Pillow decodes a transparent colour of 1, 2, 4 or 16 bits to 8, but not the one to match it.

    In 16-bit colour, whatever has its upper bytes is transparent, as no others are decoded.
    """
    colour, raw_mode = image.info.get("transparency"), image.tile[0][3]
    if isinstance(colour, int) and raw_mode in _GREY_STEPS:
        image.info["transparency"] = colour * _GREY_STEPS[raw_mode] & 255
    if isinstance(colour, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _open_webp(data: bytes) -> Opened:
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise DecodeError("it is cut short")
    # Its canvas is made when it is opened.
    check_size(*metadata.webp_size(data), _WEBP_BYTES, len(data))
    image = WebPImageFile(BytesIO(data))
    check_size(*image.size, _WEBP_BYTES, len(data))
    exif = image.info.get("exif", b"")
    return Opened(image, tiff.exif_orientation(exif), image.info.get("icc_profile"))


def _open_gif(data: bytes) -> Opened:
    image = GifImageFile(BytesIO(data))
    check_size(image.width, image.height, _peak_bytes(image), len(data))
    return Opened(image, box=image.tile[0][1])


def _open_bmp(data: bytes) -> Opened:
    image = BmpImageFile(BytesIO(data))
    check_size(image.width, image.height, _peak_bytes(image), len(data))
    if image.tile[0][0] == "bmp_rle" and image.width * image.height > _MAX_RLE_PIXELS:
        raise DecodeError(
            f"it claims {image.width} x {image.height} pixels, more than the "
            f"{_MAX_RLE_PIXELS // 10**6} million allowed in a run-length encoded BMP"
        )
    return Opened(image, profile=metadata.bmp_profile(data))


def _open_tiff(data: bytes) -> Opened:
    directory = tiff.Directory(data)
    _check_tiff(directory, len(data))
    photometric = directory.number(tiff.PHOTOMETRIC, 0)
    bits = directory.number(tiff.BITS, 1)
    # Pillow inverts no image of more than 8 bits.
    white_is_zero = photometric == 0 and bits > 8
    image = _Tiff(BytesIO(directory.pixels_only(1 if white_is_zero else photometric)))
    image.tile = [_native(tile) for tile in image.tile]
    orientation = directory.orientation()
    profile = directory.content(tiff.PROFILE)
    unsigned = directory.number(tiff.SAMPLE_FORMAT, 1) == 1
    return Opened(image, orientation, profile, bits, white_is_zero, unsigned)


def _native(tile: Any) -> Any:
    """libtiff hands out numbers in the order of the machine, which Pillow minds for few kinds."""
    if tile.codec_name != "libtiff":
        return tile
    raw_mode, *others = tile.args
    return tile._replace(args=(_NATIVE.get(raw_mode, raw_mode), *others))


class _Tiff(TiffImageFile):
    def load_prepare(self) -> None:
        """Without Pillow's limit."""
        ImageFile.load_prepare(self)


def _check_tiff(directory: tiff.Directory, file_bytes: int) -> None:
    """Refuses what is cut short, takes too much memory, or would be misread."""
    width, height = directory.number(tiff.WIDTH, 0), directory.number(tiff.HEIGHT, 0)
    check_size(width, height)
    for starts, lengths in _SEGMENTS:
        pairs = zip(directory.numbers(starts), directory.numbers(lengths), strict=False)
        if any(start + length > file_bytes for start, length in pairs):
            raise DecodeError("it is cut short")
    samples = directory.number(tiff.SAMPLES, 1)
    raw_bytes = samples * max(directory.numbers(tiff.BITS), default=1) / 8
    rows = min(directory.number(tiff.ROWS_PER_STRIP, height), height)
    tile = directory.number(tiff.TILE_WIDTH, 0) * directory.number(tiff.TILE_HEIGHT, 0)
    # libtiff decodes a strip or a tile at once, and turns YCbCr into 4 bytes besides.
    buffer = max(width * rows, tile) * (raw_bytes + 4) / max(width * height, 1)
    stored = 1 if samples == 1 and raw_bytes <= 1 else 4
    turning = _TURNING_BYTES if directory.orientation() != 1 else 0
    check_size(width, height, max(stored + max(_RESULT_BYTES, buffer), turning), file_bytes)
    if directory.number(tiff.COMPRESSION, 1) not in _TIFF_COMPRESSIONS or _is_misread(directory):
        raise DecodeError("it is a kind of TIFF image that is not supported")


def _is_misread(directory: tiff.Directory) -> bool:
    """Whether it is YCbCr without compression.

    Pillow takes subsampled colours for whole ones, and before release 13 all of them for RGB.
    """
    is_raw = directory.number(tiff.COMPRESSION, 1) == 1
    return is_raw and directory.number(tiff.PHOTOMETRIC, 0) == 6


def _open_avif(data: bytes) -> Opened:
    if metadata.end_of_boxes(data) > len(data):
        raise DecodeError("it is cut short")
    image = AvifImageFile(BytesIO(data))
    check_size(image.width, image.height, _AVIF_BYTES, len(data))
    # The turns that the container asks for: Pillow puts them in the place of EXIF's orientation.
    exif = image.info.get("exif", b"")
    return Opened(image, tiff.exif_orientation(exif), image.info.get("icc_profile"))


def _peak_bytes(image: ImageFile, orientation: int = 1) -> int:
    """What a pixel takes while the result is filled, or while it is turned into a second one."""
    stored = _STORED_BYTES.get(image.mode, 4)
    return max(stored + _RESULT_BYTES, _TURNING_BYTES if orientation != 1 else 0)


_OPENERS: dict[str, Callable[[bytes], Opened]] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "WebP": _open_webp,
    "GIF": _open_gif,
    "BMP": _open_bmp,
    "TIFF": _open_tiff,
    "AVIF": _open_avif,
}
