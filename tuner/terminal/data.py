"""The report of `tune data`: classes, sizes, formats, duplicates, splits."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuner.data.dataset import Dataset
from tuner.data.imbalance import imbalance_note
from tuner.data.listing import Skipped
from tuner.data.splits import SPLITS
from tuner.data.survey import Leak, Survey
from tuner.data.warnings import dataset_warnings
from tuner.observer import SearchObserver
from tuner.terminal.tables import plain, plain_table
from tuner.text import percent

_BLOCK = "\u2588"
_BAR = 12  # characters of the longest bar


def data_report(found: Survey, dataset: Dataset | None, width: int = 80) -> RenderableType:
    """A dataset on one screen.

    Args:
        found: the survey of its images.
        dataset: the dataset with its splits; None if it cannot be split.
        width: of the terminal, in characters; below 70 the bars are omitted.
    """
    count, skipped = len(found.pictures), len(found.skipped)
    head = (
        f"{count:,} images in {len(found.classes)} classes; {skipped:,} left out, "
        f"{found.ignored:,} other files and folders."
    )
    used = None if dataset is None else dataset.paths
    warnings = data_warnings(found.skipped, found.conflicting_paths, found.leaks, used)
    warnings += dataset_warnings(found)
    lines = [_sizes(found), *_copies(found), _imbalance(dataset), *found.notes, *warnings]
    return Group(
        plain(head), _class_table(found, dataset, width), *(plain(line) for line in lines if line)
    )


def data_row(found: Survey, dataset: Dataset | None) -> dict[str, Any]:
    """The same as `tune data --json` prints it."""
    return {
        "images": len(found.pictures),
        "classes": dict(Counter(picture.label for picture in found.pictures)),
        "formats": dict(Counter(picture.format for picture in found.pictures)),
        "sizes": [list(size) for size in _extremes(found)],
        "ignored": found.ignored,
        "not_read": dict(found.unread),
        "notes": list(found.notes),
        "skipped": [asdict(skipped) for skipped in found.skipped],
        "same": _named(found, found.copies),
        "alike": _named(found, found.alike),
        "conflicts": [list(paths) for paths in found.conflicting_paths],
        "leaks": [asdict(leak) for leak in found.leaks],
        "warnings": dataset_warnings(found),
        "splits": None if dataset is None else dataset.counts(),
    }


def _named(found: Survey, groups: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[found.pictures[number].path for number in each] for each in groups]


def _class_table(found: Survey, dataset: Dataset | None, width: int) -> Table:
    counts = Counter(picture.label for picture in found.pictures)
    splits = None if dataset is None else dataset.counts()
    table = plain_table(gap=3)
    table.add_column("class", overflow="fold")
    table.add_column("images", justify="right", no_wrap=True)
    wide = width >= 70
    if wide:
        table.add_column("share", no_wrap=True)
    for split in SPLITS if splits is not None else ():
        table.add_column(split, justify="right", no_wrap=True)
    for name in sorted(counts, key=lambda name: (-counts[name], name)):
        bar = [Text(_bar(counts, name))] if wide else []
        parts = [f"{splits[name][split]:,}" for split in SPLITS] if splits is not None else []
        table.add_row(plain(name), f"{counts[name]:,}", *bar, *parts)
    return table


def _bar(counts: Mapping[str, int], name: str) -> str:
    bar = _BLOCK * round(_BAR * counts[name] / max(counts.values()))
    return f"{bar:<{_BAR}} {percent(counts[name] / sum(counts.values())):>6}"


def _extremes(found: Survey) -> list[tuple[int, int]]:
    """Width and height of the smallest, the median and the largest image, by pixel count."""
    sizes = sorted(
        ((picture.width, picture.height) for picture in found.pictures),
        key=lambda size: (size[0] * size[1], size),
    )
    return [sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1]] if sizes else []


def _sizes(found: Survey) -> str:
    if not found.pictures:
        return ""
    formats = Counter(picture.format for picture in found.pictures)
    shown = ", ".join(f"{name} {count:,}" for name, count in formats.most_common())
    smallest, middle, largest = (f"{width} x {height}" for width, height in _extremes(found))
    sizes = (
        smallest if smallest == largest else f"{smallest} to {largest}, half of them up to {middle}"
    )
    return f"Formats: {shown}. Pixels: {sizes}."


def _copies(found: Survey) -> list[str]:
    """A sentence on copies, and one on images that look alike."""
    together = "." if found.given or not found.joined else ": {} stay on one side of the split."
    lines = ["No picture is there twice."]
    if groups := found.copies:
        pictures = "1 picture" if len(groups) == 1 else f"{len(groups):,} pictures"
        example = " and ".join(_named(found, groups)[0][:2])
        lines = [
            f"{sum(map(len, groups)):,} images show only {pictures}, such as {example}"
            f"{together.format('copies')}"
        ]
    if groups := found.alike:
        example = " and ".join(_named(found, groups)[0][:2])
        lines.append(
            f"{sum(map(len, groups)):,} images look alike, such as {example}, and may be further "
            "shots of one thing, or different things before one background"
            f"{together.format('they')}"
        )
    return lines


def _imbalance(dataset: Dataset | None) -> str | None:
    if dataset is None:
        return None
    return imbalance_note(dataset.training_counts(), "val_accuracy", "none")


_EXAMPLES = 10
_KEEP = "--keep-conflicts trains on them"
_DROP = "--drop-leaks leaves them out"


def data_warnings(
    skipped: Sequence[Skipped],
    conflicts: Sequence[Sequence[str]],
    leaks: Sequence[Leak],
    used: Container[str] | None,
) -> list[str]:
    """Warnings, a sentence each: skipped images, conflicting labels, leaks.

    Args:
        skipped: see `Dataset`.
        conflicts: see `Dataset`.
        leaks: see `Dataset`.
        used: paths of the images that a search uses; None if no search is possible.
    """
    lines = [f"{each.path} is left out: {each.reason}." for each in skipped[:_EXAMPLES]]
    if len(skipped) > _EXAMPLES:
        lines.append(
            f"{len(skipped) - _EXAMPLES:,} more images are left out: tune data --json names all."
        )
    if conflicts:
        paths = [path for each in conflicts for path in each]
        lines.append(
            f"{len(paths)} images show a picture that stands under another label too, such as "
            f"{' and '.join(conflicts[0][:2])}{_fate(paths, used, _KEEP)}."
        )
    for split, name, remedy in (("train", "training", _DROP), ("validation", "validation", "")):
        found = [leak for leak in leaks if leak.split == split]
        if found:
            others = " and ".join(sorted({leak.other_split for leak in found}, reverse=True))
            lines.append(
                f"{len(found)} {name} images show what {others} images show, such as "
                f"{found[0].path} and {found[0].other}"
                f"{_fate([leak.path for leak in found], used, remedy)}."
            )
    return lines


def _fate(paths: Sequence[str], used: Container[str] | None, remedy: str) -> str:
    """How many of the images are used and left out, and the option that changes it."""
    if used is None:
        return ""
    kept = sum(path in used for path in paths)
    parts = [f"{kept} of them used"] if kept else []
    parts += [f"{len(paths) - kept} left out"] if kept < len(paths) else []
    would_help = remedy and (kept == 0) == (remedy is _KEEP)
    return f": {', '.join(parts)}{f' ({remedy})' if would_help else ''}"


def say_dataset(observer: SearchObserver, dataset: Dataset) -> None:
    """Send notes with the size of each split, and the warnings."""
    parts = ", ".join(f"{len(dataset.of(split))} {split}" for split in SPLITS)
    observer.note(f"{len(dataset.files)} images in {len(dataset.classes)} classes: {parts}.")
    for line in dataset.notes:
        observer.note(line)
    for line in data_warnings(dataset.skipped, dataset.conflicts, dataset.leaks, dataset.paths):
        observer.note(f"Warning: {line}")
    for line in dataset.warnings:
        observer.note(f"Warning: {line}")
