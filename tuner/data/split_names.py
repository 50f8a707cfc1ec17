"""Splits by the names that people give them: train, seg_test, ValidData, Training Set ..."""

import re
from collections.abc import Iterable

_WORDS = {
    "train": "train training trainset trn entrenamiento entrainement apprentissage treino",
    "validation": "val valid validation validate validating valset validset dev devset eval",
    "test": "test testing tests testset tst holdout heldout unseen prueba",
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words.split()}
_SPLITS |= {"evaluation": "validation", "evaluate": "validation"}
# They say nothing of what a folder holds.
_EMPTY = {
    "set",
    "sets",
    "split",
    "data",
    "dataset",
    "image",
    "images",
    "img",
    "imgs",
    "photos",
    "pics",
}


def split_named(name: str) -> str | None:
    """The split that a name means, "train", "validation" or "test"; None if it means another thing.

    Example:
        >>> split_named("Training Set"), split_named("train station")
        ('train', None)
    """
    meant = _meant(name)
    return meant[0] if meant is not None and not meant[1] else None


def split_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (split, name) of the names that are splits; none if all are names of classes.

    What else the names say must be the same of all: seg_train and seg_test are splits, but not
    "train station" and "test tube". "train" may be a class, next to "car" and "plane".
    """
    names = list(names)
    by_rest: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        if (meant := _meant(name)) is not None:
            by_rest.setdefault(meant[1], []).append((meant[0], name))
    for found in by_rest.values():
        splits = {split for split, _ in found}
        if "train" in splits and (len(splits) > 1 or len(found) == len(names)):
            return found
    return []


def _meant(name: str) -> tuple[str, str] | None:
    """The one split that a name means, and what else it says."""
    joined = re.sub("(h[eo]ld)[-_ ]?(out)", r"\1\2", name, flags=re.IGNORECASE)
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+", joined)
    words = [word.lower() for word in words]
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    if len(splits) != 1:
        return None
    return splits.pop(), " ".join(word for word in words if word not in _SPLITS.keys() | _EMPTY)
