"""What lies around the pixels of a file, by its bytes alone: headers, EXIF blocks, profiles."""

import re
import struct
import zlib
from collections.abc import Iterator

from tuner.decoding.formats import MAX_PROFILE_BYTES

_MAX_JPEG_HEADER_BYTES = 1 << 20
# The start of a segment: a marker other than padding, restarts and the like, which have no length.
_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd9\xff]")
# Comments and applications' data, but for those that tell the colour space: JFIF's and Adobe's.
_JPEG_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def split_jpeg(data: bytes) -> tuple[bytes, bytes, bytes | None]:
    """A JPEG file without its metadata; its EXIF block; its profile.

    Raises:
        ValueError: what is left before the pixels is as long as in no photo.
    """
    kept, exif = [data[:2]], b""
    profile: dict[bytes, bytes] = {}
    position, total = 2, 0
    while (found := _SEGMENT.search(data, position)) and found[0] != b"\xff\xda":
        marker = found[0][1]
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        segment = data[found.start() : position]
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0":
            exif = exif or segment[4:]
        elif marker == 0xE2 and segment[4:16] == b"ICC_PROFILE\0":
            profile.setdefault(segment[16:17], segment[18:])
        elif marker not in _JPEG_METADATA:
            kept.append(segment)
            total += len(segment)
    if total > _MAX_JPEG_HEADER_BYTES:
        raise ValueError("Its header is too long")
    kept.append(data[found.start() if found else position :])
    return b"".join(kept), exif, b"".join(profile[part] for part in sorted(profile)) or None


def split_png(data: bytes) -> tuple[bytes, bytes, bytes | None]:
    """A PNG file without its metadata and further frames; its EXIF block; its profile."""
    kept, exif = [data[:8]], b""
    profile: bytes | None = None
    for name, start, end in _png_chunks(data):
        if name in _PNG_PIXELS:
            kept.append(data[start:end])
        elif name == b"eXIf":
            exif = data[start + 8 : end - 4]
        elif name == b"iCCP":
            profile = _png_profile(data[start + 8 : end - 4])
    return b"".join(kept), exif, profile


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height: https://developers.google.com/speed/webp/docs/riff_container."""
    kind, body = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", body[6:10])
    return width & 0x3FFF, height & 0x3FFF


def bmp_profile(data: bytes) -> bytes | None:
    """The profile in a header of version 5:
    https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapv5header
    """
    if len(data) < 138 or data[14:18] != b"\x7c\0\0\0" or data[70:74] != b"DEBM":
        return None
    start, length = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + length] or None


def end_of_boxes(data: bytes) -> int:
    """Where the last box of an ISO base media file ends (ISO/IEC 14496-12, 4.2), as it claims."""
    position, size = 0, 8
    while position + 8 <= len(data) and size >= 8:
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        position += size
    return position


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's name, start and end, up to the last; the rest from where it is broken as one."""
    start = 8
    while start < len(data):
        name = data[start + 4 : start + 8]
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if not name.isalpha():
            name, end = b"IEND", len(data)
        yield name, start, end
        if name == b"IEND":
            return
        start = end


def _png_profile(chunk: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(chunk[chunk.index(b"\0") + 2 :], MAX_PROFILE_BYTES)
    except (ValueError, zlib.error):
        return None
    return profile if inflater.eof else None
