"""Groups of images that must stay together, and splits that never part them.

Everything here is a pure function of what the images are, so that a split can be repeated, and so
that images which are added move few others.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuner.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Member:
    """An image as far as a split has to know it.

    Attributes:
        label: name of its class.
        group: name of its group.
        split: where it stands already, or None.
    """

    label: str
    group: str
    split: str | None = None


def components(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """What pairs of numbers connect: the numbers of each component, sorted, the least first."""
    above: dict[int, int] = {}

    def top(number: int) -> int:
        above.setdefault(number, number)
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for pair in pairs:
        low, high = sorted(map(top, pair))
        above[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for number in sorted(above):
        members[top(number)].append(number)
    return tuple(tuple(numbers) for numbers in members.values())


def group_names(keys: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Names of groups, each the least key of its members.

    Args:
        keys: of each image, such as its SHA-256.
        pairs: numbers of images that belong together; all others are alone.
    """
    names = list(keys)
    for numbers in components(pairs):
        least = min(keys[number] for number in numbers)
        for number in numbers:
            names[number] = least
    return names


def split_members(members: Sequence[Member], shares: Mapping[str, float], seed: int) -> list[str]:
    """The split of each member.

    Those that stand nowhere yet are for training, and groups of them are moved to the splits of
    `shares`, class by class, in the order of a hash of the seed and the group's name. A group of
    several classes counts with the one that it has most of. Groups of which a member stands
    somewhere already are not moved.

    Args:
        members: all images.
        shares: split to its share of each class, at least one group; filled in this order.
        seed: draws another split.

    Raises:
        DataError: a class has too few groups.
    """
    standing = {member.group for member in members if member.split is not None}
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for member in members:
        if member.group not in standing:
            labels[member.group][member.label] += 1
    of_class: dict[str, dict[str, int]] = {member.label: {} for member in members}
    for group, found in labels.items():
        label = min(found, key=lambda name: (-found[name], name))
        of_class[label][group] = found.total()
    split_of: dict[str, str] = {}
    for label, sizes in sorted(of_class.items()):
        split_of |= _carve(label, sizes, shares, seed)
    return [member.split or split_of.get(member.group, "train") for member in members]


def _carve(
    label: str, sizes: Mapping[str, int], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Splits one class: `sizes` has the number of images by group."""
    left = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    least, total = 1 + len(shares), sum(sizes.values())
    if shares and len(left) < least:
        what = "different images" if total == len(left) else "groups of different images"
        raise DataError(
            f"Class {label} has {len(left)} {what} to split, but needs at least {least}, "
            f"for {', '.join(['train', *shares])}: add some or remove the class."
        )
    split_of: dict[str, str] = {}
    for later, (split, share) in enumerate(shares.items(), start=1):
        wanted = max(1, round(total * share))
        chosen = _fill(left, sizes, wanted, most=len(left) - (least - later))
        split_of |= dict.fromkeys(chosen, split)
        left = [group for group in left if group not in split_of]
    return split_of


def _fill(ranked: Sequence[str], sizes: Mapping[str, int], wanted: int, most: int) -> list[str]:
    """Groups with about `wanted` images in all, passing over those that would be far too large."""
    chosen: list[str] = []
    count = 0
    for group in ranked:
        if count >= wanted or len(chosen) == most:
            break
        if count + sizes[group] - wanted <= wanted - count:
            chosen.append(group)
            count += sizes[group]
    return chosen or [min(ranked, key=lambda group: sizes[group])]
