"""Files made to do harm: each is refused in one sentence; no code runs, disk and memory stay empty.

`tune predict`, `tune diagnose --model` and `tune search --weights` are given what somebody else
made. Where an attack is one that runs code, a test shows that it would.
"""

import contextlib
import io
import json
import os
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.hostile_graphs import (
    Serves,
    litert_with_an_array_of,
    litert_with_an_operation_of_its_own,
    onnx_model,
    onnx_with_an_array_of,
    onnx_with_numbers_elsewhere,
    serve,
    with_a_constant_of,
    with_a_function_named,
    writing,
)
from tests.support.small_search import contents, tune, write_photos
from tuner.storage.digests import sha256
from tuner.untrusted import model_process

LABELS = ["red", "green", "blue"]
BOMB_BYTES = 1 << 29
_MOST_MEMORY_BYTES = 200 << 20
_MOST_FILE_BYTES = 1 << 20

Attack = Callable[[Path, Path], None]


def colours(*layers: keras.layers.Layer) -> keras.Model:
    rgb = keras.Input((None, None, 3))
    x = rgb
    for layer in layers:
        x = layer(x)
    return keras.Model(rgb, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))


def repack(path: Path, **changes: bytes) -> None:
    """Writes a .keras file anew with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def describe(folder: Path, **changes: Any) -> None:
    """Writes the export.json that an attacker would: all hashes are right."""
    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "export.json"
    }
    (folder / "export.json").write_text(json.dumps({"schema": 1, "files": files} | changes))


class Writes:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def has_a_lambda(model: Path, canary: Path) -> None:
    name = str(canary)
    layer = keras.layers.Lambda(lambda x: (__import__("pathlib").Path(name).touch(), x)[1])
    colours(layer).save(model)
    canary.unlink()  # it ran when the network was built


def has_a_tfsm_layer(model: Path, canary: Path) -> None:
    """A layer that runs a SavedModel, which may write files."""

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
        def serve(self, x: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(canary), "harm")]):
                return tf.identity(x)

    saved = model.parent.parent / "somewhere"
    module = Writer()
    tf.saved_model.save(module, str(saved), {"serve": module.serve})
    colours(keras.layers.TFSMLayer(str(saved), "serve")).save(model)
    canary.unlink(missing_ok=True)


def is_a_pickle(model: Path, canary: Path) -> None:
    model.write_bytes(pickle.dumps(Writes(canary)))


def leads_out(model: Path, canary: Path) -> None:
    colours().save(model)
    repack(model, **{os.path.relpath(canary, model.parent): b"harm"})


def is_a_bomb(model: Path, canary: Path) -> None:
    with (
        zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("model.weights.h5", "w") as member,
    ):
        for _ in range(BOMB_BYTES >> 24):
            member.write(bytes(1 << 24))
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr("config.json", "{}")


def claims_to_be_small(model: Path, method: int) -> None:
    """A bomb of half a gigabyte that the archive lists as the text that it begins with."""
    colours().save(model)
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members.pop("config.json")
    with zipfile.ZipFile(model, "w", method) as archive:
        with archive.open("config.json", "w") as member:
            member.write(text)
            for _ in range(BOMB_BYTES >> 24):
                member.write(b" " * (1 << 24))
        for name, data in members.items():
            archive.writestr(name, data)
    content = bytearray(model.read_bytes())
    for header, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        start = content.index(header) + place
        content[start : start + 4] = struct.pack("<I", zlib.crc32(text))
        content[start + 8 : start + 12] = struct.pack("<I", len(text))
    model.write_bytes(content)


def is_a_bomb_in_bzip2(model: Path, canary: Path) -> None:
    claims_to_be_small(model, zipfile.ZIP_BZIP2)


def is_a_bomb_that_claims_to_be_small(model: Path, canary: Path) -> None:
    claims_to_be_small(model, zipfile.ZIP_DEFLATED)


def asks_for_a_product(model: Path, canary: Path) -> None:
    """Two layers of few units each, between which are 2.5 GB of weights."""
    layers = [keras.layers.Dense(2, name=name) for name in ("one", "two")]
    colours(*layers).save(model)
    with zipfile.ZipFile(model) as archive:
        config = json.loads(archive.read("config.json"))
    for layer in config["config"]["layers"]:
        if layer["config"]["name"] in ("one", "two"):
            layer["config"]["units"] = 25_000
            del layer["build_config"]
    repack(model, **{"config.json": json.dumps(config).encode()})


def enlarges_the_image(model: Path, canary: Path) -> None:
    colours(*[keras.layers.UpSampling2D(100) for _ in range(2)]).save(model)


def has_bombs_for_weights(model: Path, canary: Path) -> None:
    """A few bytes of weights that claim a terabyte."""
    colours().save(model)
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file.create_dataset(
            "layers/x/vars/0", (10**6, 10**6), "u1", chunks=True, compression="gzip"
        )
    repack(model, **{"model.weights.h5": data.getvalue()})


def has_weights_elsewhere(model: Path, canary: Path) -> None:
    colours().save(model)
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    repack(model, **{"model.weights.h5": data.getvalue()})


def is_truncated(model: Path, canary: Path) -> None:
    colours().save(model)
    data = model.read_bytes()
    model.write_bytes(data[: len(data) * 2 // 3])


def is_packed_and_damaged(model: Path, canary: Path) -> None:
    colours().save(model)
    with zipfile.ZipFile(model) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(model, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    data = bytearray(model.read_bytes())
    middle = data.index(b"model.weights.h5") + 60
    data[middle : middle + 40] = b"\xff" * 40
    model.write_bytes(data)


def has_foreign_layers(model: Path, canary: Path) -> None:
    class Foreign(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    colours(Foreign()).save(model)


def takes_texts(model: Path, canary: Path) -> None:
    keras.Sequential([keras.Input((20,)), keras.layers.Dense(3)]).save(model)


def has_other_outputs(model: Path, canary: Path) -> None:
    colours(keras.layers.Conv2D(5, 1)).save(model)


# What is wrong with the model itself, and what is said of it.
MODELS: dict[Attack, str] = {
    has_a_lambda: "holds a Lambda layer, which could run any code",
    has_a_tfsm_layer: "holds a TFSMLayer layer, which could run any code",
    is_a_pickle: "but a Python pickle, which could run any code",
    leads_out: "which leads out of it",
    is_a_bomb: "unpacks to 536 MB, as no model does",
    is_a_bomb_in_bzip2: "packs config.json in another way than models are packed",
    is_a_bomb_that_claims_to_be_small: "is damaged or cut short",
    asks_for_a_product: "needs more memory than 3 GB",
    enlarges_the_image: "needs more memory than 3 GB",
    has_bombs_for_weights: "claims arrays of 1000000 MB",
    has_weights_elsewhere: "holds a link, layers, which may lead to another file",
    is_truncated: "is not a Keras model",
    is_packed_and_damaged: "is damaged or cut short",
    has_foreign_layers: "Foreign",
}


def writes_a_file(folder: Path, canary: Path) -> None:
    Serves(lambda rgb: {"probabilities": writing(canary)(tf.reduce_mean(rgb, (1, 2)))}).save(
        folder / "savedmodel"
    )


def hides_it_behind_a_name(folder: Path, canary: Path) -> None:
    with_a_function_named("Neg", folder / "savedmodel", canary)


def has_operations_of_its_own(folder: Path, canary: Path) -> None:
    (folder / "model.onnx").write_bytes(onnx_model(domain="evil").SerializeToString())


def has_numbers_elsewhere(folder: Path, canary: Path) -> None:
    (folder / "model.onnx").write_bytes(onnx_with_numbers_elsewhere().SerializeToString())


def calls_the_program(folder: Path, canary: Path) -> None:
    (folder / "model.tflite").write_bytes(litert_with_an_operation_of_its_own())


def has_a_long_constant(folder: Path, canary: Path) -> None:
    with_a_constant_of(30_000_000_000, folder / "savedmodel")


def makes_a_long_array(folder: Path, canary: Path) -> None:
    (folder / "model.onnx").write_bytes(
        onnx_with_an_array_of(30_000_000_000, 3).SerializeToString()
    )


def has_a_long_result(folder: Path, canary: Path) -> None:
    (folder / "model.tflite").write_bytes(litert_with_an_array_of(300_000_000))


# Of the other formats: which, and what is said.
GRAPHS: dict[Attack, tuple[str, str]] = {
    writes_a_file: ("savedmodel", "holds the operation WriteFile, which does more than compute"),
    hides_it_behind_a_name: ("savedmodel", "a function that is named as the operation Neg"),
    has_operations_of_its_own: ("onnx", "holds the operation evil.Mul, which does more than"),
    has_numbers_elsewhere: ("onnx", "keeps numbers in another file"),
    has_a_long_constant: ("savedmodel", "needs more memory than 3 GB"),
    makes_a_long_array: ("onnx", "needs more memory than 3 GB"),
    has_a_long_result: ("litert", "needs more memory than 3 GB"),
    calls_the_program: ("litert", "holds the operation Betainc, which does more than compute"),
}


def a_hash_changed(model: Path, canary: Path) -> None:
    description = json.loads((model.parent / "export.json").read_text())
    description["files"]["model.keras"] = "0" * 64
    (model.parent / "export.json").write_text(json.dumps(description))


def a_symlink(model: Path, canary: Path) -> None:
    elsewhere = model.parent.parent / "elsewhere.keras"
    model.rename(elsewhere)
    model.symlink_to(elsewhere)


def a_newer_schema(model: Path, canary: Path) -> None:
    describe(model.parent, schema=99)


def an_endless_schema(model: Path, canary: Path) -> None:
    describe(model.parent, schema=float("inf"))


def a_pipe(model: Path, canary: Path) -> None:
    """Nobody writes to it."""
    model.unlink()
    os.mkfifo(model)


def a_pipe_for_its_description(model: Path, canary: Path) -> None:
    a_pipe(model.parent / "export.json", canary)


def a_path_in_the_list(model: Path, canary: Path) -> None:
    canary.write_text("harm")
    describe(model.parent, files={os.path.relpath(canary, model.parent): sha256(canary)})
    canary.unlink()


def another_count_of_labels(model: Path, canary: Path) -> None:
    (model.parent / "labels.json").write_text(json.dumps([*LABELS, "more"]))
    describe(model.parent)


# What is wrong with the export around a good model.
EXPORTS: dict[Attack, str] = {
    a_hash_changed: "has changed since it was exported",
    a_symlink: "is a link to another place",
    a_newer_schema: "written by a newer version (schema 99",
    an_endless_schema: "export.json is damaged",
    a_pipe: "it is no file but a pipe or a device",
    a_pipe_for_its_description: "export.json is missing or damaged",
    a_path_in_the_list: "a file that no export has",
    another_count_of_labels: "does not name one class for each output",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the attack, where temporary files would lie too, and where commands run."""
    for name in ("model", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(model_process, "memory_limit", lambda: 3 << 30)  # on every machine
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextlib.contextmanager
def little_memory_and_disk() -> Iterator[None]:
    """Fails where more than a little memory is taken; no large file can be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = memory("VmRSS", begin=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_FILE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert memory("VmHWM") - before < _MOST_MEMORY_BYTES


def memory(name: str, begin: bool = False) -> int:
    """Bytes that this process has in memory, or had at most since this was last begun."""
    if not Path("/proc/self/clear_refs").exists():
        return 0
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def refused(place: Path, *arguments: object) -> str:
    """The one sentence; what lay there before is there, and nothing else."""
    before = contents(place)
    with little_memory_and_disk():
        result = tune(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    after = contents(place)
    assert after == before
    return str(line)


def attacks(table: dict[Attack, Any]) -> list[Any]:
    """Those that TensorFlow retries to find memory for take a minute."""
    slow = (enlarges_the_image, has_a_long_constant)
    return [
        pytest.param(each, marks=pytest.mark.slow if each in slow else (), id=each.__name__)
        for each in table
    ]


@pytest.mark.parametrize("attack", attacks(MODELS))
def test_a_hostile_model(place: Path, attack: Attack) -> None:
    folder, canary = place / "model", place / "canary"
    write_photos(place / "photos", per_class=8)
    attack(folder / "model.keras", canary)
    (folder / "labels.json").write_text(json.dumps(LABELS))
    describe(folder)
    message = refused(place, "predict", folder, "x.jpg")
    assert MODELS[attack] in message
    assert message.endswith(" It was not opened.")
    own = refused(place, "diagnose", "photos", "--model", folder / "model.keras", "--quiet")
    assert MODELS[attack] in own
    assert not canary.exists()


@pytest.mark.parametrize("attack", attacks(GRAPHS))
def test_a_hostile_graph(place: Path, attack: Attack) -> None:
    folder, canary = place / "model", place / "canary"
    attack(folder, canary)
    (folder / "labels.json").write_text(json.dumps(LABELS))
    describe(folder)
    kind, expected = GRAPHS[attack]
    message = refused(place, "predict", folder, "x.jpg", "--format", kind)
    assert expected in message
    assert message.endswith((" It was not opened.", " Export again."))
    assert not canary.exists()


@pytest.mark.parametrize("attack", EXPORTS, ids=lambda attack: attack.__name__)
def test_a_hostile_export(place: Path, attack: Attack) -> None:
    folder, canary = place / "model", place / "canary"
    colours().save(folder / "model.keras")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    describe(folder)
    attack(folder / "model.keras", canary)
    assert EXPORTS[attack] in refused(place, "predict", folder, "x.jpg")
    assert not canary.exists()


@pytest.mark.parametrize("attack", [takes_texts, has_other_outputs], ids=lambda a: a.__name__)
def test_a_model_that_classifies_something_else(place: Path, attack: Attack) -> None:
    folder = place / "model"
    attack(folder / "model.keras", place / "canary")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    describe(folder)
    message = refused(place, "predict", folder, "x.jpg")
    assert "does not take RGB images" in message or "one class for each output" in message


def test_a_foreign_folder(place: Path) -> None:
    (place / "model" / "config.json").write_text("{}")
    assert "is not an export" in refused(place, "predict", place / "model", "x.jpg")


def pickled(file: Path, canary: Path) -> None:
    file.write_bytes(pickle.dumps(Writes(canary)))


def linked(file: Path, canary: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened["layers"] = h5py.ExternalLink(str(canary), "/")


def elsewhere(file: Path, canary: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened.create_dataset("x", (9,), "u1", external=[("/etc/passwd", 0, 9)])


def bomb(file: Path, canary: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened.create_dataset("x", (10**6, 10**6), "u1", chunks=True, compression="gzip")


def cut(file: Path, canary: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened["x"] = np.ones(10**5, "f4")
    with file.open("r+b") as opened_again:
        opened_again.truncate(10**5)


def foreign(file: Path, canary: Path) -> None:
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(file)


WEIGHTS: dict[Attack, str] = {
    pickled: "is not a Keras weights file",
    linked: "holds a link, layers, which may lead to another file",
    elsewhere: "holds an array, x, that lies in another file",
    bomb: "claims arrays of 1000000 MB",
    cut: "is damaged",
    foreign: "does not hold the weights of a ResNet50",
}


@pytest.mark.parametrize("attack", WEIGHTS, ids=lambda attack: attack.__name__)
def test_hostile_weights(place: Path, attack: Attack) -> None:
    from search_spaces.backbone import build_backbone
    from tuner.errors import WeightsError

    file, canary = place / "hostile.weights.h5", place / "canary"
    attack(file, canary)
    before = contents(place)
    with little_memory_and_disk(), pytest.raises(WeightsError) as caught:
        build_backbone(32, file)
    assert WEIGHTS[attack] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(place) == before


def test_hostile_weights_of_a_search(place: Path) -> None:
    write_photos(place / "photos", per_class=8)
    bomb(place / "hostile.weights.h5", place / "canary")
    result = tune(
        "search",
        "photos",
        "--weights",
        "hostile.weights.h5",
        "--image-size",
        32,
        "--quiet",
        "--runs-dir",
        place / "runs",
        "--cache-dir",
        place / "cache",
    )
    assert result.exit_code == 2
    assert WEIGHTS[bomb] in result.stderr.splitlines()[-1]
    assert not (place / "runs").exists()


def test_the_attacks_would_run_code(place: Path) -> None:
    file, canary = place / "model" / "model.keras", place / "canary"
    for attack in (has_a_lambda, has_a_tfsm_layer):
        attack(file, canary)
        model = keras.models.load_model(file, safe_mode=False)
        model(np.zeros((1, 2, 2, 3), "float32"))
        assert canary.exists(), attack.__name__
        canary.unlink()
    for attack in (writes_a_file, hides_it_behind_a_name):
        attack(place, canary)
        serve(place / "savedmodel")
        assert canary.exists(), attack.__name__
        canary.unlink()
    is_a_pickle(file, canary)
    pickle.loads(file.read_bytes())
    assert canary.exists()
