import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.colour_profiles import PROFILE
from tests.support.sample_images import HEIGHT, RGB, RGBA, WIDTH, encode, png_chunk
from tuner.decoding.decode import decode
from tuner.decoding.metadata import end_of_boxes, split_jpeg, split_png, webp_size

EXIF = Image.Exif()
EXIF[0x0112] = 6


def test_a_jpeg_is_split() -> None:
    bare, exif, profile = split_jpeg(encode(RGB, "JPEG", exif=EXIF, icc_profile=PROFILE))
    assert exif == EXIF.tobytes()
    assert profile == PROFILE
    assert bare == encode(RGB, "JPEG")
    assert split_jpeg(bare) == (bare, b"", None)


def test_comments_and_odd_segments_of_a_jpeg_are_taken_off() -> None:
    bare = encode(RGB, "JPEG")
    odd = b"".join(
        [
            b"\xff\xfe\0\x06text",
            b"\xff\xe2\0\x0eICC_PROFILE\0",  # cut short
            b"\xff\xed\0\x0ePhotoshop 3.",
            b"\xff\xff\xff",  # padding
        ]
    )
    whole = bare[:2] + odd + bare[2:]
    assert split_jpeg(whole)[0] == bare
    assert np.array_equal(decode(whole), decode(bare))


def test_tables_without_end_are_refused() -> None:
    bare = encode(RGB, "JPEG")
    with pytest.raises(ValueError, match="too long"):
        split_jpeg(bare[:2] + (b"\xff\xdb\xff\xff" + b"\0" * 65533) * 17 + bare[2:])


def test_a_png_is_split() -> None:
    data = encode(RGB, exif=EXIF, icc_profile=PROFILE)
    bare, exif, profile = split_png(data)
    assert exif == EXIF.tobytes()[6:]
    assert profile == PROFILE
    assert bare == encode(RGB)
    assert split_png(bare + b"what follows the end") == (bare, b"", None)


def test_what_is_broken_in_a_png_is_left_to_its_reader() -> None:
    bare = encode(RGB)
    for rest in (b"\xff" * 40, b"\0\0"):
        assert split_png(bare[:33] + rest)[0] == bare[:33] + rest


@pytest.mark.parametrize("body", [b"", b"no end of the name", b"name\0\0not deflated"])
def test_a_broken_profile_of_a_png_is_none(body: bytes) -> None:
    data = encode(RGB)
    assert split_png(data[:33] + png_chunk(b"iCCP", body) + data[33:])[2] is None


def test_a_profile_that_ends_early_is_none() -> None:
    chunk = png_chunk(b"iCCP", b"name\0\0" + zlib.compress(PROFILE)[:-9])
    data = encode(RGB)
    assert split_png(data[:33] + chunk + data[33:])[2] is None


def test_the_size_of_every_webp() -> None:
    kinds = {
        b"VP8 ": encode(RGB, "WEBP"),
        b"VP8L": encode(RGB, "WEBP", lossless=True),
        b"VP8X": encode(RGBA, "WEBP", exif=EXIF),
    }
    for kind, data in kinds.items():
        assert data[12:16] == kind
        assert webp_size(data) == (WIDTH, HEIGHT)
        assert webp_size(data[:20])[0] in (0, 1)


def test_where_boxes_end() -> None:
    data = encode(RGB, "AVIF")
    assert end_of_boxes(data) == len(data)
    assert end_of_boxes(data[:-1]) == len(data)
    long = b"\0\0\0\1mdat" + struct.pack(">Q", 5_000_000_000)
    assert end_of_boxes(data + long) == len(data) + 5_000_000_000
    assert end_of_boxes(data + b"\0\0\0\0mdat" + b"x" * 99) <= len(data) + 8
