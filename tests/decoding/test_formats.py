import pytest

from tests.support.sample_images import GREY, RGB, encode, tiff
from tuner.decoding.formats import (
    HEADER_BYTES,
    MAX_MEMORY_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    DecodeError,
    check_size,
    image_format,
    not_an_image,
    unread_kind,
)

FILES = {
    "JPEG": encode(RGB, "JPEG"),
    "PNG": encode(RGB, "PNG"),
    "WebP": encode(RGB, "WEBP"),
    "GIF": encode(GREY, "GIF"),
    "BMP": encode(RGB, "BMP"),
    "TIFF": encode(RGB, "TIFF"),
    "AVIF": encode(RGB, "AVIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_first_bytes_show_the_format(name: str) -> None:
    assert image_format(FILES[name][:HEADER_BYTES]) == name
    assert image_format(FILES[name]) == name
    assert image_format(FILES[name][1:]) is None


@pytest.mark.parametrize(("big", "order"), [(False, "<"), (False, ">"), (True, "<")])
def test_every_tiff(big: bool, order: str) -> None:
    assert image_format(tiff(RGB, bigtiff=big, byteorder=order)[:HEADER_BYTES]) == "TIFF"


def test_avif_and_heic_among_the_compatible_brands() -> None:
    head = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"
    assert image_format(head) == "AVIF"
    # What follows that box counts for nothing.
    assert image_format(b"\0\0\0\x14ftypmiaf\0\0\0\0miaf\0\0\0\0avif") is None
    assert image_format(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "HEIC"


@pytest.mark.parametrize("data", [b"", b"B", b"BM", b"BMW is a brand of cars, you know", b"RIFF"])
def test_what_is_none(data: bytes) -> None:
    assert image_format(data) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\0" * 4096, "it is not an image of a known format"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page, not an image"),
        (b"\xef\xbb\xbf\n  <HTML lang='en'>", "it is a web page, not an image"),
        (
            b"<?xml version='1.0'?>\n<svg width='9'/>",
            "it is an SVG drawing, which is not supported",
        ),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "it is an SVG drawing"),
        (b"<?xml version='1.0'?>\n<feed/>", "it is not an image of a known format"),
        (tiff(RGB, bigtiff=True, byteorder=">"), "it is a big-endian BigTIFF image, which is not"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "it is not an image of a known format"),
        (b"%PDF-1.7\n", "it is a PDF document"),
        (b"PK\x03\x04\x14\0", "it is a zip archive"),
        (b"8BPS\0\1", "it is a Photoshop document"),
        (b"\0\0\0\x0cJXL \r\n", "it is a JPEG XL image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    assert image_format(data[:HEADER_BYTES]) is None
    assert not_an_image(data).startswith(reason)


@pytest.mark.parametrize("start", [b"P1 is a page", b"P6", b"P5\nx", b"P7\n1 1\n", b"P0 1 1\n"])
def test_a_text_is_no_portable_map(start: bytes) -> None:
    assert image_format(start) is None


def test_kinds_that_are_not_read() -> None:
    names = ("a.CR3", "b/c.dng", "d.jp2", "e.svg", "f.dcm", "a.jpg", "cr2", "notes.txt")
    kinds = ["camera raw", "camera raw", "JPEG 2000", "drawing", "DICOM", None, None, None]
    assert [unread_kind(name) for name in names] == kinds
    assert not any(unread_kind(f"a{suffix}") for suffix in SUFFIXES)


def test_suffixes_are_lowercase() -> None:
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"} <= {
        *SUFFIXES
    }


def test_the_limits_themselves_are_allowed() -> None:
    check_size(MAX_PIXELS, 1)
    check_size(1, MAX_MEMORY_BYTES // 18, 18)
    with pytest.raises(DecodeError, match=r"250000001 x 1 pixels, more than the 250 million allow"):
        check_size(MAX_PIXELS + 1, 1)
    with pytest.raises(DecodeError, match="more than 1 GB"):
        check_size(1, MAX_MEMORY_BYTES // 18 + 1, 18)
