"""Which cuts are worth storing: seconds that a stored cut saves against seconds and bytes it costs.

A trial at some unfreeze depth reads the activations at its cut once an epoch. Where its own cut is
not stored, they are computed from the nearest earlier cut that is, or from the images.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# What a byte costs: assumed, not measured, for a page cache that is warm and an ordinary SSD. They
# decide how much is stored, and so the time that a search takes, but never its results.
READ_SECONDS_PER_BYTE = 1 / 1.5e9
WRITE_SECONDS_PER_BYTE = 1 / 0.3e9


@dataclass(frozen=True)
class Segment:
    """The piece of the network that ends at a cut.

    Attributes:
        cut: the unfreeze depth whose cut it ends at.
        multiply_accumulates: of its convolutions, for one image.
        output_bytes: of its activations, for one image.
    """

    cut: int
    multiply_accumulates: int
    output_bytes: int


@dataclass(frozen=True)
class Costs:
    """What computing and keeping costs.

    Attributes:
        seconds_per_multiply_accumulate: measured on a forward pass.
        images: how many there are, in all splits and views.
        limit_bytes: most that may be kept, or None.
    """

    seconds_per_multiply_accumulate: float
    images: int
    limit_bytes: int | None = None


def choose_cuts(
    segments: Sequence[Segment], epochs: Mapping[int, float], costs: Costs
) -> tuple[int, ...]:
    """The set of cuts that makes the search fastest, within the limit.

    Args:
        segments: from the images to the pooled features.
        epochs: unfreeze depth to the epochs that the search is expected to train at it.
        costs: what computing and keeping costs.

    Returns:
        Unfreeze depths, from the input to the output.
    """
    fitting = (
        chosen
        for chosen in _subsets(segments)
        if costs.limit_bytes is None or _bytes(segments, chosen) * costs.images <= costs.limit_bytes
    )
    return min(fitting, key=lambda chosen: _seconds(segments, chosen, epochs, costs))


def compute_seconds(
    segments: Sequence[Segment], begin: int, end: int, seconds_each: float
) -> float:
    """Seconds for one image from one cut to another.

    Args:
        segments: from the images to the pooled features.
        begin: position of the cut to begin with, -1 for the images.
        end: position of the cut to end with.
        seconds_each: of a multiplication with addition.
    """
    work = sum(segment.multiply_accumulates for segment in segments[begin + 1 : end + 1])
    return work * seconds_each


def _subsets(segments: Sequence[Segment]) -> Iterator[tuple[int, ...]]:
    """Every choice among the cuts, the smallest first."""
    cuts = [segment.cut for segment in segments]
    for size in range(len(cuts) + 1):
        yield from itertools.combinations(cuts, size)


def _bytes(segments: Sequence[Segment], chosen: Sequence[int]) -> int:
    """Bytes of the chosen cuts for one image."""
    return sum(segment.output_bytes for segment in segments if segment.cut in chosen)


def _seconds(
    segments: Sequence[Segment],
    chosen: Sequence[int],
    epochs: Mapping[int, float],
    costs: Costs,
) -> float:
    """Seconds for one image over the whole search, training above the cuts left out."""
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
