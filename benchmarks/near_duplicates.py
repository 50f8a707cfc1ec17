"""Near-duplicate search: recall on modified copies, false positives, and cost.

    python benchmarks/near_duplicates.py --data ICONS --photos PHOTOS

Every image of a set is changed in each way that `tuner.data.near_duplicates` promises, and in
some that it does not; a hit is a pair of image and copy that is near. The sets are the icons of
--data, tiles cut from scikit-learn's two photos and those of --photos, and scikit-learn's
digits. Their own images show different things, so each pair of them that is near is a false join;
among icons many are one drawing with a detail changed, so those are counted apart, for inspection.

The threshold is the lowest of the table at which, in the first half of the tiles and of the digits,
at most --allowed percent of the images are joined to another; hits are of the second half.
Beside it stand the hashes of ImageHash, if it is installed, at thresholds by the same rule.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, PeakMemory, Report, median, progress, rss_anon_bytes, run_arm
from PIL import Image, ImageDraw

from tuner.data.near_duplicates import SIMILARITY, fingerprint, near_pairs
from tuner.data.splits import components

THRESHOLDS = (0.9, 0.93, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995)
TILE = 96
CONTRAST = 8.0  # grey levels, below which a tile is empty wall or sky
Images = list[np.ndarray]


def main() -> None:
    options = _parse()
    report = Report("near_duplicates", "Are copies of a picture found, and only these?", options)
    sets = {"icons": icons(options.data), "tiles": tiles(options.photos), "digits": digits()}
    halves = {name: _halves(images) for name, images in sets.items() if images}
    joined = [
        {"set": name, "half": number, "images": len(half), **row}
        for name, pair in halves.items()
        for number, half in enumerate(pair, start=1)
        for row in joins([fingerprint(image) for image in half])
    ]
    report.table("Images of a set taken for copies of each other", joined)
    chosen = min(
        similarity
        for similarity in THRESHOLDS
        if all(
            row["percent in groups"] <= options.allowed
            for row in joined
            if row["similarity"] == similarity and row["half"] == 1 and row["set"] != "icons"
        )
    )
    report.note(
        f"Lowest similarity that joins up to {options.allowed} %: {chosen}; ours {SIMILARITY}."
    )
    whole = {name: joins([fingerprint(image) for image in images]) for name, images in sets.items()}
    rows = [
        {"set": name, "images": len(sets[name]), **row}
        for name, found in whole.items()
        for row in found
        if row["similarity"] == SIMILARITY
    ]
    report.table(f"Whole sets at {SIMILARITY}", rows)
    seconds = {name: pair[1][: options.images] for name, pair in halves.items()}
    copies = {}
    for name, images in seconds.items():
        progress(f"copies of {len(images)} {name}")
        copies[name] = {
            kind: [np.asarray(change(Image.fromarray(image))) for image in images]
            for kind, change in CHANGES.items()
        }
    report.table("Copies found on the second half, percent", hits(seconds, copies))
    report.table(
        "ImageHash by the same rule, percent of copies",
        other_hashes(halves, seconds, copies, options),
    )
    report.table("Time of one fingerprint", speed(options.repeats))
    report.table("All pairs", [run_arm(all_pairs, count=count) for count in options.counts])
    report.write()


def icons(folder: Path | None) -> Images:
    """Every image in the folder, in the order of its path."""
    paths = sorted(folder.rglob("*.*")) if folder else []
    return [_pixels(path) for path in paths if path.suffix.lower() in (".jpg", ".jpeg", ".png")]


def tiles(folder: Path | None) -> Images:
    """Squares beside each other that are not nearly empty."""
    from sklearn.datasets import load_sample_images

    found = []
    for photo in [*load_sample_images().images, *icons(folder)]:
        for top in range(0, len(photo) - TILE + 1, TILE):
            for left in range(0, photo.shape[1] - TILE + 1, TILE):
                tile = np.ascontiguousarray(photo[top : top + TILE, left : left + TILE])
                if tile.std() > CONTRAST:
                    found.append(tile)
    return found


def digits() -> Images:
    """As the program's demo has them, 32 x 32."""
    from sklearn.datasets import load_digits

    grey = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    large = grey.repeat(4, axis=1).repeat(4, axis=2)
    return list(np.repeat(large[:, :, :, None], 3, axis=3))


def joins(fingerprints: list[bytes]) -> Iterator[dict[str, Any]]:
    """A row for each threshold."""
    count = len(fingerprints)
    for similarity in THRESHOLDS:
        pairs = near_pairs(fingerprints, similarity)
        sizes = [len(group) for group in components(map(tuple, pairs.tolist()))]
        yield {
            "similarity": similarity,
            "pairs": len(pairs),
            "pairs a million": 1e6 * len(pairs) / (count * (count - 1) / 2),
            "largest group": max(sizes, default=1),
            "percent in groups": 100 * sum(sizes) / count,
        }


def hits(sets: dict[str, Images], copies: dict[str, dict[str, Images]]) -> list[dict[str, Any]]:
    """A row for each change; columns are sets and thresholds."""
    rows = []
    for kind in CHANGES:
        row: dict[str, Any] = {"change": kind, "promised": "yes" if kind in PROMISED else ""}
        for name, images in sets.items():
            first = [fingerprint(image) for image in images]
            second = [fingerprint(image) for image in copies[name][kind]]
            for similarity in (0.96, SIMILARITY, 0.99):
                near = [
                    len(near_pairs(pair, similarity)) for pair in zip(first, second, strict=True)
                ]
                row[f"{name} {similarity}"] = 100 * float(np.mean(near))
        rows.append(row)
    return rows


def other_hashes(
    halves: dict[str, tuple[Images, Images]],
    sets: dict[str, Images],
    copies: dict[str, dict[str, Images]],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A row for each hash and set: the share of copies within its threshold."""
    try:
        import imagehash
    except ImportError:
        return [{"hash": "ImageHash is not installed"}]
    hashes: dict[str, Callable[[Image.Image], Any]] = {
        "pHash, 64 bits": imagehash.phash,
        "pHash, 256 bits": partial(imagehash.phash, hash_size=16),
        "dHash, 64 bits": imagehash.dhash,
    }
    rows = []
    for name, function in hashes.items():
        most = min(
            _largest_distance(_bits(function, halves[one][0]), options.allowed)
            for one in ("tiles", "digits")
        )
        for one, images in sets.items():
            progress(f"{name}, {one}")
            bits = _bits(function, images)
            row: dict[str, Any] = {"hash": name, "set": one, "largest distance": most}
            for kind in OPPOSED:
                other = _bits(function, copies[one][kind])
                row[kind] = 100 * float(((bits != other).sum(1) <= most).mean())
            rows.append(row)
    return rows


def speed(repeats: int) -> list[dict[str, Any]]:
    """The median for images of noise, whose content does not matter."""
    random = np.random.default_rng(0)
    rows = []
    for height, width in ((64, 64), (224, 224), (1080, 1920), (3000, 4000)):
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        timings = []
        for _ in range(repeats):
            begun = time.perf_counter()
            fingerprint(image)
            timings.append(1000 * (time.perf_counter() - begun))
        rows.append({"pixels": f"{width} x {height}", "ms": median(timings), "least": min(timings)})
    return rows


def all_pairs(count: int) -> dict[str, Any]:
    """Images of noise whose amplitude falls with the frequency, as that of photos does."""
    random = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(32), np.fft.fftfreq(32)))
    frequency[0, 0] = np.inf
    fingerprints = []
    for _ in range(count):
        noise = np.fft.irfft2(np.fft.rfft2(random.normal(size=(32, 32))) / frequency)
        grey = (128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8)
        fingerprints.append(fingerprint(np.repeat(grey[:, :, None], 3, axis=2)))
    before = rss_anon_bytes()
    begun = time.perf_counter()
    with PeakMemory() as peak:
        found = near_pairs(fingerprints)
    return {
        "images": count,
        "s": time.perf_counter() - begun,
        "MiB more": (peak.bytes - before) / 2**20,
        "MiB of fingerprints": sum(map(len, fingerprints)) / 2**20,
        "pairs": len(found),
    }


def _saved(image: Image.Image, kind: str = "JPEG", quality: int = 85) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, kind, quality=quality)
    return Image.open(buffer).convert("RGB")


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    size = (round(image.width * factor), round(image.height * factor))
    return _saved(image.resize(size, Image.Resampling.BICUBIC))


def _cropped(image: Image.Image, share: float, sides: int = 4) -> Image.Image:
    """Cut off at every side, or at the left and top, and brought back to its size."""
    right, below = max(1, round(image.width * share)), max(1, round(image.height * share))
    far = (image.width, image.height) if sides == 2 else (image.width - right, image.height - below)
    cut = image.crop((right, below, *far))
    return _saved(cut.resize(image.size, Image.Resampling.BICUBIC))


def _toned(image: Image.Image, curve: Callable[[float], float]) -> Image.Image:
    table = [round(min(max(curve(value), 0), 255)) for value in range(256)]
    return _saved(image.point(table * 3))


def _grey(image: Image.Image) -> Image.Image:
    return _saved(image.convert("L")).convert("RGB")


def _rotated(image: Image.Image, degrees: float) -> Image.Image:
    corner = image.getpixel((0, 0))
    return _saved(image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=corner))


def _marked(image: Image.Image) -> Image.Image:
    marked = image.copy()
    place = (image.width * 0.55, image.height * 0.85)
    size = max(6.0, image.height * 0.1)
    ImageDraw.Draw(marked).text(place, "(c) me", fill=(128, 128, 128), font_size=size)
    return _saved(marked)


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


PROMISED: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{f"JPEG {quality}": partial(_saved, quality=quality) for quality in (90, 70, 50, 30)},
    **{f"size {factor:.0%}": partial(_scaled, factor=factor) for factor in (0.5, 0.75, 2)},
    **{f"crop {share:.0%}": partial(_cropped, share=share) for share in (0.02, 0.05)},
    "brightness +10%": partial(_toned, curve=lambda value: value * 1.1),
    "brightness -10%": partial(_toned, curve=lambda value: value * 0.9),
    "contrast +10%": partial(_toned, curve=lambda value: 128 + (value - 128) * 1.1),
    "contrast -10%": partial(_toned, curve=lambda value: 128 + (value - 128) * 0.9),
    "gamma 0.8": partial(_toned, curve=lambda value: 255 * (value / 255) ** 0.8),
    "gamma 1.25": partial(_toned, curve=lambda value: 255 * (value / 255) ** 1.25),
    "WebP 60": partial(_saved, kind="WEBP", quality=60),
    "grey": _grey,
}
CHANGES = PROMISED | {
    "crop 10%": partial(_cropped, share=0.1),
    "crop 5%, two sides": partial(_cropped, share=0.05, sides=2),
    "rotated 1 degree": partial(_rotated, degrees=1),
    "rotated 2 degrees": partial(_rotated, degrees=-2),
    "text": _marked,
    "mirrored": _mirrored,
}
OPPOSED = ("JPEG 90", "JPEG 30", "size 50%", "size 75%", "crop 2%", "crop 5%", "brightness +10%")


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _halves(images: Images) -> tuple[Images, Images]:
    order = np.random.default_rng(0).permutation(len(images))
    middle = len(order) // 2
    return [images[i] for i in order[:middle]], [images[i] for i in order[middle:]]


def _bits(function: Callable[[Image.Image], Any], images: Images) -> np.ndarray:
    return np.array([function(Image.fromarray(image)).hash.ravel() for image in images])


def _largest_distance(bits: np.ndarray, allowed: float) -> int:
    """The largest Hamming distance within which few enough images have another; -1 if none is."""
    signs = np.where(bits, 1.0, -1.0)
    distances = (bits.shape[1] - signs @ signs.T) / 2
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    within = (nearest[:, None] <= np.arange(bits.shape[1])).mean(axis=0)
    return int(np.searchsorted(100 * within, allowed, side="right")) - 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder of icons, each another; left out, none")
    add("--photos", type=Path, help="folder of photos to cut into tiles, beside two")
    add("--images", type=int, default=300, help="changed images of each set (300)")
    add("--allowed", type=float, default=1.0, help="percent of images joined falsely (1)")
    add("--counts", type=int, nargs="+", default=[25_000, 100_000], help="images to compare")
    add("--repeats", type=int, default=21, help="of each timing; the median counts (21)")
    add("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
