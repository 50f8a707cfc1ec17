"""File formats by their first bytes, never by name, and the limits of decoding."""

import re

from tuner.errors import DataError

HEADER_BYTES = 32
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Kinds of images that are not read, by suffix.
_UNREAD = {
    "camera raw": "3fr ari arw cr2 cr3 crw dcr dng erf fff gpr iiq kdc mef mos mrw nef nrw orf pef "
    "raf raw rw2 rwl sr2 srf srw x3f",
    "JPEG 2000": "jp2 j2c j2k jpc jpf jpx",
    "JPEG XL": "jxl",
    "JPEG XR": "jxr hdp wdp",
    "Photoshop": "psd psb",
    "GIMP": "xcf",
    "TGA": "tga icb vda vst",
    "icon": "ico cur icns",
    "drawing": "svg svgz eps ai wmf emf cdr",
    "PDF": "pdf",
    "DjVu": "djvu djv",
    "OpenEXR or HDR": "exr hdr pfm",
    "DDS": "dds",
    "DICOM": "dcm dicom",
    "NIfTI": "nii",
    "FITS": "fits fit",
    "microscope slide": "svs ndpi mrxs scn czi lif",
    "QOI": "qoi",
    "older format": "pcx dcx pict pct ras sgi rgb rgba bw xbm xpm pam mng jng jbig jb2 wbmp",
}
_UNREAD_SUFFIXES = {f".{s}": kind for kind, all_of in _UNREAD.items() for s in all_of.split()}
MAX_PIXELS = 250_000_000
# Limits of a decoder process: memory beyond what it starts with, and processor time for a file.
MEMORY_LIMIT_BYTES = 1_000_000_000
TIME_LIMIT_SECONDS = 8
NEEDS_MEMORY = "decoding it needs over 1 GB of memory"
# Longest colour profile: those of printing presses have up to 3 MB.
MAX_PROFILE_BYTES = 4 << 20
# For pixels; with the rest, such as a band of rows, it stays below 1 GB.
MAX_MEMORY_BYTES = 900_000_000

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
}
# "BM" may also begin a text, so that the length of the second header is checked too.
_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    *(b"mif1", b"msf1"),
}
_OTHERS = {
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a zip archive",
    b"8BPS": "a Photoshop document",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\xff\x0a": "a JPEG XL image",
    b"MM\0+": "a big-endian BigTIFF image, which is not supported: convert it to TIFF",
    b"version https://git-lfs": "a Git LFS pointer, so the image itself was not fetched",
}
_TEXT_BYTES = 1024


class DecodeError(DataError):
    """An image is unreadable; `reason` is a short phrase such as "it is cut short"."""

    def __init__(self, reason: str) -> None:
        """The reason is the whole message."""
        super().__init__(reason)
        self.reason = reason


def image_format(header: bytes) -> str | None:
    """The format by the first `HEADER_BYTES`: "JPEG", "PNG" ...; None if it is no image."""
    for signature, name in _SIGNATURES.items():
        if header.startswith(signature):
            return name
    if header.startswith(b"RIFF") and header[8:12] == b"WEBP":
        return "WebP"
    if header.startswith(b"BM") and int.from_bytes(header[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    if re.match(rb"P[1-6]\s+[\d#]", header):
        return "PPM"
    brands = _brands(header)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def unread_kind(name: str) -> str | None:
    """The kind of an image that is not read, such as "camera raw", by the suffix of its name."""
    return _UNREAD_SUFFIXES.get(name[name.rfind(".") :].lower())


def not_an_image(data: bytes) -> str:
    """Why a file without an `image_format` is unreadable, with what it is if that is known."""
    if not data:
        return "the file is empty"
    for signature, kind in _OTHERS.items():
        if data.startswith(signature):
            return f"it is {kind}"
    return _text(data[:_TEXT_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def check_size(width: int, height: int, bytes_per_pixel: int = 1) -> None:
    """Refuse an image by the size that its header claims, before memory is taken."""
    claim = f"it claims {width} x {height} pixels"
    if width * height > MAX_PIXELS:
        raise DecodeError(f"{claim}, more than the {MAX_PIXELS // 10**6} million allowed")
    if width * height * bytes_per_pixel > MAX_MEMORY_BYTES:
        raise DecodeError(f"{claim}, which take more than 1 GB of memory to decode")


def _brands(header: bytes) -> set[bytes]:
    """The brands of an ISO base media file (ISO/IEC 14496-12, 4.3) within the header."""
    if header[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(header[:4], "big"), len(header))
    return {header[8:12], *(header[start : start + 4] for start in range(16, end, 4))}


def _text(text: bytes) -> str:
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "it is a web page, not an image"
    if text.startswith((b"<?xml", b"<!--", b"<svg", b"<!doctype svg")) and b"<svg" in text:
        return "it is an SVG drawing, which is not supported: convert it to PNG"
    return "it is not an image of a known format"
