"""Colour profiles made by hand."""

import struct
from typing import Any

import numpy as np

from tests.support.sample_images import (
    HEIGHT,
    RGB,
    WIDTH,
)

D50 = (0.9642, 1.0, 0.8249)
PAPER, INK = (90.0, 0.0, 10.0), (60.0, 40.0, -30.0)  # Lab; INK is that of full cyan
# Columns are the primaries, in XYZ under D50; Adobe RGB has a gamma of 563/256.
ADOBE = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.0195, 0.0609, 0.7446]]
)


SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.0971, 0.7141]]
)


GAMMA = 563 / 256


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of version 2."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    head = bytearray(128)
    head[:4] = struct.pack(">I", start + len(body))
    head[8:12] = b"\x02\x40\0\0"
    head[12:24] = (b"prtr" if space == b"CMYK" else b"mntr") + space + connection
    head[36:40] = b"acsp"
    head[68:80] = fixed(D50)
    return bytes(head) + table + body


def fixed(numbers: Any) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz(numbers: Any) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(numbers)


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def text(value: bytes = b"test") -> dict[bytes, bytes]:
    description = b"desc\0\0\0\0" + struct.pack(">I", len(value) + 1) + value + b"\0" * 79
    return {b"desc": description, b"cprt": b"text\0\0\0\0none\0"}


def rgb_profile(matrix: np.ndarray = ADOBE, **more: bytes) -> bytes:
    colours = {
        name + kind: tag
        for name, column in zip((b"r", b"g", b"b"), matrix.T, strict=True)
        for kind, tag in ((b"XYZ", xyz(column)), (b"TRC", curve(GAMMA)))
    }
    extra = {name.encode(): tag for name, tag in more.items()}
    return icc(b"RGB ", b"XYZ ", text() | {b"wtpt": xyz(D50)} | colours | extra)


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", b"XYZ ", text() | {b"wtpt": xyz(D50), b"kTRC": curve(gamma)})


def cmyk_profile() -> bytes:
    """Black covers everything, cyan is a colour, the others leave the paper as it is."""
    ramp = bytes(range(256))
    points = [
        (0.0, 0.0, 0.0) if black else INK if cyan else PAPER
        for cyan, _, _, black in np.ndindex(2, 2, 2, 2)
    ]
    grid = b"".join(
        bytes([round(light * 2.55), round(a + 128), round(b + 128)]) for light, a, b in points
    )
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(np.eye(3).ravel())
    return icc(
        b"CMYK", b"Lab ", text() | {b"wtpt": xyz(D50), b"A2B0": lut + ramp * 4 + grid + ramp * 3}
    )


def bmp_with_profile(profile: bytes) -> bytes:
    """BITMAPV5HEADER, whose profile lies behind the pixels."""
    rows = b"".join(row.tobytes() for row in RGB[::-1, :, ::-1])
    header = struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, len(rows), 0, 0, 0, 0)
    header = header.ljust(56, b"\0") + b"DEBM"
    header = header.ljust(112, b"\0") + struct.pack("<III", 124 + len(rows), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 124) + header + rows + profile


PROFILE = rgb_profile()
