"""A .keras file with the same bytes for the same network."""

import json
import zipfile
from pathlib import Path

import keras

_BEGINNING = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can name


def save_keras(model: keras.Model, path: Path) -> None:
    """Saves a model; the moment of saving, which Keras would write into it, is left out.

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
            target.writestr(zipfile.ZipInfo(name, _BEGINNING), data)
    dated.unlink()
