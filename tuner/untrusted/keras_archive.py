"""Vet a `.keras` file before Keras opens it: refuse whatever could run code or touch other files.

It must be a zip archive of three members, whose configuration names stock Keras classes that
compute, and nothing else. `tuner.untrusted.model_process` limits the memory.
"""

import copy
import io
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from search_spaces.hdf5 import HDF5Error, check_hdf5
from tuner.errors import ModelError
from tuner.storage.atomic import open_file

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {_CONFIG, _WEIGHTS, "metadata.json"}
# Keras does not compress; a file may have been compressed since. Other methods are decompressed by
# zipfile in one piece, however long that is.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_EXPANSION = 20
_MOST_TEXT_BYTES = 10_000_000  # JSON takes up to twenty times as much in memory

_PARTS = (
    "activations|constraints|dtype_policies|initializers|layers|losses|metrics|models|ops|"
    "optimizers|quantizers|random|regularizers"
)
_STOCK_MODULE = re.compile(rf"keras\.(src\.)?({_PARTS})(\.\w+)*|builtins")
_STOCK_TOP = {
    *("Functional", "Sequential", "Model"),
    *("DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy", "DTypePolicyMap"),
}
# Values that JSON cannot express.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
# They hold code, or the path of a file with code.
_CODE = {
    *("Lambda", "__lambda__", "__typespec__", "TFSMLayer", "TorchModuleWrapper"),
    *("JaxLayer", "FlaxLayer"),
}
# They read a vocabulary file named by their configuration.
_READERS = {"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"}


class ArchiveError(ModelError):
    """A file is not a model that is safe to load; the message completes "it ..."."""


class CodeError(ArchiveError):
    """A file holds code, or what could run it; `name` is the layer."""

    def __init__(self, name: str) -> None:
        """Take the name of the layer's class."""
        super().__init__(f"holds a {name}, which could run any code when it is loaded")
        self.name = name


class OwnClassError(ArchiveError):
    """A file needs a class or function that Keras does not have: `name`."""

    def __init__(self, name: str) -> None:
        """Take its name."""
        super().__init__(f"needs {name}, which is not a part of Keras")
        self.name = name


def check_keras_file(path: Path) -> None:
    """Refuse a `.keras` file that is not safe to load, with an ArchiveError.

    Neither Keras nor TensorFlow is imported, and nothing is unpacked to disk.
    """
    with open_file(path) as file:
        if not zipfile.is_zipfile(file):
            raise ArchiveError(f"is not a Keras model{_kind(file)}")
        try:
            with zipfile.ZipFile(file) as archive:
                _check_members(archive, path.stat().st_size)
                members = {each.filename: _read(archive, each) for each in archive.infolist()}
        except ArchiveError:
            raise
        except Exception as error:  # zipfile and its decompressors raise a dozen types
            raise ArchiveError("is damaged or cut short") from error
    config, weights = members[_CONFIG], members[_WEIGHTS]
    _check_config(config)
    try:
        check_hdf5(io.BytesIO(weights), len(weights))
    except HDF5Error as error:
        raise ArchiveError(f"holds weights that cannot be used: {_WEIGHTS} {error}") from error


def _kind(file: Any) -> str:
    file.seek(0)
    start = file.read(2)
    if start[:1] == b"\x80" and 2 <= start[-1] <= 5:
        return ", but a Python pickle, which could run any code"
    return ""


def _check_members(archive: zipfile.ZipFile, file_bytes: int) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    for member in members:
        name = member.filename[:80]
        if member.filename not in _MEMBERS:
            outside = member.filename.startswith(("/", "\\")) or ".." in member.filename
            where = ", which leads out of it" if outside else ", which no image classifier needs"
            raise ArchiveError(f"holds a file named {name}{where}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ArchiveError(f"holds a link in place of {name}")
        if member.compress_type not in _PACKINGS:
            raise ArchiveError(f"packs {name} in another way than models are packed")
    if len(names) != len(set(names)):
        raise ArchiveError("holds two files of one name")
    if not {_CONFIG, _WEIGHTS} <= set(names):
        raise ArchiveError(f"is not a Keras model: it lacks {_CONFIG} or {_WEIGHTS}")
    unpacked = sum(member.file_size for member in members)
    texts = sum(member.file_size for member in members if member.filename != _WEIGHTS)
    if unpacked > _MOST_EXPANSION * file_bytes or texts > _MOST_TEXT_BYTES:
        raise ArchiveError(
            f"has {file_bytes / 10**6:.1f} MB, but unpacks to {unpacked // 10**6} MB, as no model "
            "does"
        )


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's content, which must be as long as the archive says.

    By itself zipfile cuts off a longer one, after decompressing up to a gigabyte of it.
    """
    longer = copy.copy(member)
    longer.file_size += 1
    with archive.open(longer) as opened:
        data = opened.read(longer.file_size)
    if len(data) != member.file_size:
        raise ArchiveError(f"holds {member.filename}, which is not as long as it claims")
    return data


def _check_config(text: bytes) -> None:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchiveError("is damaged: its configuration is no JSON") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise ArchiveError("is damaged: its configuration is not that of a model")
    for item in _objects(config):
        if "class_name" in item:
            _check_class(item)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_class(item: dict[str, Any]) -> None:
    """Refuse a class that is not stock Keras, or that does more than compute.

    Keras looks up a registered name before the class, so both must be the same.
    """
    name, module = item["class_name"], item.get("module")
    registered = item.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise ArchiveError("is damaged: its configuration names a class by no text")
    if name in _VALUES:
        return
    shown = item.get("config") if name == "function" else name
    if not isinstance(shown, str):
        raise CodeError("function")
    shown = shown[:80]
    if {name, shown} & _CODE:
        raise CodeError(_layer(shown))
    if {name, shown} & _READERS:
        raise ArchiveError(f"holds a {shown} layer, which reads files and sees no images")
    of_keras = module is None or _STOCK_MODULE.fullmatch(module)
    if not of_keras and not (module == "keras" and name in _STOCK_TOP):
        raise OwnClassError(shown)
    if registered not in (None, name, shown):
        raise OwnClassError(str(registered)[:80].rpartition(">")[2])


def _layer(name: str) -> str:
    return "Python lambda" if name == "__lambda__" else f"{name.strip('_')} layer"
