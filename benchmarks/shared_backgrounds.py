"""Different things before one background: called copies, or told apart from true copies?

    python benchmarks/shared_backgrounds.py --photos PHOTOS --icons ICONS

PHOTOS are real photos, each another, ICONS are drawings on white. Pairs of different things: two
icons as prints on the middle of the same photo, two as objects on the same piece of background, and
the same in a burst (camera noise, a shift and another exposure in each shot), and a scratch on one
shot of two. Pairs of copies: each photo, icon and tile, changed in every way that
`tuner.data.near_duplicates` promises. "Before" is the first look alone, which called every near
pair one picture; "after" is with the second look, `tuner.data.second_look`.

The thresholds were chosen on one half of the photos and icons: fewest false copies of those that
lose at most --lost percent of the near copies. What is reported is of the other half.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report, progress
from near_duplicates import PROMISED, _pixels, _saved
from PIL import Image, ImageDraw

from tuner.data import second_look
from tuner.data.near_duplicates import fingerprint, near_pairs
from tuner.data.second_look import Likeness, compare, detail

Pair = tuple[Image.Image, Image.Image]
AGREEMENTS = (0.4, 0.5, 0.6, 0.7)
CHANGES = (20.0, 26.0, 32.0, 40.0)


def main() -> None:
    options = _parse()
    report = Report("shared_backgrounds", "Are other things on one background told apart?", options)
    photos = [_opened(path) for path in _some(options.photos, 2 * options.images, "*.jpg")]
    icons = [_opened(path) for path in _some(options.icons, 4 * options.images, "*.jpg")]
    halves = [
        _Half(photos[start::2], icons[start::2], np.random.default_rng(start)) for start in (0, 1)
    ]
    chosen, reported = [half.near() for half in halves]
    report.table("Thresholds, on the first half", list(sweep(chosen)))
    report.note(
        f"Ours: agreement {second_look.AGREEMENT}, change {second_look.CHANGE}; chosen so that at "
        f"most {options.lost} % of the near copies of the first half are lost."
    )
    report.table("Second half: pairs that are called copies, percent", list(rates(reported)))
    report.table("The photos themselves, each another", [real(options.photos)])
    report.write()


class _Half:
    """Pairs of one half of the photos and icons, by kind."""

    def __init__(
        self, photos: list[Image.Image], icons: list[Image.Image], random: np.random.Generator
    ) -> None:
        self.photos, self.icons, self.random = photos, icons, random

    def pairs(self) -> Iterator[tuple[str, str, list[Pair]]]:
        """Each kind: "different" or "copies", its name, and its pairs."""
        for share in (0.1, 0.15, 0.2, 0.3):
            yield "different", f"prints, {share:.0%} of the width", self._of_two(share, self._same)
        yield "different", "objects, 50% of the width", self._of_two(0.5, self._background)
        yield "different", "burst, print changed", self._of_two(0.2, self._same, self._shot)
        scratched = [(self._shot(one), self._shot(self._scratched(one))) for one in self.photos]
        yield "different", "burst, one scratched", scratched
        shots = [(self._shot(one), self._shot(one)) for one in self.photos]
        yield "further shots", "burst, nothing changed", shots
        sets = {"photos": self.photos, "icons": self.icons[: len(self.photos)]}
        for (name, change), (kind, images) in product(PROMISED.items(), sets.items()):
            yield "copies", f"{name}, {kind}", [(image, change(image)) for image in images]

    def near(self) -> list[dict[str, Any]]:
        """The pairs that the first look finds near, by kind, with their number."""
        found = []
        for truth, name, pairs in self.pairs():
            progress(f"{truth}: {name}")
            near = [pair for pair in pairs if _is_near(pair)]
            details = [tuple(detail(np.asarray(image)) for image in pair) for pair in near]
            sizes = [one.size == other.size for one, other in near]
            row = {"truth": truth, "kind": name, "pairs": len(pairs), "sizes": sizes}
            found.append(row | {"details": details})
        return found

    def _of_two(
        self,
        share: float,
        scene: Callable[[Image.Image], Image.Image],
        shot: Callable[[Image.Image], Image.Image] = _saved,
    ) -> list[Pair]:
        return [
            (
                shot(_pasted(scene(photo), self.icons[2 * number], share)),
                shot(_pasted(scene(photo), self.icons[2 * number + 1], share)),
            )
            for number, photo in enumerate(self.photos)
        ]

    @staticmethod
    def _same(photo: Image.Image) -> Image.Image:
        return photo

    @staticmethod
    def _background(photo: Image.Image) -> Image.Image:
        """The upper left corner, where cloth, tiles or a floor are."""
        corner = photo.crop((0, 0, photo.width // 3, photo.height // 3))
        return corner.resize(photo.size, Image.Resampling.BICUBIC)

    def _shot(self, scene: Image.Image) -> Image.Image:
        """The scene as a camera on a stand takes it once more."""
        pixels = np.roll(np.asarray(scene, float), self.random.integers(-1, 2, 2), (0, 1))
        pixels = pixels * self.random.uniform(0.95, 1.05) + self.random.normal(0, 4, pixels.shape)
        return _saved(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), quality=90)

    def _scratched(self, image: Image.Image) -> Image.Image:
        marked = image.copy()
        left, top = self.random.uniform(0.2, 0.7, 2) * image.size
        shade = 235 if image.convert("L").getpixel((int(left), int(top))) < 128 else 20  # type: ignore[operator]
        end = (left + 0.1 * image.width, top + 0.06 * image.width)
        width = max(1, round(image.width / 80))
        ImageDraw.Draw(marked).line((left, top, *end), fill=(shade,) * 3, width=width)
        return marked


def sweep(kinds: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each pair of thresholds: copies lost and different things called copies."""
    ours = second_look.AGREEMENT, second_look.CHANGE
    for agreement, change in product(AGREEMENTS, CHANGES):
        progress(f"agreement {agreement}, change {change}")
        second_look.AGREEMENT, second_look.CHANGE = agreement, change
        row: dict[str, Any] = {"agreement": agreement, "change": change}
        for truth, column in (("copies", "copies lost %"), ("different", "false copies %")):
            of_truth = [kind for kind in kinds if kind["truth"] == truth]
            near = sum(len(kind["details"]) for kind in of_truth)
            called = sum(map(_called, of_truth))
            row[column] = 100 * ((near - called) if truth == "copies" else called) / near
        yield row
    second_look.AGREEMENT, second_look.CHANGE = ours


def rates(kinds: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each kind of pair."""
    for kind in kinds:
        yield {
            "truth": kind["truth"],
            "kind": kind["kind"],
            "pairs": kind["pairs"],
            "before": 100 * len(kind["details"]) / kind["pairs"],
            "after": 100 * _called(kind) / kind["pairs"],
            "saved again": 100 * _called(kind, Likeness.RECODED) / kind["pairs"],
        }


def real(folder: Path) -> dict[str, Any]:
    """Near pairs among the photos, and which of them are called copies."""
    images = [_pixels(path) for path in sorted(folder.rglob("*.jpg"))]
    pairs = near_pairs([fingerprint(image) for image in images])
    called = [
        compare(
            detail(images[one]), detail(images[other]), images[one].shape == images[other].shape
        )
        for one, other in pairs
    ]
    return {"photos": len(images), "before": len(pairs), "after": sum(map(bool, called))}


def _called(kind: dict[str, Any], least: Likeness = Likeness.COPY) -> int:
    pairs = zip(kind["details"], kind["sizes"], strict=True)
    return sum(compare(*details, equal) >= least for details, equal in pairs)


def _is_near(pair: Pair) -> bool:
    return len(near_pairs([fingerprint(np.asarray(image)) for image in pair])) == 1


def _pasted(photo: Image.Image, icon: Image.Image, share: float) -> Image.Image:
    """The icon, without its white, on the middle of the photo."""
    side = max(8, round(min(photo.size) * share))
    print_ = icon.resize((side, side), Image.Resampling.LANCZOS)
    ink = (255.0 - np.asarray(print_).min(axis=2)) / 40
    mask = Image.fromarray((255 * ink.clip(0, 1)).astype(np.uint8))
    printed = photo.copy()
    printed.paste(print_, ((photo.width - side) // 2, (photo.height - side) // 2), mask)
    return printed


def _some(folder: Path, count: int, pattern: str) -> list[Path]:
    paths = sorted(folder.rglob(pattern))
    order = np.random.default_rng(0).permutation(len(paths))[:count]
    return [paths[number] for number in order]


def _opened(path: Path) -> Image.Image:
    return Image.fromarray(_pixels(path))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of real photos, JPEG")
    add("--icons", type=Path, required=True, help="folder of drawings on white, JPEG")
    add("--images", type=int, default=100, help="photos of each half (100)")
    add("--lost", type=float, default=0.5, help="percent of near copies that may be lost (0.5)")
    add("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
