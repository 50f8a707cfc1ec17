"""Diagnoses stored in the cache folder, for reports on the same images.

One JSON file for each dataset, named by the fingerprint of its contents, labels and splits. A later
diagnosis replaces an earlier one.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner.storage.atomic import write_text

_FOLDER = "diagnoses"
_SCHEMA = 1
# The fields that a report shows: numbers, and those of each entry of a list.
_NUMBERS = ("training_images", "validation_images", "accuracy", "train_accuracy", "majority_rate")
_FINDING = ("cause", "gain", "sentence", "remedy")
_LISTS = {
    "causes": _FINDING,
    "excluded": ("cause", "sentence"),
    "prices": _FINDING,
    "model": ("severity", "name", "sentence", "repair"),
}


def keep_diagnosis(
    cache_dir: Path, fingerprint: str, found: Mapping[str, Any], options: Mapping[str, Any]
) -> Path:
    """Write a diagnosis to the cache folder.

    Args:
        cache_dir: the cache folder.
        fingerprint: of the dataset.
        found: as `Diagnosis.to_json` returns it.
        options: of the diagnosis, such as the image size.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    path = _file(cache_dir, fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"schema": _SCHEMA, "made": made, "options": dict(options), "found": dict(found)}
    write_text(path, json.dumps(document))
    return path


def kept_diagnosis(cache_dir: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read the diagnosis of these images: "made", "options", "found".

    Returns:
        None if there is none, or one that is damaged, lacks a field that a report shows, or was
        written by a newer version: it can be made again.
    """
    try:
        document = json.loads(_file(cache_dir, fingerprint).read_text("utf-8"))
        is_known = document["schema"] == _SCHEMA and isinstance(document["made"], str)
        return document if is_known and _is_whole(document["found"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_whole(found: Mapping[str, Any]) -> bool:
    """Whether a diagnosis has every field that a report shows, and numbers where it must.

    Raises:
        KeyError: a field is missing.
        TypeError: something is no list or has no fields.
    """
    numbers = [found[name] for name in _NUMBERS]
    for name, fields in _LISTS.items():
        listed = [{field: each[field] for field in fields} for each in found[name] or ()]
        numbers += [each["gain"] for each in listed if "gain" in each]
    return all(isinstance(number, (int, float)) for number in numbers)


def _file(cache_dir: Path, fingerprint: str) -> Path:
    return cache_dir / _FOLDER / f"{fingerprint}.json"
