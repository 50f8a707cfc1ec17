"""What `tune diagnose` found, kept where a report on the same images finds it.

One JSON file for each set of images, under the fingerprint of its contents, labels and splits, in
the cache folder. A later diagnosis takes the place of an earlier one.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner.atomic import write_text

_FOLDER = "diagnoses"
_SCHEMA = 1


def keep_diagnosis(
    cache_dir: Path, fingerprint: str, found: Mapping[str, Any], options: Mapping[str, Any]
) -> Path:
    """Writes a diagnosis down.

    Args:
        cache_dir: the cache folder.
        fingerprint: of the dataset.
        found: as `Diagnosis.to_json` gives it.
        options: how it was made, such as the image size.

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
    """What `keep_diagnosis` wrote of these images: "made", "options", "found"; None without one.

    One that is damaged, or was written by a newer version, counts as none: it can be made again.
    """
    try:
        document = json.loads(_file(cache_dir, fingerprint).read_text("utf-8"))
        return document if document["schema"] == _SCHEMA else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file(cache_dir: Path, fingerprint: str) -> Path:
    return cache_dir / _FOLDER / f"{fingerprint}.json"
