"""Check an export's folder before any model in it is opened.

`export.json` lists the SHA-256 of each file. An attacker can write it too, so it only proves that
nothing was changed by accident: each model is vetted all the same.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import ExportError
from tuner.export import formats
from tuner.storage.atomic import read_text
from tuner.storage.digests import sha256

SCHEMA_VERSION = 1
LABELS_FILE = "labels.json"
_DESCRIPTION = "export.json"
# File or folder of each format, in the order in which prediction prefers them.
FORMATS = {name: made.file for name, made in formats.FORMATS.items()}

_NAME = re.compile(
    r"labels\.json|\w+\.(json|md)|model[\w.-]*\.(keras|onnx|tflite)|"
    r"savedmodel[\w-]*/(saved_model\.pb|fingerprint\.pb|"
    r"variables/variables\.(index|data-\d{5}-of-\d{5}))"
)
_MOST_TEXT_BYTES = 10_000_000
_MOST_LABELS = 100_000


@dataclass(frozen=True)
class ExportFolder:
    """An export's folder with unchanged files.

    Attributes:
        folder: the folder.
        labels: class names in the order of the models' outputs.
        models: file or folder of each format that is there, in the order of `FORMATS`.
        description: the content of export.json.
    """

    folder: Path
    labels: tuple[str, ...]
    models: Mapping[str, Path]
    description: Mapping[str, Any]


def open_export(folder: Path) -> ExportFolder:
    """Check an export's folder; open none of its models.

    Args:
        folder: as `tune best --export` wrote it.

    Raises:
        ExportError: it is no export, was written by a newer version, has changed, or holds a link
            or an unexpected file.
    """
    description = _read_json(folder, _DESCRIPTION)
    files = _files(folder, description)
    for name, digest in files.items():
        _check_file(folder, name, digest)
    labels = _read_json(folder, LABELS_FILE)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ExportError(f"{folder / LABELS_FILE} is not a list of class names. Export again.")
    if not 0 < len(labels) <= _MOST_LABELS:
        raise ExportError(f"{folder / LABELS_FILE} names {len(labels)} classes. Export again.")
    models = {kind: folder / name for kind, name in FORMATS.items() if _listed(name, files)}
    for path in models.values():
        _check_complete(folder, path, files)
    if not models:
        raise ExportError(f"{folder} holds no model. Export again.")
    return ExportFolder(folder, tuple(labels), models, description)


def _listed(name: str, files: Mapping[str, str]) -> bool:
    return name in files or any(file.startswith(f"{name}/") for file in files)


def _files(folder: Path, description: Any) -> dict[str, str]:
    """The files that export.json lists, with their SHA-256."""
    try:
        schema, files = description["schema"], dict(description["files"])
    except (TypeError, KeyError, ValueError) as error:
        raise ExportError(f"{folder / _DESCRIPTION} is damaged. Export again.") from error
    if type(schema) is not int:  # neither bool nor float
        raise ExportError(f"{folder / _DESCRIPTION} is damaged. Export again.")
    if schema > SCHEMA_VERSION:
        raise ExportError(
            f"{folder} was written by a newer version (schema {schema}, this one reads up to "
            f"{SCHEMA_VERSION}). Upgrade tune-resnet50."
        )
    for name in files:
        if not _NAME.fullmatch(str(name)):
            raise ExportError(
                f"{folder / _DESCRIPTION} lists {str(name)[:80]!r}, a file that no export has. "
                "Export again."
            )
    if LABELS_FILE not in files:
        raise ExportError(f"{folder / _DESCRIPTION} is damaged. Export again.")
    return files


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    try:
        for part in (path, *path.parents[: len(Path(name).parts) - 1]):
            if part.is_symlink():
                raise ExportError(f"{part} is a link to another place. Export again.")
        unchanged = sha256(path) == digest
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}. Export again.") from error
    if not unchanged:
        raise ExportError(f"{path} has changed since it was exported. Export again.")


def _check_complete(folder: Path, model: Path, files: Mapping[str, str]) -> None:
    """Raise ExportError if a model's folder holds an unlisted file."""
    for path in _below(model):
        name = path.relative_to(folder).as_posix()
        if name not in files:
            raise ExportError(f"{path} was not exported. Remove it, or export again.")


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in [*names, *links])


def _read_json(folder: Path, name: str) -> Any:
    if not folder.is_dir():
        raise ExportError(
            f"there is no export folder {folder}. Make one with: tune best --export {folder}"
        )
    path = folder / name
    if path.is_symlink():
        raise ExportError(f"{path} is a link to another place. Export again.")
    try:
        if path.stat().st_size > _MOST_TEXT_BYTES:
            raise ValueError
        return json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(
            f"{folder} is not an export: {name} is missing or damaged. "
            "Make one with: tune best --export DIR"
        ) from error
