"""Variants of a picture that were made before the split: flips, turns, zooms and the like.

They are found by name, as augmenting and labelling tools write them, and by content, mirrored and
turned (`near_duplicates.turned_pairs`). Variants on two sides of a split inflate its accuracy.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tuner.errors import SettingsError

BY_NAME = "variants"
_WORDS = (
    "aug|augmented|flip|flipped|hflip|vflip|fliph|flipv|lr|ud|mirror|mirrored|rot|rotate|rotated|"
    "rotation|zoom|zoomed|crop|cropped|bright|brightness|dark|contrast|gamma|hue|saturation|noise|"
    "noisy|blur|blurred|shift|shifted|translate|translated|shear|sheared|scale|scaled|jitter|"
    "elastic|cutout|original|orig"
)
_SUFFIX = re.compile(rf"(?:[-_. ]+(?:{_WORDS})(?:[-_. ]*-?\d+(?:\.\d+)?)*)+$", re.IGNORECASE)
_PREFIX = re.compile(rf"^(?:{_WORDS})(?:\d+)?[-_. ]+(?=.)", re.IGNORECASE)
_TOOLS = (
    re.compile(
        r"^(?P<name>.+)_(?:jpe?g|png|webp|bmp)\.rf\.[0-9a-z]{8,}$", re.IGNORECASE
    ),  # Roboflow
    re.compile(r"^.*?_original_(?P<name>.+)\.\w+_[0-9a-f-]{36}$", re.IGNORECASE),  # Augmentor
    re.compile(r"^(?P<name>.*aug.*_\d+)_\d+$", re.IGNORECASE),  # Keras: save_prefix, index, random
)


def original_name(path: str) -> str:
    """The name without folder and suffix, and without what augmenting tools add to it.

    Example:
        original_name("cats/IMG_1_flip.jpg")  # "IMG_1"
    """
    stem = PurePosixPath(path).stem
    for tool in _TOOLS:
        if match := tool.match(stem):
            return match["name"]
    name = _PREFIX.sub("", _SUFFIX.sub("", stem))
    return name or stem


def families(paths: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Indices of images of one class whose names say that they are variants of one picture."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
        members[label, original_name(path)].append(number)
    stems = [PurePosixPath(path).stem for path in paths]
    return [
        numbers
        for (_, name), numbers in members.items()
        if len(numbers) > 1 and any(stems[number] != name for number in numbers)
    ]


def groups_by(pattern: str, paths: Iterable[str]) -> list[str | None]:
    """The group of each image by its path, for `--group-by`; None where the pattern is not found.

    Args:
        pattern: a regular expression, whose first group, or else whose whole match, names the
            group; or "variants": `original_name`, within a folder.
        paths: relative to the dataset's root.

    Raises:
        SettingsError: it is no regular expression.
    """
    if pattern == BY_NAME:
        return [f"{PurePosixPath(path).parent}/{original_name(path)}" for path in paths]
    try:
        found = [re.search(pattern, path) for path in paths]
    except re.error as error:
        raise SettingsError(
            f"--group-by must be {BY_NAME} or a regular expression, but {pattern} is none: {error}."
        ) from error
    return [match and (match[1] if match.re.groups else match[0]) for match in found]
