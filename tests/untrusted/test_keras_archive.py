"""Vetting of `.keras` files: those of Keras pass, hostile and damaged ones are refused."""

import contextlib
import functools
import io
import json
import os
import pickle
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.untrusted.keras_archive import ArchiveError, CodeError, OwnClassError, check_keras_file

DENSE = {
    "module": "keras.layers", "class_name": "Dense", "registered_name": None,
    "config": {"units": 3, "seed": 2**40},
}  # fmt: skip


def weights() -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), "float32")
    return data.getvalue()


def write(path: Path, config: Any = DENSE, **members: bytes) -> Path:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in ({"config.json": text, "model.weights.h5": weights()} | members).items():
            archive.writestr(name, data)
    return path


def reason(path: Path) -> str:
    with pytest.raises(ArchiveError) as caught:
        check_keras_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nested(item: dict[str, Any]) -> dict[str, Any]:
    """The item as a layer of a network that wraps it three times."""
    for _ in range(3):
        item = {
            "module": "keras", "class_name": "Functional", "registered_name": "Functional",
            "config": {"layers": [DENSE, {"class_name": "Wrapper", "config": {"layer": item}}]},
        }  # fmt: skip
    return item


def of(class_name: str, module: str | None = "keras.layers", **more: Any) -> dict[str, Any]:
    return {"class_name": class_name, "module": module, "config": {}} | more


def test_keras_files_pass(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.RandomFlip(seed=2**31 - 1),
            keras.layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_constraint="max_norm"),
            keras.layers.BatchNormalization(dtype="mixed_float16"),
            keras.layers.TimeDistributed(keras.layers.Dense(2, activation="gelu")),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation=keras.ops.softmax),
        ]
    )
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=2_000_000)
    model.compile(keras.optimizers.SGD(schedule), keras.losses.CategoricalFocalCrossentropy())
    model.save(tmp_path / "model.keras")
    check_keras_file(tmp_path / "model.keras")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as old,
        zipfile.ZipFile(tmp_path / "again.keras", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    check_keras_file(tmp_path / "again.keras")


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (of("Lambda"), "Lambda layer"),
        (of("Lambda", None), "Lambda layer"),
        (of("Lambda", "keras.src.layers.core.lambda_layer"), "Lambda layer"),
        (of("TFSMLayer"), "TFSMLayer layer"),
        (of("TorchModuleWrapper"), "TorchModuleWrapper layer"),
        (of("__lambda__", "builtins"), "Python lambda"),
        (of("__typespec__", "tensorflow"), "typespec layer"),
        (of("function", "builtins", config={"code": "..."}), "function"),
        (of("function", "keras.layers", config="Lambda"), "Lambda layer"),
    ],
)
def test_code_is_refused_wherever_it_stands(
    tmp_path: Path, item: dict[str, Any], name: str
) -> None:
    for config in (item, nested(item)):
        path = write(tmp_path / "model.keras", config)
        assert reason(path) == f"holds a {name}, which could run any code when it is loaded"
    with pytest.raises(CodeError):
        check_keras_file(path)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (of("Own", "my.layers"), "Own"),
        (of("Own", "my.layers", registered_name="mine>Own"), "Own"),
        (of("Dense", registered_name="mine>Other"), "Other"),
        (of("function", "os", config="system"), "system"),
        (of("system", "os"), "system"),
        (of("load_model", "keras.saving"), "load_model"),
        (of("get_file", "keras.utils"), "get_file"),
        (of("load_model", "keras"), "load_model"),
        (of("Dense", "keras_evil.layers"), "Dense"),
        (of("Dense", "keras.layers\nos"), "Dense"),
        (of("function", "keras.config", config="enable_unsafe_deserialization"), "enable_unsafe"),
    ],
)
def test_what_is_not_a_stock_layer_is_refused(
    tmp_path: Path, item: dict[str, Any], name: str
) -> None:
    path = write(tmp_path / "model.keras", nested(item))
    assert f"needs {name}" in reason(path)
    with pytest.raises(OwnClassError):
        check_keras_file(path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        ([], "not that of a model"),
        ({"layers": []}, "not that of a model"),
        (of(3), "by no text"),  # type: ignore[arg-type]
        (nested(of("Dense", 3)), "by no text"),  # type: ignore[arg-type]
        (nested(of("StringLookup")), "reads files"),
    ],
)
def test_configurations_of_no_image_classifier(tmp_path: Path, config: Any, expected: str) -> None:
    assert expected in reason(write(tmp_path / "model.keras", config))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../canary", "holds a file named ../../canary, which leads out of it"),
        ("/etc/canary", "which leads out of it"),
        ("assets/canary", "holds a file named assets/canary, which no image classifier needs"),
        ("model.weights.npz", "which no image classifier needs"),
        ("config.json/", "which no image classifier needs"),
    ],
)
def test_members_that_no_model_has(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in reason(write(tmp_path / "model.keras", **{name: b""}))


def test_members_that_are_links_or_twice(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("config.json")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "holds a link in place of config.json" in reason(path)
    write(path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    assert reason(path) == "holds two files of one name"


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "metadata.json"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.keras"
    members = {"config.json": b"{}", "model.weights.h5": weights(), name: bytes(200_000_000)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    assert "unpacks to 200 MB, as no model does" in reason(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_are_undone_without_a_limit(tmp_path: Path, method: int) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(write(path), "a", method) as archive:
        archive.writestr("metadata.json", "{}")
    assert reason(path) == "packs metadata.json in another way than models are packed"


@pytest.mark.parametrize(
    ("claimed", "hashed", "expected"),
    [
        (-1, -1, "is damaged or cut short"),
        (-1, None, "holds config.json, which is not as long as it claims"),
        (1, None, "holds config.json, which is not as long as it claims"),
    ],
)
def test_a_member_that_is_not_as_long_as_it_claims(
    tmp_path: Path, claimed: int, hashed: int | None, expected: str
) -> None:
    data, text = bytearray(packed(zipfile.ZIP_DEFLATED)), json.dumps(DENSE).encode()
    for header, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        start = data.index(header) + place
        data[start : start + 4] = struct.pack("<I", zlib.crc32(text[:hashed]))
        data[start + 8 : start + 12] = struct.pack("<I", len(text) + claimed)
    (tmp_path / "model.keras").write_bytes(data)
    assert reason(tmp_path / "model.keras") == expected


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_text("text")
    assert reason(path) == "is not a Keras model"
    for protocol in range(2, 6):
        path.write_bytes(pickle.dumps({}, protocol))
        assert "but a Python pickle, which could run any code" in reason(path)
    data = write(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert reason(path) == "is not a Keras model"
    middle = data.index(b"Dense")
    path.write_bytes(data[:middle] + b"Dance" + data[middle + 5 :])
    assert reason(path) == "is damaged or cut short"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "lacks config.json or model.weights.h5" in reason(path)
    encrypted = bytearray(write(path).read_bytes())
    central = encrypted.index(b"PK\x01\x02")
    encrypted[central + 8 : central + 10] = struct.pack("<H", 1)
    path.write_bytes(encrypted)
    assert reason(path) == "is damaged or cut short"


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@functools.cache
def packed(method: int) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        archive.writestr("config.json", json.dumps(DENSE))
        archive.writestr("model.weights.h5", weights())
    return data.getvalue()


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_damaged_archive_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, method: int, changes: list[tuple[int, int]]
) -> None:
    """Each way of packing has a library of its own, which raises what it likes."""
    data = bytearray(packed(method))
    for place, byte in changes:
        data[place % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.keras"
    path.write_bytes(data)
    with contextlib.suppress(ArchiveError):
        check_keras_file(path)


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member(tmp_path: Path, method: int) -> None:
    data = bytearray(packed(method))
    middle = data.index(b"model.weights.h5") + 60
    data[middle : middle + 40] = b"\xff" * 40
    (tmp_path / "model.keras").write_bytes(data)
    assert reason(tmp_path / "model.keras") == "is damaged or cut short"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.keras")
    with pytest.raises(OSError, match="it is no file"):
        check_keras_file(tmp_path / "model.keras")


def external_link(file: h5py.File) -> None:
    file["away"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file: h5py.File) -> None:
    file["group/away"] = h5py.SoftLink("/x")


def external_array(file: h5py.File) -> None:
    file.create_dataset("away", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual_array(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", (4,))
    file.create_virtual_dataset("away", layout)


def huge_array(file: h5py.File) -> None:
    file.create_dataset("huge", (10**6, 10**6), "f4", chunks=(100, 100), compression="gzip")


def many_arrays(file: h5py.File) -> None:
    for number in range(50):
        file.create_dataset(f"{number}", (10**5,), "f4", chunks=(10**5,), compression="gzip")


def texts(file: h5py.File) -> None:
    file["text"] = "text"


def unknown_filter(file: h5py.File) -> None:
    file.create_dataset("packed", (100,), "f4", chunks=(10,), compression="lzf")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (external_link, "holds a link, away, which may lead to another file"),
        (soft_link, "holds a link, group/away, which may lead"),
        (external_array, "holds an array, away, that lies in another file"),
        (virtual_array, "holds an array, away, that lies in another file"),
        (huge_array, "claims arrays of 4000000 MB, but has 0.0 MB"),
        (many_arrays, "claims arrays of 20 MB"),
        (texts, "holds an array, text, that is not of numbers"),
        (unknown_filter, "holds an array, packed, that is packed in an unknown way"),
    ],
)
def test_weights_that_lead_elsewhere_or_fill_the_memory(
    tmp_path: Path, make: Callable[[h5py.File], None], expected: str
) -> None:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["layers/dense/vars/0"] = np.ones(3, "float32")
        make(file)
    path = write(tmp_path / "model.keras", **{"model.weights.h5": data.getvalue()})
    assert f"model.weights.h5 {expected}" in reason(path)


def test_weights_that_are_no_hdf5_or_go_in_circles(tmp_path: Path) -> None:
    path = write(tmp_path / "model.keras", **{"model.weights.h5": b"text"})
    assert "model.weights.h5 is damaged" in reason(path)
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["a/b"] = np.ones(3)
        file["a/c"] = file["a"]
    check_keras_file(write(path, **{"model.weights.h5": data.getvalue()}))
