"""The Keras settings that are refused, and the versions that are printed."""

import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from tuner import environment
from tuner.environment import check_keras_config, prepare_device, versions
from tuner.errors import SettingsError
from tuner.storage.cache import default_cache_dir


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return tmp_path / "keras.json"


GOOD = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32"}


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", "{}", json.dumps(GOOD)])
def test_supported_configurations_pass(keras_home: Path, text: str | None) -> None:
    if text is not None:
        keras_home.write_text(text)
    check_keras_config()


@pytest.mark.parametrize(
    ("name", "value"),
    [("backend", "jax"), ("image_data_format", "channels_first"), ("floatx", "float16")],
)
def test_other_configurations_are_refused(keras_home: Path, name: str, value: str) -> None:
    keras_home.write_text(json.dumps(GOOD | {name: value}))
    with pytest.raises(SettingsError) as raised:
        check_keras_config()
    assert str(raised.value) == (
        f"Keras is set to {name} {value}, but only {GOOD[name]} is supported. Change {keras_home}."
    )


def test_the_environment_variable_overrides_the_file(
    keras_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras_home.write_text(json.dumps({"backend": "jax"}))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    check_keras_config()
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(SettingsError, match=r"torch.* the environment variable KERAS_BACKEND"):
        check_keras_config()


def test_an_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "")
    check_keras_config()


def test_variables_of_another_keras_are_unset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", "")
    for name in ("TF_USE_LEGACY_KERAS", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):
        monkeypatch.setenv(name, "1")
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    check_keras_config()
    assert not {"TF_USE_LEGACY_KERAS", "KERAS_HOME"} & os.environ.keys()
    assert not [name for name in os.environ if name.startswith("KERAS_MAX")]


def test_a_user_without_a_home_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")  # restored afterwards
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: os.environ.get("HOME", "~") + path[1:])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check_keras_config()
    assert Path("~").expanduser() == tmp_path / f"home-{os.getuid()}"
    assert default_cache_dir() == Path("~/.cache/tune-resnet50").expanduser()


def test_versions() -> None:
    found = versions()
    assert found["keras"] == metadata.version("keras")
    assert {"tensorflow", "tensorflow-cpu"} & set(found)
    assert "" not in found.values()
    more = environment.all_versions()
    assert more.items() > found.items()
    assert more.keys() - found.keys() == {"python", "keras-tuner", "numpy"}
    assert more["numpy"] == metadata.version("numpy")


def test_this_program_has_a_version_only_when_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name != "tune-resnet50":
            raise metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(metadata, "version", version)
    assert versions() == {"tune-resnet50": "1.2"}


def test_the_device_is_named() -> None:
    assert prepare_device().startswith(("CPU (", "GPU ("))


def test_a_gpu_computes_float32_as_float32() -> None:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(True)
    prepare_device()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_processors_differ_by_their_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(text: str) -> str:
        monkeypatch.setattr(Path, "read_text", lambda *_: text)
        return environment.processor()

    one = described("model name\t: A\nflags\t\t: sse avx2\nmodel name\t: A\nflags\t\t: sse avx2\n")
    assert one == described("flags: avx2 sse\n") == "avx2 sse"
    assert described("flags: avx2 avx512f sse\n") != one
    assert described("nothing of the kind\n")


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_fragmented_memory_is_returned() -> None:
    blocks = [np.ones(12_000) for _ in range(1000)]  # each too small for a mapping of its own
    blocks = blocks[-1:]
    before = resident_bytes()
    environment.release_memory()
    assert before - resident_bytes() > 50e6
    assert blocks[0].sum() == 12_000


def test_other_c_libraries_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.ctypes, "CDLL", lambda name: object())
    environment.release_memory()
