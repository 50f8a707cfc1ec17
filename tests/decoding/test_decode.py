import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.sample_images import difference, encode, magick_rgb, opencv, png_chunk, stored
from tuner.decoding.decode import batches, decode, on_all_cores, read_image
from tuner.decoding.formats import MAX_PIXELS, DecodeError
from tuner.errors import DataError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 40, 3), np.uint8)
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def photo(kind: str) -> bytes:
    """A picture of some kilobytes, so that there is something to cut."""
    smooth = Image.fromarray(PIXELS).resize((160, 120), Image.Resampling.BICUBIC)
    return encode(smooth, kind)


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


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
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, "it is damaged"),
        (png_claiming(0, 5), "it is damaged"),
        (png_claiming(40, 40), "it is cut short"),
        (photo("WEBP")[:-100], "it is cut short"),
        (photo("WEBP")[:16], "it is cut short"),
        (photo("GIF")[:-5000], "it is cut short"),
        (photo("GIF")[:9], "it is cut short"),
        (photo("BMP")[:-100], "it is cut short"),
        (photo("BMP")[:40], "it is cut short"),
        (photo("TIFF")[:1000], "it is cut short"),
        (photo("TIFF")[:7], "it is cut short"),
        (photo("AVIF")[:-500], "it is cut short"),
    ],
)
def test_bytes_that_are_no_image_give_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=rf"\A{reason}\Z") as caught:
        decode(data)
    assert caught.value.reason == reason
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_blocks": 4}])
def test_a_jpeg_that_lacks_its_end_marker_is_whole(mode: str, options: dict[str, int]) -> None:
    data = encode(Image.open(BytesIO(photo("PNG"))).convert(mode), "JPEG", **options)
    for missing in (1, 2):
        assert np.array_equal(decode(data[:-missing]), decode(data))
    for missing in (3, 4, 30):
        with pytest.raises(DecodeError, match="it is cut short"):
            decode(data[:-missing])


def test_a_progressive_jpeg_that_ends_early_may_lack_more() -> None:
    data = encode(Image.open(BytesIO(photo("PNG"))), "JPEG", progressive=True)
    with pytest.raises(DecodeError, match="it is cut short"):
        decode(data[:-2])


def test_the_first_bytes_alone_do_not_make_a_jpeg() -> None:
    with pytest.raises(DecodeError, match=r"it is damaged|it is cut short"):
        decode(b"\xff\xd8\xff" + b"\0" * 4096)


@pytest.mark.parametrize(("width", "height"), [(MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("error")
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(
        DecodeError, match=f"it claims {width} x {height} pixels, more than the 250"
    ):
        decode(png_claiming(width, height))


@pytest.mark.filterwarnings("error")
def test_pillows_own_limit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.fromarray(PIXELS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(BytesIO(data))
    assert np.array_equal(decode(data), PIXELS)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_obeyed_once(orientation: int, kind: str) -> None:
    """AVIF files are written with the turns of their own that stand for it."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255  # a white square at the top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored(upright, orientation), kind, exif=exif)
    assert difference(decode(data), upright) < 10
    if kind == "AVIF":
        assert difference(magick_rgb(data), upright) < 10
    elif kind in ("JPEG", "PNG"):  # OpenCV turns no others
        assert difference(opencv(data, turned=True), upright) < 10


def test_the_orientation_of_exif_does_not_count_in_avif() -> None:
    # Pillow would take the orientation, 0x0112, out.
    data = encode(PIXELS, "AVIF", exif=b"II*\0\x08\0\0\0\1\0\x13\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0")
    changed = data.replace(b"\x13\1\3\0\1\0\0\0\6", b"\x12\1\3\0\1\0\0\0\6")
    assert changed != data
    assert np.array_equal(decode(changed), decode(data))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode(encode(PIXELS, kind, exif=exif)), PIXELS)


@pytest.mark.filterwarnings("error")
def test_a_broken_exif_block_does_not_cost_the_photo() -> None:
    data = encode(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data).shape == PIXELS.shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("error")
def test_pillows_limit_does_not_count(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(PIXELS, kind) if kind != "GIF" else encode(PIXELS[..., 0], kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert decode(data).shape == PIXELS.shape


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(encode(PIXELS))
    monkeypatch.setattr("tuner.decoding.decode._MAX_FILE_BYTES", 1_000)
    with pytest.raises(DecodeError, match="it has more than the 0 MB allowed"):
        read_image(path)


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


def test_small_files_are_batched_and_large_ones_alone(tmp_path: Path) -> None:
    sizes = [1_000] * 20 + [300_000, 300_000] + [90_000] * 3
    for number, size in enumerate(sizes):
        (tmp_path / str(number)).write_bytes(b"\0" * size)
    found = list(batches([*range(len(sizes)), "missing"], lambda name: tmp_path / str(name)))
    assert [len(batch) for batch in found] == [16, 4, 1, 1, 2, 2]
    assert [name for batch in found for name in batch] == [*range(len(sizes)), "missing"]
