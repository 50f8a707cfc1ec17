"""Choose which cuts to store: the seconds that each saves against the seconds and bytes it costs.

A trial at an unfreeze depth reads the activations at its cut once an epoch. If that cut is not
stored, they are computed from the nearest earlier stored cut, or from the images.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Assumed for a warm page cache and an ordinary SSD. They decide how much is stored, and so how long
# a search takes, but never its results.
READ_SECONDS_PER_BYTE = 1 / 1.5e9
WRITE_SECONDS_PER_BYTE = 1 / 0.3e9


@dataclass(frozen=True)
class Segment:
    """The part of the network that ends at `cut` (an unfreeze depth); its cost for one image."""

    cut: int
    multiply_accumulates: int
    output_bytes: int


@dataclass(frozen=True)
class Costs:
    """Measured speed, images of all splits and views, and most bytes to store (None: any)."""

    seconds_per_multiply_accumulate: float
    images: int
    limit_bytes: int | None = None


def choose_cuts(
    segments: Sequence[Segment], epochs: Mapping[int, float], costs: Costs
) -> tuple[int, ...]:
    """Choose the cuts, as unfreeze depths, that make the search fastest within the limit.

    Args:
        segments: from the images to the pooled features.
        epochs: expected epochs of training at each unfreeze depth.
        costs: of computing and storing.
    """
    cuts = [segment.cut for segment in segments]
    subsets = itertools.chain.from_iterable(
        itertools.combinations(cuts, size)
        for size in range(len(cuts) + 1)  # the smallest first
    )
    fitting = (
        chosen
        for chosen in subsets
        if costs.limit_bytes is None or _bytes(segments, chosen) * costs.images <= costs.limit_bytes
    )
    return min(fitting, key=lambda chosen: _seconds(segments, chosen, epochs, costs))


def compute_seconds(
    segments: Sequence[Segment], begin: int, end: int, seconds_each: float
) -> float:
    """Seconds to compute one image's activations from the end of segment `begin` to that of `end`.

    -1 stands for the images; `seconds_each` is per multiply-accumulate.
    """
    work = sum(segment.multiply_accumulates for segment in segments[begin + 1 : end + 1])
    return work * seconds_each


def _bytes(segments: Sequence[Segment], chosen: Sequence[int]) -> int:
    return sum(segment.output_bytes for segment in segments if segment.cut in chosen)


def _seconds(
    segments: Sequence[Segment],
    chosen: Sequence[int],
    epochs: Mapping[int, float],
    costs: Costs,
) -> float:
    """Seconds for one image over the whole search, without training above the cuts."""
    position = {segment.cut: number for number, segment in enumerate(segments)}
    kept = [position[cut] for cut in chosen]
    total = _bytes(segments, chosen) * WRITE_SECONDS_PER_BYTE
    each = costs.seconds_per_multiply_accumulate
    total += compute_seconds(segments, -1, max(kept, default=-1), each)
    for cut, count in epochs.items():
        begin = max((number for number in kept if number <= position[cut]), default=-1)
        read = segments[begin].output_bytes * READ_SECONDS_PER_BYTE if begin >= 0 else 0.0
        total += count * (read + compute_seconds(segments, begin, position[cut], each))
    return total
