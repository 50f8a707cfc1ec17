"""A .keras file with the same bytes for the same network."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

_SHARED = "shared_object_id"
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name


def save_keras(model: keras.Model, path: Path) -> None:
    """Saves a model without the moment of saving and the places in memory that Keras writes too.

    Layers keep the names that they have: a caller who wants the same bytes again builds the model
    in the same way after `keras.utils.clear_session()`, as Keras numbers its layers.

    Raises:
        OSError: the file cannot be written.
    """
    dated = path.with_name(f"dated-{path.name}")
    model.save(dated)
    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "metadata.json":
                data = json.dumps(json.loads(data) | {"date_saved": "1980-01-01@00:00:00"}).encode()
            if name == "config.json":
                data = json.dumps(_renumbered(json.loads(data), {})).encode()
            target.writestr(zipfile.ZipInfo(name, _BEGINNING), data)
    dated.unlink()


def _renumbered(config: Any, numbers: dict[int, int]) -> Any:
    """A configuration whose shared objects are numbered as they appear, not by their addresses."""
    if isinstance(config, list):
        return [_renumbered(each, numbers) for each in config]
    if not isinstance(config, dict):
        return config
    found = {name: _renumbered(value, numbers) for name, value in config.items()}
    if isinstance(address := found.get(_SHARED), int):
        found[_SHARED] = numbers.setdefault(address, len(numbers))
    return found
