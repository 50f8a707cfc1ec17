"""Split images without separating groups: pure functions of the contents, which can be repeated."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.errors import DataError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Member:
    """An image to split: its class, its group, and its split if that is fixed."""

    label: str
    group: str
    split: str | None = None


def components(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Connected components of a graph: the numbers of each, sorted, the least first."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    numbers, ends = np.unique(np.array(list(pairs), np.int64), return_inverse=True)
    one, other = ends.reshape(-1, 2).T
    shape = (len(numbers), len(numbers))
    graph = coo_array((np.ones(len(one)), (one, other)), shape)
    _, labels = connected_components(graph, directed=False)
    members: dict[int, list[int]] = defaultdict(list)
    for number, label in zip(numbers.tolist(), labels.tolist(), strict=True):
        members[label].append(number)
    return tuple(map(tuple, members.values()))


def group_names(keys: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """The group of each image, named by the least of its members' `keys`; `pairs` share a group."""
    names = list(keys)
    for numbers in components(pairs):
        least = min(keys[number] for number in numbers)
        for number in numbers:
            names[number] = least
    return names


def split_members(members: Sequence[Member], shares: Mapping[str, float], seed: int) -> list[str]:
    """Choose the split of each member; DataError if a class has too few groups.

    Class by class, groups without a fixed split fill those of `shares` (at least one group each)
    in the order of a hash of the seed and the group's name; the rest is for training. A group of
    several classes counts for its most frequent one.
    """
    fixed = {member.group for member in members if member.split is not None}
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for member in members:
        if member.group not in fixed:
            labels[member.group][member.label] += 1
    of_class: dict[str, dict[str, int]] = {member.label: {} for member in members}
    for group, found in labels.items():
        label = min(found, key=lambda name: (-found[name], name))
        of_class[label][group] = found.total()
    split_of: dict[str, str] = {}
    images = Counter(member.label for member in members)
    for label, sizes in sorted(of_class.items()):
        if shares and len(sizes) < 1 + len(shares):
            copies = "copies count once, and not beside given splits"
            of = f" (of {images[label]}: {copies})" if images[label] > len(sizes) else ""
            raise DataError(
                f"Class {label} has {len(sizes)} different images to split{of}, but needs at least "
                f"{1 + len(shares)}, for {', '.join(['train', *shares])}: add some or remove the "
                "class."
            )
        split_of |= _carve(sizes, shares, seed)
    return [member.split or split_of.get(member.group, "train") for member in members]


def _carve(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    left = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    least, total = 1 + len(shares), sum(sizes.values())
    split_of: dict[str, str] = {}
    for later, (split, share) in enumerate(shares.items(), start=1):
        wanted = max(1, round(total * share))
        chosen = _fill(left, sizes, wanted, most=len(left) - (least - later))
        split_of |= dict.fromkeys(chosen, split)
        left = [group for group in left if group not in split_of]
    return split_of


def _fill(ranked: Sequence[str], sizes: Mapping[str, int], wanted: int, most: int) -> list[str]:
    """Groups of about `wanted` images in total, without groups that are far too large."""
    chosen: list[str] = []
    count = 0
    for group in ranked:
        if count >= wanted or len(chosen) == most:
            break
        if count + sizes[group] - wanted <= wanted - count:
            chosen.append(group)
            count += sizes[group]
    return chosen or [min(ranked, key=lambda group: sizes[group])]
