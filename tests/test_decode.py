import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tuner.decode import MAX_PIXELS, DecodeError, decode, on_all_cores, read_image
from tuner.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 40, 3), np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo(kind: str) -> bytes:
    """A picture of some kilobytes, so that there is something to cut."""
    smooth = Image.fromarray(PIXELS).resize((160, 120), Image.Resampling.BICUBIC)
    return encode(smooth, kind)


def png_claiming(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_png_comes_out_as_it_went_in() -> None:
    pixels = decode(encode(Image.fromarray(PIXELS)))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, PIXELS)


def test_jpeg_is_what_pillow_decodes() -> None:
    data = photo("JPEG")
    expected = np.asarray(Image.open(BytesIO(data)))
    assert np.array_equal(decode(data), expected)


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encode(Image.fromarray(PIXELS)))
    assert np.array_equal(read_image(path), PIXELS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\0" * 4096, "it is not an image of a known format"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page, not an image"),
        (b"\xff\xd8\xff\xe0", "it is cut short"),
        (b"\x89PNG\r\n\x1a\n", "it is cut short"),
        (photo("JPEG")[:300], "it is cut short"),
        (photo("JPEG")[:-500], "it is cut short"),
        (photo("PNG")[:20], "it is cut short"),
        (photo("PNG")[:2000], "it is cut short"),
        (b"\xff\xd8\xff" + b"\0" * 4096, "it is damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, "it is damaged"),
        (png_claiming(0, 5), "it is damaged"),
        (png_claiming(40, 40), "it is cut short"),
    ],
)
def test_bytes_that_are_no_image_give_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=rf"\A{reason}\Z") as caught:
        decode(data)
    assert caught.value.reason == reason
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(("width", "height"), [(MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("error")
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(
        DecodeError, match=f"it claims {width} x {height} pixels, more than the 250"
    ):
        decode(png_claiming(width, height))


@pytest.mark.filterwarnings("error")
def test_pillows_own_lower_limit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.fromarray(PIXELS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(BytesIO(data))
    assert np.array_equal(decode(data), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_never_raises_anything_else(kind: str, data: st.DataObject) -> None:
    whole = bytearray(photo(kind))
    places = st.integers(3, len(whole) - 1)
    for place in data.draw(st.lists(places | st.integers(3, 60), max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(whole[: data.draw(places)]))
    except DecodeError as error:
        assert str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(orientation: int, kind: str) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # a white square at the top left
    # How a camera that was held so stores it: the inverse of what a viewer does.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
    assert np.abs(decode(data).astype(int) - upright).max() < 10


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_block_does_not_cost_the_photo() -> None:
    data = encode(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).shape == PIXELS.shape


def test_transparency_is_laid_on_white() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    expected = np.array([[[10, 20, 30], [255, 255, 255], [127, 127, 127]]])
    assert np.abs(decode(encode(Image.fromarray(rgba))).astype(int) - expected).max() <= 1


def test_transparent_grey_is_laid_on_white() -> None:
    la = np.array([[[40, 255], [40, 0]]], np.uint8)
    assert decode(encode(Image.fromarray(la, "LA"))).tolist() == [[[40] * 3, [255] * 3]]


def test_a_transparent_palette_colour_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((1, 0), 1)
    pixels = decode(encode(image, transparency=0))
    assert pixels.tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_palette_grey_and_one_bit_become_rgb() -> None:
    palette = Image.fromarray(PIXELS).quantize(8)
    assert np.array_equal(decode(encode(palette)), np.asarray(palette.convert("RGB")))
    grey = PIXELS[:, :, 0]
    assert np.array_equal(decode(encode(Image.fromarray(grey))), np.stack([grey] * 3, axis=2))
    one_bit = Image.fromarray(grey > 128)
    assert set(np.unique(decode(encode(one_bit)))) == {0, 255}


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    pixels = decode(encode(Image.fromarray(values)))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_cmyk_is_converted() -> None:
    red = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    assert np.abs(decode(red).astype(int) - [255, 0, 0]).max() < 5


def test_a_colour_profile_does_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(encode(Image.fromarray(PIXELS), icc_profile=profile)), PIXELS)


def test_unreadable_files_give_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DecodeError, match="not found"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(DecodeError, match="directory"):
        read_image(tmp_path)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DecodeError, match="permission denied"):
        read_image(tmp_path / "locked.jpg")


def test_on_all_cores_keeps_order_and_few_in_memory() -> None:
    drawn = 0

    def draw(item: int) -> int:
        nonlocal drawn
        drawn += 1
        return item

    results = on_all_cores(lambda item: item * 2, map(draw, range(10_000)))
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert drawn < 1000
    assert list(results) == list(range(10, 20_000, 2))


def test_on_all_cores_raises_what_the_function_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        list(on_all_cores(lambda item: 1 // item, [1, 1, 0, 1]))
