"""Weights that are loaded, and files that are refused."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from search_spaces import pretrained_weights
from search_spaces.backbone import build_backbone, unfreeze
from search_spaces.keras_home import keras_home
from tests.support.repository import ROOT
from tuner.errors import WeightsError


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("size", [32, 40])
def test_random_weights_are_the_same_twice_and_for_any_image_size(
    random_backbone: keras.Model, size: int
) -> None:
    keras.utils.set_random_seed(size)
    built = build_backbone(size, "none")
    assert same_weights(built, random_backbone)
    assert built.trainable_variables == []
    kernels = [layer.kernel for layer in built.layers if isinstance(layer, keras.layers.Conv2D)]
    sums = {float(np.asarray(kernel).sum()) for kernel in kernels}
    assert len(sums) == len(kernels) == 53


@pytest.mark.slow
def test_random_weights_are_the_same_in_another_process(random_backbone: keras.Model) -> None:
    digest = (
        "hashlib.sha256(b''.join(w.tobytes() for w in build_backbone(32, 'none').get_weights()))"
    )
    code = (
        "import hashlib; from search_spaces.backbone import build_backbone\n"
        f"print({digest}.hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = hashlib.sha256(b"".join(w.tobytes() for w in random_backbone.get_weights()))
    assert done.stdout.split()[-1] == ours.hexdigest()


@pytest.fixture
def ready(backbone: keras.Model, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, Keras returns a backbone that is built already."""
    return lambda: monkeypatch.setattr(keras.applications, "ResNet50", lambda **_: backbone)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def standard(pooling: str | None, backbone_weights: list[np.ndarray]) -> keras.Model:
    """A ResNet50 made by Keras alone, of another image size, with `backbone_weights`."""
    model = keras.applications.ResNet50(
        include_top=False, weights=None, pooling=pooling, input_shape=(64, 64, 3)
    )
    model.set_weights(backbone_weights)
    return model


@pytest.fixture(scope="module")
def new_file(folder: Path, backbone_weights: list[np.ndarray]) -> Path:
    """A `.weights.h5`."""
    path = folder / "new.weights.h5"
    standard("avg", backbone_weights).save_weights(path)
    return path


@pytest.fixture(scope="module")
def legacy_file(folder: Path, backbone_weights: list[np.ndarray]) -> Path:
    """An `.h5` as Keras 2 wrote it, and as the ImageNet weights are kept."""
    path = folder / "legacy_notop.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, standard(None, backbone_weights))
    return path


@pytest.fixture(scope="module")
def legacy_model_file(folder: Path, backbone_weights: list[np.ndarray]) -> Path:
    """A whole model in an `.h5`."""
    path = folder / "legacy_model.h5"
    legacy_h5_format.save_model_to_hdf5(standard(None, backbone_weights), path)
    return path


@pytest.mark.parametrize("kind", ["new_file", "legacy_file", "legacy_model_file"])
def test_a_file_is_loaded(
    request: pytest.FixtureRequest, kind: str, backbone_weights: list[np.ndarray]
) -> None:
    loaded = build_backbone(32, request.getfixturevalue(kind))
    pairs = zip(loaded.get_weights(), backbone_weights, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert loaded.trainable_variables == []


def test_the_backbones_own_file_is_loaded(backbone: keras.Model, tmp_path: Path) -> None:
    unfreeze(backbone, 3)  # the order of `weights` must not follow what is trainable
    backbone.save_weights(tmp_path / "own.weights.h5")
    assert same_weights(build_backbone(32, str(tmp_path / "own.weights.h5")), backbone)


def test_pretrained_weights_are_loaded(pretrained_weights: Path, images: np.ndarray) -> None:
    loaded = build_backbone(32, pretrained_weights)
    plain = keras.applications.ResNet50(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3)
    )
    plain.load_weights(pretrained_weights)
    assert same_weights(loaded, plain)
    variances = [
        layer.moving_variance
        for layer in loaded.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert not any(np.array_equal(variance, np.ones(variance.shape)) for variance in variances)


def not_there(folder: Path) -> Path:
    return folder / "nothing.weights.h5"


def directory(folder: Path) -> Path:
    path = folder / "directory.weights.h5"
    path.mkdir(exist_ok=True)
    return path


def not_hdf5(folder: Path) -> Path:
    path = folder / "text.weights.h5"
    path.write_text("these are no weights")
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.weights.h5"
    path.touch()
    return path


def empty_hdf5(folder: Path) -> Path:
    path = folder / "hollow.weights.h5"
    h5py.File(path, "w").close()
    return path


def dangling_link(folder: Path) -> Path:
    path = folder / "link.weights.h5"
    if not path.is_symlink():
        path.symlink_to(folder / "gone")
    return path


def pipe(folder: Path) -> Path:
    """A pipe without a writer."""
    path = folder / "pipe.weights.h5"
    if not path.exists():
        os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (not_there, "there is no weights file"),
        (pipe, "there is no weights file"),
        (dangling_link, "there is no weights file"),
        (directory, "there is no weights file"),
        (not_hdf5, "is not a Keras weights file"),
        (empty_file, "is not a Keras weights file"),
        (empty_hdf5, "does not hold the weights of a ResNet50"),
    ],
)
def test_an_unusable_file_is_refused(
    make: Callable[[Path], Path], message: str, folder: Path
) -> None:
    path = make(folder)
    with pytest.raises(WeightsError, match=message) as caught:
        build_backbone(32, path)
    assert str(path) in str(caught.value)


def test_another_ending_is_refused(new_file: Path, tmp_path: Path) -> None:
    path = shutil.copy(new_file, tmp_path / "weights.hdf5")
    with pytest.raises(WeightsError, match=r"Pass a \.weights\.h5 file"):
        build_backbone(32, path)


@pytest.mark.parametrize("kind", ["new_file", "legacy_file"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(
    request: pytest.FixtureRequest,
    kind: str,
    share: float,
    tmp_path: Path,
    ready: Callable[[], None],
) -> None:
    whole = request.getfixturevalue(kind)
    ready()
    path = tmp_path / whole.name
    with whole.open("rb") as source:
        path.write_bytes(source.read(int(whole.stat().st_size * share)))
    with pytest.raises(WeightsError, match=str(path)):
        build_backbone(32, path)


def mobile_net() -> keras.Model:
    return keras.applications.MobileNetV2(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3)
    )


def resnet50_v2() -> keras.Model:
    return keras.applications.ResNet50V2(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3)
    )


def with_top() -> keras.Model:
    return keras.applications.ResNet50(weights=None, classes=10, input_shape=(32, 32, 3))


def one_channel() -> keras.Model:
    """As many arrays as ResNet50 has, one of another shape."""
    return keras.applications.ResNet50(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 1)
    )


@pytest.mark.parametrize("make", [mobile_net, resnet50_v2, with_top, one_channel])
def test_weights_of_another_network_are_refused(
    make: Callable[[], keras.Model], tmp_path: Path, ready: Callable[[], None]
) -> None:
    model = make()
    ready()
    new, legacy = tmp_path / "foreign.weights.h5", tmp_path / "foreign.h5"
    model.save_weights(new)
    with h5py.File(legacy, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    for path in (new, legacy):
        with pytest.raises(
            WeightsError, match="does not hold the weights of a ResNet50 without top"
        ):
            build_backbone(32, path)


# --- ImageNet


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ready: Callable[[], None]) -> Path:
    """An empty Keras folder, and no network; returns where the weights belong."""
    ready()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", refuse)
    return tmp_path / "models"


def test_no_network_names_the_file_and_its_place(offline: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        build_backbone(32, "imagenet")
    message = str(caught.value)
    assert "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" in message
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert str(offline) in message
    assert "--weights FILE" in message


def test_any_failure_of_the_download_is_a_weights_error(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.utils.get_file", fail)
    with pytest.raises(WeightsError, match=str(offline)):
        build_backbone(32, "imagenet")


@pytest.mark.parametrize(
    ("changes", "writable", "folder"),
    [
        ({"KERAS_HOME": "/elsewhere"}, True, "/elsewhere"),
        ({"KERAS_HOME": "~/keras"}, True, "/home/someone/keras"),
        ({}, True, "/home/someone/.keras"),
        ({}, False, "/tmp/.keras"),
    ],
)
def test_the_folder_is_that_of_keras(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], writable: bool, folder: str
) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    for name, value in ({"HOME": "/home/someone"} | changes).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "access", lambda *_: writable)
    assert keras_home() == Path(folder)


@pytest.fixture
def imagenet_file(legacy_file: Path, offline: Path) -> Path:
    """A file in the folder that the message names."""
    offline.mkdir()
    path = offline / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.symlink_to(legacy_file)
    return path


def test_a_file_in_its_place_needs_no_network(
    imagenet_file: Path, monkeypatch: pytest.MonkeyPatch, backbone_weights: list[np.ndarray]
) -> None:
    md5 = hashlib.md5(imagenet_file.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained_weights, "_IMAGENET_MD5", md5)
    loaded = build_backbone(32, "imagenet")
    pairs = zip(loaded.get_weights(), backbone_weights, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("kind", ["another", "cut short", "empty", "folder", "dangling"])
def test_a_file_of_another_hash_is_named_and_never_touched(
    legacy_file: Path, offline: Path, kind: str
) -> None:
    offline.mkdir()
    path = offline / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    size = {"another": legacy_file.stat().st_size, "cut short": 30_000, "empty": 0}.get(kind)
    if size is not None:
        path.write_bytes(legacy_file.read_bytes()[:size])
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    before = (path.lstat().st_mtime_ns, path.lstat().st_size)
    with pytest.raises(WeightsError, match="or pass --weights FILE") as raised:
        build_backbone(32, "imagenet")
    assert str(raised.value).startswith(f"{path} ")
    assert "94,765,736 bytes with the MD5 4d473c1dd8becc155b73f8504c6f6626" in str(raised.value)
    assert size is None or f"has {size:,} bytes" in str(raised.value)
    assert (path.lstat().st_mtime_ns, path.lstat().st_size) == before
    assert [file.name for file in offline.iterdir()] == [path.name]


def test_a_download_appears_when_it_is_complete(
    legacy_file: Path, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = hashlib.md5(legacy_file.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained_weights, "_IMAGENET_MD5", md5)
    seen = []

    def retrieve(_: str, target: str, *__: Any) -> None:
        shutil.copy(legacy_file, target)
        seen.extend(path.name for path in offline.iterdir())

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", retrieve)
    build_backbone(32, "imagenet")
    assert [name.startswith(".download.") for name in seen] == [True]
    names = [path.name for path in offline.iterdir()]
    assert names == ["resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"]


def test_a_download_prints_nothing_on_stdout(
    offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError):
        build_backbone(32, "imagenet")
    assert capsys.readouterr().out == ""


def test_the_hash_and_address_are_those_of_keras() -> None:
    from keras.src.applications import resnet

    assert resnet.WEIGHTS_HASHES["resnet50"][1] == pretrained_weights._IMAGENET_MD5
    assert pretrained_weights._IMAGENET_URL.startswith(resnet.BASE_WEIGHTS_PATH)
