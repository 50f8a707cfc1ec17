"""Damaged and hostile files: refused or read, in bounded time and memory, whatever they hold."""

import json
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.colour_profiles import PROFILE, bmp_with_profile
from tests.support.repository import ROOT
from tests.support.sample_images import (
    BMPS,
    GIFS,
    GREY,
    HEIGHT,
    RGB,
    RGBA,
    WIDTH,
    cmyk,
    encode,
    png,
    png_chunk,
    run_length_encoded_bmp,
    tiff,
)
from tests.support.slow_images import slow_jpeg

GROWTH_ALLOWED_BYTES = 1_000_000_000
SMOOTH = np.asarray(Image.fromarray(RGB).resize((160, 120), Image.Resampling.BICUBIC))
TURNED = Image.Exif()
TURNED[0x0112] = 6
EXIF = TURNED.tobytes()  # since Pillow takes the orientation out of what it is given
META: dict[str, Any] = {"exif": EXIF, "icc_profile": PROFILE}
FRAMES: dict[str, Any] = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)]}

SEEDS = {
    "JPEG": [
        encode(SMOOTH, "JPEG", **META),
        encode(SMOOTH, "JPEG", progressive=True),
        encode(Image.frombytes("CMYK", (WIDTH, HEIGHT), cmyk().tobytes()), "JPEG"),
    ],
    "PNG": [
        encode(SMOOTH, **META),
        png(16, 0, RGB[..., 0].astype(int) * 256, tRNS=b"\1\0"),
        encode(Image.fromarray(RGB).quantize(16)),
        encode(Image.fromarray(RGB), **FRAMES),
    ],
    "WebP": [
        encode(SMOOTH, "WEBP", **META),
        encode(RGBA, "WEBP", lossless=True),
        encode(Image.fromarray(RGB), "WEBP", **FRAMES),
    ],
    "GIF": [*GIFS.values(), encode(Image.fromarray(SMOOTH).quantize(64), "GIF", transparency=3)],
    "BMP": [
        encode(SMOOTH, "BMP"),
        bmp_with_profile(PROFILE),
        run_length_encoded_bmp(),
        *(BMPS[kind][0] for kind in ("4", "565", "32 alpha")),
    ],
    "TIFF": [
        encode(SMOOTH, "TIFF", icc_profile=PROFILE),
        *(tiff(SMOOTH, compression=kind) for kind in ("lzw", "deflate", "jpeg")),
        encode(SMOOTH, "TIFF", compression="lzma"),
        tiff(SMOOTH, tile=(32, 32), compression="packbits", bigtiff=True),
        tiff(SMOOTH, tile=(32, 32), compression="packbits", byteorder=">"),
        tiff(GREY / np.float32(255), byteorder=">"),
        encode(Image.fromarray(GREY > 90), "TIFF", compression="group4"),
        encode(SMOOTH, "TIFF", compression="jpeg"),
    ],
    "AVIF": [
        encode(SMOOTH, "AVIF", **META),
        encode(RGBA, "AVIF"),
        encode(Image.fromarray(RGB), "AVIF", **FRAMES),
    ],
    "HEIC": [(ROOT / "tests" / "support" / "turned.heic").read_bytes()],
}


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Off the end, or out of the middle."""
    first, last = sorted(rng.integers(1, len(data), 2))
    return data[:first] if rng.random() < 0.5 else data[:first] + data[last:]


def splice(data: bytes, rng: np.random.Generator) -> bytes:
    """The start of one file and the end of another, of any format."""
    others = SEEDS[rng.choice(sorted(SEEDS))]
    other = others[rng.integers(len(others))]
    return data[: rng.integers(1, len(data))] + other[rng.integers(0, len(other)) :]


def edit_header(data: bytes, rng: np.random.Generator) -> bytes:
    """Numbers as large, as small or as odd as they come, in the first bytes after the signature."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(4, min(len(data), 200) - 4))
        length = int(rng.choice([1, 2, 4]))
        odd = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", rng.bytes(4)]
        changed[place : place + length] = odd[rng.integers(len(odd))][:length]
    return bytes(changed)


MUTATIONS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    flip,
    cut,
    splice,
    edit_header,
)


def mutants(count: int) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(20)
    for number in range(count):
        kind = list(SEEDS)[number % len(SEEDS)]
        seed = SEEDS[kind][rng.integers(len(SEEDS[kind]))]
        mutate = MUTATIONS[rng.integers(len(MUTATIONS))]
        yield f"{kind}-{number}-{mutate.__name__}", mutate(seed, rng)


def run_reader(folder: Path, files: dict[str, bytes]) -> tuple[list[dict[str, Any]], str]:
    """What tests/support/reader.py says of each, and what else was printed; it ended well."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(ROOT / "tests" / "support" / "reader.py")],
        input="".join(f"{folder / name}\n" for name in files),
        env={"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always"},
        capture_output=True,
        text=True,
        check=False,
    )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    last = reports[-1]["name"] if reports else "none"
    assert done.returncode == 0, f"after {last}: {done.stderr}"
    assert [report["name"] for report in reports] == list(files)
    return reports, done.stderr


def read_in_child(folder: Path, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """What tests/support/reader.py says of each; it took little memory and printed no warning."""
    reports, printed = run_reader(folder, files)
    assert max(report["grown_bytes"] for report in reports) < GROWTH_ALLOWED_BYTES
    assert printed == ""
    return reports


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_damage_is_refused_or_read(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    reports = read_in_child(tmp_path, dict(mutants(count)))
    found = Counter(
        (report["name"].split("-")[0], report["outcome"].split(":")[0]) for report in reports
    )
    for kind in SEEDS:
        counts = {verdict: found[kind, verdict] for verdict in ("read", "refused")}
        record_property(kind, counts)
        print(kind, counts)
        assert all(counts.values()), f"{kind}: every mutant is {counts}"
    print("slowest", max(report["seconds"] for report in reports))


def test_what_pillow_warns_of_or_logs_is_not_printed(tmp_path: Path) -> None:
    gif = GIFS["still"]
    frame = gif.index(b",\0\0\0\0") + 5
    larger = replaced(gif, frame, struct.pack("<HH", 9500, 9500))  # than Pillow lets pass
    samples = struct.pack("<HHI", 277, 3, 1)
    raw = tiff(GREY)
    many = replaced(raw, raw.index(samples) + 8, b"\xff\0")
    reports, printed = run_reader(tmp_path, {"gif": larger, "tiff": many})
    assert all(report["outcome"].startswith("refused") for report in reports)
    assert printed == ""


SIDE = 14_900  # a grey square of which is nearly all that is allowed
HUGE = struct.pack(">II", SIDE, SIDE)


def replaced(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


def png_claiming(depth: int, colour: int) -> bytes:
    header = HUGE + bytes([depth, colour, 0, 0, 0])
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 5000))
    return encode(RGB)[:8] + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def png_with(name: bytes, body: bytes) -> bytes:
    data = encode(RGB)
    return data[:33] + png_chunk(name, body) + data[33:]


def jpeg_claiming(progressive: bool, scans: int = 1) -> bytes:
    """Of 250 megapixels, with the last scan so many times."""
    data = encode(RGB, "JPEG", progressive=progressive)
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data = replaced(data, frame + 5, struct.pack(">HH", SIDE, SIDE))
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - 1) + data[-2:]


def tiff_claiming(**options: Any) -> bytes:
    """Of 250 megapixels."""
    data = tiff(GREY, **options)
    for tag, size in ((256, GREY.shape[1]), (257, GREY.shape[0])):
        place = next(
            at
            for at in range(8, len(data))
            if data[at : at + 4] in (struct.pack("<HH", tag, kind) for kind in (3, 4))
            and int.from_bytes(data[at + 8 : at + 12], "little") == size
        )
        data = replaced(data, place, struct.pack("<HHII", tag, 4, 1, SIDE))
    return data


def avif_claiming_little() -> bytes:
    """Of 49 megapixels, but the container says 16."""
    data = encode(Image.new("RGB", (7000, 7000), "red"), "AVIF", speed=10)
    return replaced(data, data.index(b"ispe") + 8, struct.pack(">II", 4000, 4000))


def hostile() -> dict[str, bytes]:
    """Files by name; the name begins with whether they are read, refused or either."""
    jpeg, bmp_header = encode(RGB, "JPEG", **META), encode(RGB, "BMP")
    webp = encode(RGBA, "WEBP", exif=EXIF)  # has the extended header
    zeros = zlib.compress(b"\0" * 300_000_000)
    exif = b"\xff\xe1\xff\xffExif\0\0" + b"\0" * 65527
    return {
        "refused-png-colour": png_claiming(8, 2),
        "refused-png-grey": png_claiming(8, 0),
        "refused-png-deep": png_claiming(16, 6),
        "refused-jpeg": jpeg_claiming(progressive=False)[:-300],
        "refused-jpeg-scans": jpeg_claiming(progressive=True, scans=300),
        "either-jpeg-progressive": jpeg_claiming(progressive=True),
        "refused-bmp": replaced(bmp_header, 18, struct.pack("<II", SIDE, SIDE)),
        "refused-bmp-runs": replaced(run_length_encoded_bmp(), 18, struct.pack("<II", SIDE, SIDE)),
        "refused-gif": replaced(GIFS["still"], 6, b"\xff\xff\xff\xff"),
        "either-gif-canvas": replaced(GIFS["still"], 6, struct.pack("<HH", SIDE, SIDE)),
        "refused-webp": replaced(webp, 24, b"\x00\x3d\0\x00\x3d\0"),
        "refused-tiff": tiff_claiming(),
        "refused-tiff-lzw": tiff_claiming(compression="lzw"),
        "either-avif": avif_claiming_little(),
        "read-png-text": png_with(b"zTXt", b"Comment\0\0" + zeros),
        "read-png-profile": png_with(b"iCCP", b"name\0\0" + zeros),
        "read-png-exif": png_with(b"eXIf", b"II*\0" + b"\xff" * 10_000_000),
        "read-png-chunks": encode(RGB)[:33]
        + png_chunk(b"tEXt", b"a\0b") * 200_000
        + encode(RGB)[33:],
        "read-jpeg-exif": jpeg[:2] + exif * 500 + jpeg[2:],
        "either-jpeg-junk": jpeg[:2] + b"\xff" * 30_000_000 + jpeg[2:],
        "either-jpeg-other-junk": jpeg[:2] + b"\xff" + b"\0" * 30_000_000 + jpeg[2:],
        "refused-jpeg-tables": jpeg[:2] + (b"\xff\xdb\0\x43" + b"\1" * 65) * 200_000,
        "read-large-jpeg": encode(Image.new("RGB", (10_000, 10_000), "red"), "JPEG"),
        "read-turned-jpeg": encode(Image.new("RGB", (11_300, 11_300), "red"), "JPEG", exif=EXIF),
        "read-large-grey-png": encode(Image.new("L", (SIDE, SIDE), 9)),
    }


@pytest.mark.slow
def test_hostile_files_take_little(tmp_path: Path) -> None:
    reports = read_in_child(tmp_path, hostile())
    for report in reports:
        print(report)
        expected = report["name"].split("-")[0]
        assert report["outcome"].startswith(
            ("read", "refused") if expected == "either" else expected
        )


def test_a_decoder_that_is_killed_costs_one_file(tmp_path: Path) -> None:
    files = {"first": encode(RGB), "kill-me": slow_jpeg(10_000_000)}
    reports = read_in_child(tmp_path, files | {"last": encode(RGB)})
    assert [report["outcome"] for report in reports] == [
        "read: 24 x 16",
        "refused: its decoder crashed",
        "read: 24 x 16",
    ]
