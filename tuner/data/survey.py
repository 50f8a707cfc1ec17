"""Survey of a dataset: read every image once; find damage, copies, conflicting labels and leaks."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from tuner.counting import Progress, silent
from tuner.data.listing import USUAL, Candidate, Layout, Manifest, Skipped
from tuner.data.near_duplicates import VERSION as FINGERPRINT_VERSION
from tuner.data.near_duplicates import closest, fingerprint, near_pairs, turned_pairs
from tuner.data.second_look import VERSION as SECOND_LOOK_VERSION
from tuner.data.second_look import Image, Likeness, look_again
from tuner.data.splits import components
from tuner.data.survey_cache import Facts, FactStore
from tuner.data.table import listed
from tuner.decoding.decode import batches, decode_each, on_all_cores, read_bytes
from tuner.decoding.formats import HEADER_BYTES, DecodeError, image_format
from tuner.errors import DataError
from tuner.storage.cache import Cache

# Share of damaged images above which the whole folder is suspect.
_MOST_DAMAGED = 0.2

# A candidate, its SHA-256, and its facts; or its content, until it is decoded; or why it is
# unreadable.
_Read = tuple[Candidate, str, Facts | str | bytes]


@dataclass(frozen=True)
class Picture:
    """A readable image: as listed, with its SHA-256, format, and upright size in pixels."""

    path: str
    label: str
    split: str | None
    group: str | None
    sha256: str
    format: str
    width: int
    height: int


@dataclass(frozen=True)
class Leak:
    """An image of "train" or "validation" whose picture or group is also in a later given split."""

    path: str
    split: str
    other: str
    other_split: str


@dataclass(frozen=True)
class Survey:
    """The images of a dataset and what is wrong with them.

    Attributes:
        root: folder that paths are relative to.
        classes: their names, in the order of the labels.
        given: names of the given splits.
        pictures: the readable images, sorted by path.
        skipped: unreadable images, and images without a class.
        ignored: number of other files and folders.
        near: pairs of different files that are one picture or look alike, as indices of pictures.
        unread: number of images that cannot be read, by kind.
        notes: sentences on what was left out, or may be meant otherwise.
        problem: why the images cannot be used, or None.
        joined: whether near images share a split; identical files always do.
        turned: pairs that are much alike once one is mirrored or turned, as indices.
    """

    root: Path
    classes: tuple[str, ...]
    given: tuple[str, ...]
    pictures: tuple[Picture, ...]
    skipped: tuple[Skipped, ...]
    ignored: int
    near: Mapping[tuple[int, int], Likeness]
    joined: bool = True
    turned: tuple[tuple[int, int], ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: str | None = None

    @cached_property
    def identical(self) -> tuple[tuple[int, int], ...]:
        """Pairs that connect all files of the same content."""
        return tuple(_chained(self.pictures, lambda picture: picture.sha256))

    @cached_property
    def grouped(self) -> tuple[tuple[int, int], ...]:
        """Pairs that connect all images of the same given group."""
        return tuple(_chained(self.pictures, lambda picture: picture.group))

    @cached_property
    def same(self) -> tuple[tuple[int, int], ...]:
        """Pairs of images that are surely the same picture, identical files included."""
        return tuple(sorted({*self.identical, *self._near(Likeness.COPY, Likeness.RECODED)}))

    @cached_property
    def copies(self) -> tuple[tuple[int, ...], ...]:
        """Groups of images that are surely the same picture, as indices."""
        return components(self.same)

    @cached_property
    def alike(self) -> tuple[tuple[int, ...], ...]:
        """Groups of images that look alike and may show different things, as indices."""
        copy_of = {number: numbers for numbers in self.copies for number in numbers}
        pairs = self._near(Likeness.ALIKE)
        return components(pair for pair in pairs if pair[1] not in copy_of.get(pair[0], ()))

    @cached_property
    def together(self) -> tuple[tuple[int, int], ...]:
        """Pairs of images that share a split."""
        near = self.near if self.joined else ()
        return tuple(sorted({*self.identical, *near, *self.grouped}))

    @cached_property
    def conflicts(self) -> tuple[tuple[int, ...], ...]:
        """Groups of one file, or of a file and itself saved again, under different labels."""
        members: dict[str, list[int]] = defaultdict(list)
        for number, picture in enumerate(self.pictures):
            members[picture.sha256].append(number)
        found = [set(numbers) for numbers in members.values()]
        found += [
            {*members[self.pictures[one].sha256], *members[self.pictures[other].sha256]}
            for one, other in self._near(Likeness.RECODED)
        ]
        conflicting = [sorted(numbers) for numbers in found if len(self._labels(numbers)) > 1]
        return components(pair for numbers in conflicting for pair in pairwise(numbers))

    @property
    def conflicting_paths(self) -> tuple[tuple[str, ...], ...]:
        """`conflicts` as paths."""
        return tuple(
            tuple(self.pictures[number].path for number in numbers) for numbers in self.conflicts
        )

    @cached_property
    def leaks(self) -> tuple[Leak, ...]:
        """Images whose picture or group is in two of the given splits."""
        leaks: list[Leak] = []
        for numbers in components({*self.same, *self.grouped}):
            members: dict[str | None, list[str]] = defaultdict(list)
            for number in numbers:
                members[self.pictures[number].split].append(self.pictures[number].path)
            for split, others in (("train", ("validation", "test")), ("validation", ("test",))):
                other = next((other for other in others if other in members), None)
                if other is not None and split in members:
                    leaks += [
                        Leak(path, split, members[other][0], other) for path in members[split]
                    ]
        return tuple(sorted(leaks, key=lambda leak: leak.path))

    def _near(self, *kinds: Likeness) -> list[tuple[int, int]]:
        return [pair for pair, likeness in self.near.items() if likeness in kinds]

    def _labels(self, numbers: Iterable[int]) -> set[str]:
        return {self.pictures[number].label for number in numbers}


def survey(
    data: Path,
    cache: Cache | None = None,
    on_progress: Progress = silent,
    layout: Layout = USUAL,
    check: bool = True,
    *,
    near_duplicates: str = "group",
) -> Survey:
    """Find and read the images of a folder or a table.

    A file that the cache knows is not decoded again, so that an interrupted survey resumes. Without
    `check`, too much damage is not raised but noted as the survey's `problem`.

    Args:
        data: a folder, or a table.
        cache: keeps the facts about images.
        on_progress: of reading, then of comparing.
        near_duplicates: "group" near images into one split, "warn" of them, or "ignore" them.

    Raises:
        DataError: there is no such folder, it does not hold images in at least two classes, or more
            than a fifth of them are damaged.
        CacheError: the cache folder is full, or is not writable.
    """
    manifest = listed(data, layout)
    with FactStore(cache, FINGERPRINT_VERSION, SECOND_LOOK_VERSION) as store:
        found, damaged = _read_all(manifest, store, on_progress)
        problem = _problem(manifest, [picture for picture, _ in found], damaged)
        if check and problem is not None:
            raise DataError(problem)
        found.sort(key=lambda pair: pair[0].path)
        pictures = tuple(picture for picture, _ in found)
        near: Mapping[tuple[int, int], Likeness] = {}
        turned: list[tuple[int, int]] = []
        if near_duplicates != "ignore":
            fingerprints = [fingerprint for _, fingerprint in found]
            turned = [(one, other) for one, other in turned_pairs(fingerprints).tolist()]
            near = _near(manifest.root, pictures, fingerprints, store, on_progress)
    return Survey(
        root=manifest.root,
        classes=next(iter(manifest.classes.values())),
        given=manifest.given,
        pictures=pictures,
        skipped=tuple(sorted(manifest.stray + damaged, key=lambda skipped: skipped.path)),
        ignored=manifest.ignored,
        near=near,
        joined=near_duplicates == "group",
        turned=tuple(turned),
        unread=dict(manifest.unread.most_common()),
        notes=tuple(manifest.notes),
        problem=problem,
    )


def _read_all(
    manifest: Manifest, store: FactStore, on_progress: Progress
) -> tuple[list[tuple[Picture, bytes]], list[Skipped]]:
    """The readable images with their fingerprints, and the damaged ones."""
    found: list[tuple[Picture, bytes]] = []
    damaged: list[Skipped] = []
    together = batches(manifest.candidates, lambda item: manifest.root / item.path)
    read = chain.from_iterable(on_all_cores(partial(_read, manifest.root, store), together))
    for done, (candidate, sha256, facts) in enumerate(read, start=1):
        if isinstance(facts, str):
            hint = manifest.hints.get(candidate.path, "")
            damaged.append(Skipped(candidate.path, facts + hint))
        elif isinstance(facts, Facts):
            picture = Picture(
                **vars(candidate),
                sha256=sha256,
                format=facts.format,
                width=facts.width,
                height=facts.height,
            )
            found.append((picture, facts.fingerprint))
        on_progress("reading images", done, len(manifest.candidates))
    return found, damaged


def _read(root: Path, store: FactStore, candidates: list[Candidate]) -> list[_Read]:
    """Look each candidate up by its content, and decode those that are new."""
    read = [_looked_up(root, store, candidate) for candidate in candidates]
    new = [(number, data) for number, (_, _, data) in enumerate(read) if isinstance(data, bytes)]
    decoded = decode_each([data for _, data in new])
    for (number, data), pixels in zip(new, decoded, strict=True):
        candidate, sha256, _ = read[number]
        if isinstance(pixels, DecodeError):
            # Not stored: on another machine, or another day, it may be readable.
            read[number] = (candidate, "", pixels.reason)
        else:
            facts = _facts(data, pixels)
            store.put(sha256, facts)
            read[number] = (candidate, sha256, facts)
    return read


def _looked_up(root: Path, store: FactStore, candidate: Candidate) -> _Read:
    try:
        data = read_bytes(root / candidate.path)
    except DecodeError as error:
        return candidate, "", error.reason
    sha256 = hashlib.sha256(data).hexdigest()
    return candidate, sha256, store.get(sha256) or data


def _facts(data: bytes, pixels: np.ndarray) -> Facts:
    height, width, _ = pixels.shape
    kind = image_format(data[:HEADER_BYTES]) or ""
    return Facts(kind, width, height, fingerprint(pixels))


def _near(
    root: Path,
    pictures: Sequence[Picture],
    fingerprints: Sequence[bytes],
    store: FactStore,
    on_progress: Progress,
) -> dict[tuple[int, int], Likeness]:
    """Near pairs, looked at again; identical files are represented by the first."""
    first: dict[str, int] = {}
    for number, picture in enumerate(pictures):
        first.setdefault(picture.sha256, number)
    numbers = np.array(list(first.values()), np.int64)
    distinct = [fingerprints[number] for number in numbers]
    pairs = near_pairs(distinct)
    looked_at = numbers[closest(distinct, pairs)].tolist()
    images = [
        Image(root / picture.path, picture.sha256, (picture.width, picture.height))
        for picture in pictures
    ]
    near = dict.fromkeys(map(tuple, numbers[pairs].tolist()), Likeness.ALIKE)
    return near | look_again(images, [(one, other) for one, other in looked_at], store, on_progress)


def _problem(manifest: Manifest, pictures: list[Picture], damaged: list[Skipped]) -> str | None:
    """Why too many images are damaged, or None."""
    if damaged and not pictures:
        return (
            f"None of the {len(damaged)} images in {manifest.root} can be read; the first, "
            f"{damaged[0].path}: {damaged[0].reason}."
        )
    found = Counter((candidate.label, candidate.split) for candidate in manifest.candidates)
    readable = {(picture.label, picture.split) for picture in pictures}
    for split, classes in manifest.classes.items():
        for name in classes:
            if (name, split) not in readable:
                return (
                    f"Class {name} needs {split or 'train'} images, but none of its "
                    f"{found[name, split]} can be read: add some or remove the class."
                )
    if len(damaged) > _MOST_DAMAGED * len(manifest.candidates):
        return (
            f"{len(damaged)} of the {len(manifest.candidates)} images in {manifest.root} cannot be "
            f"read, such as {damaged[0].path}: {damaged[0].reason}. Remove or repair them "
            "(tune data --json names all)."
        )
    return None


def _chained(
    pictures: tuple[Picture, ...], key: Callable[[Picture], str | None]
) -> Iterator[tuple[int, int]]:
    """Pairs that connect all images of the same key: each with the next."""
    members: dict[str, list[int]] = defaultdict(list)
    for number, picture in enumerate(pictures):
        name = key(picture)
        if name is not None:
            members[name].append(number)
    for numbers in members.values():
        yield from pairwise(numbers)
