"""What in a dataset makes its accuracy doubtful or its split impossible, a sentence each."""

from itertools import pairwise

from tuner.data.second_look import Likeness
from tuner.data.splits import components
from tuner.data.survey import Survey
from tuner.data.variants import BY_NAME, families

_MOST_VARIANTS = 0.05  # share of all images that may look like variants by chance
_LARGEST_GROUP = 0.5  # share of all images above which one group is a problem
WARN = "--near-duplicates warn"


def dataset_warnings(found: Survey) -> list[str]:
    """Variants, look-alikes of different classes or in two given splits, and one large group."""
    lines = _variants(found)
    pictures = found.pictures
    unsure = [pair for pair, likeness in found.near.items() if likeness != Likeness.RECODED]
    across = [pair for pair in unsure if pictures[pair[0]].label != pictures[pair[1]].label]
    if across:
        lines.append(
            f"{_images(across)} look like images of another class, such as "
            f"{_example(found, across)}: all are used. Check that both labels are right."
        )
    alike = [pair for pair in unsure if found.near[pair] == Likeness.ALIKE]
    apart = [pair for pair in alike if pictures[pair[0]].split != pictures[pair[1]].split]
    if apart:
        lines.append(
            f"{_images(apart)} look like images of another given split, such as "
            f"{_example(found, apart)}: all are used. Are they shots of one thing, the accuracy is "
            "too high."
        )
    largest = max(map(len, components(found.near)), default=0) if found.joined else 0
    if largest > _LARGEST_GROUP * len(pictures) and not found.given:
        lines.append(
            f"{largest} of {len(pictures)} images look alike and form one group, which stays in "
            f"one split: if they show different things, {WARN} splits them."
        )
    return lines


def _variants(found: Survey) -> list[str]:
    """Flips, turns and the like that may fall on two sides of the split."""
    paths = [picture.path for picture in found.pictures]
    by_name = families(paths, [picture.label for picture in found.pictures])
    named = [pair for numbers in by_name for pair in pairwise(numbers)]
    part_of = {number: part for part in components(found.together) for number in part}
    for pairs, how in ((named, "are named as"), (list(found.turned), "are, mirrored or turned,")):
        apart = [(one, other) for one, other in pairs if other not in part_of.get(one, ())]
        if len({number for pair in apart for number in pair}) > _MOST_VARIANTS * len(paths):
            return [
                f"{_images(apart)} {how} variants of others, such as {_example(found, apart)}. On "
                "two sides of the split, variants make the accuracy too high: give only the "
                "originals (--augment makes variants after the split), or keep the variants of an "
                f"image together with --group-by {BY_NAME}, or with a pattern."
            ]
    return []


def _images(pairs: list[tuple[int, int]]) -> str:
    return f"{len({number for pair in pairs for number in pair}):,} images"


def _example(found: Survey, pairs: list[tuple[int, int]]) -> str:
    return " and ".join(found.pictures[number].path for number in pairs[0])
