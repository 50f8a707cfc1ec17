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

import search_spaces.backbone
from search_spaces.backbone import (
    BLOCKS,
    build_backbone,
    cut_layer,
    preprocess,
    trained_convolutions,
    unfreeze,
)
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tests.support.repository import ROOT
from tuner import environment
from tuner.errors import SettingsError, WeightsError

DEPTHS = range(17)
# A graph of a deep network takes seconds to trace, so it is traced at few depths here, the other
# depths that the space draws are trained eagerly, and all are traced in the slow tests.
TRACED, EAGER = (0, 3), (1, 2, 6, 9, 12, 16)
FITS = [
    *(pytest.param(depth, False, id=f"{depth}-graph") for depth in TRACED),
    *(pytest.param(depth, True, id=f"{depth}-eager") for depth in EAGER),
    *(
        pytest.param(depth, False, id=f"{depth}-graph", marks=pytest.mark.slow)
        for depth in DEPTHS
        if depth not in TRACED
    ),
]
LABELS = np.arange(4) % 3
# Unlike `BLOCKS`, written out: what the topmost blocks are called.
TOP_DOWN = [
    "conv5_block3",
    "conv5_block2",
    "conv5_block1",
    "conv4_block6",
    "conv4_block5",
    "conv4_block4",
    "conv4_block3",
    "conv4_block2",
    "conv4_block1",
    "conv3_block4",
    "conv3_block3",
    "conv3_block2",
    "conv3_block1",
    "conv2_block3",
    "conv2_block2",
    "conv2_block1",
]


def batchnorms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def moving_statistics(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        variable.path: variable.numpy()
        for layer in batchnorms(model)
        for variable in (layer.moving_mean, layer.moving_variance)
    }


def scales_and_shifts(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        variable.path: variable.numpy()
        for layer in batchnorms(model)
        for variable in (layer.gamma, layer.beta)
    }


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


def convolutions(model: keras.Model) -> dict[str, np.ndarray]:
    return {
        variable.path: variable.numpy()
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        for variable in layer.variables
    }


def thaw(model: keras.Model) -> None:
    """What `model.trainable = True` does, unless the model says that it is trainable already."""
    for layer in model.layers:
        layer.trainable = True


def relative_distance(one: Any, other: Any) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max() / np.abs(other).max())


def same_weights(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# --- preprocessing and shape


def test_preprocess_is_that_of_keras(images: np.ndarray) -> None:
    expected = keras.applications.resnet50.preprocess_input(images.copy())
    np.testing.assert_allclose(preprocess(images), expected, rtol=0, atol=1e-5)
    assert not np.allclose(np.asarray(preprocess(images)), images, atol=50)


def test_gives_pooled_features(backbone: keras.Model, images: np.ndarray) -> None:
    assert backbone.input_shape == (None, 32, 32, 3)
    features = backbone.predict(images, verbose=0)
    assert features.shape == (8, 2048)
    assert features.std(axis=0).max() > 0.01


def test_has_the_layers_of_keras_resnet50(random_backbone: keras.Model) -> None:
    standard = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")
    names = [layer.name for layer in standard.layers[1:]]
    assert [layer.name for layer in random_backbone.layers[1:]] == names


def test_has_53_batchnorms_and_16_blocks(random_backbone: keras.Model) -> None:
    assert len(batchnorms(random_backbone)) == 53
    assert len(moving_statistics(random_backbone)) == 106
    assert list(reversed(BLOCKS)) == TOP_DOWN


@pytest.mark.parametrize("size", [31, 1, 0, -32])
def test_a_small_image_size_is_refused(size: int) -> None:
    with pytest.raises(SettingsError, match=f"at least 32 pixels, but is {size}"):
        build_backbone(size, "none")


# --- freezing


@pytest.mark.parametrize("unfreeze_blocks", DEPTHS)
def test_unfreeze_trains_the_convolutions_of_the_top_blocks(
    unweighted: keras.Model, unfreeze_blocks: int
) -> None:
    unfreeze(unweighted, 16)
    unfreeze(unweighted, unfreeze_blocks)
    trained = {path.partition("/")[0] for path in (v.path for v in unweighted.trainable_variables)}
    blocks = {name.rsplit("_", 2)[0] for name in trained}
    assert blocks == set(TOP_DOWN[:unfreeze_blocks])
    assert all(name.endswith("_conv") for name in trained)
    assert trained == {layer.name for layer in trained_convolutions(unweighted, unfreeze_blocks)}
    stages = {"conv2_block1", "conv3_block1", "conv4_block1", "conv5_block1"}  # with a shortcut
    assert len(trained) == 3 * unfreeze_blocks + len(blocks & stages)


@pytest.mark.parametrize("unfreeze_blocks", [-1, 17])
@pytest.mark.parametrize("refuses", [unfreeze, trained_convolutions])
def test_a_number_of_blocks_that_is_not_there_is_refused(
    unweighted: keras.Model, refuses: Callable[..., Any], unfreeze_blocks: int
) -> None:
    message = f"from 0 to 16, but is {unfreeze_blocks}"
    with pytest.raises(SettingsError, match=message):
        refuses(unweighted, unfreeze_blocks)
    with pytest.raises(SettingsError, match=message):
        cut_layer(unfreeze_blocks)


@pytest.mark.parametrize("unfreeze_blocks", DEPTHS)
def test_everything_before_the_cut_is_frozen_and_after_it_nothing_is_left_out(
    unweighted: keras.Model, unfreeze_blocks: int
) -> None:
    unfreeze(unweighted, unfreeze_blocks)
    cut = unweighted.get_layer(cut_layer(unfreeze_blocks))
    prefix = keras.Model(unweighted.input, cut.output)
    assert prefix.trainable_variables == []
    if unfreeze_blocks:
        suffix = keras.Model(cut.output, unweighted.output)  # the cut closes the layers in between
        assert len(suffix.trainable_variables) == len(unweighted.trainable_variables)
        after = {layer.name.rsplit("_", 2)[0] for layer in suffix.layers[1:] if layer.weights}
        assert after == set(TOP_DOWN[:unfreeze_blocks])


# --- BatchNorm


@pytest.mark.parametrize(("unfreeze_blocks", "eager"), FITS)
def test_fit_changes_the_convolutions_of_the_top_blocks_alone(
    backbone: keras.Model, images: np.ndarray, unfreeze_blocks: int, eager: bool
) -> None:
    configuration = Configuration(
        unfreeze_blocks=unfreeze_blocks, backbone_lr_factor=1.0, learning_rate=1e-3
    )
    space = ResNet50Space(num_classes=3, image_size=32, weights="none")
    model = space.build_whole(configuration, backbone, seed=0)
    compile_classifier(model, configuration)
    model.run_eagerly = eager
    statistics, affine = moving_statistics(backbone), scales_and_shifts(backbone)
    kernels = convolutions(backbone)

    steps = 1 if eager else 2
    model.fit(images[: 2 * steps], LABELS[: 2 * steps], batch_size=2, epochs=1, verbose=0)

    assert len(statistics) == len(affine) == 106
    assert changed(statistics, moving_statistics(backbone)) == set()
    assert changed(affine, scales_and_shifts(backbone)) == set()
    moved = changed(kernels, convolutions(backbone))
    tops = tuple(f"{block}_" for block in TOP_DOWN[:unfreeze_blocks])
    assert moved == {path for path in kernels if tops and path.startswith(tops)}

    features = np.asarray(backbone(images, training=True))
    assert np.isfinite(features).all()
    alone = np.concatenate([backbone(image[None], training=True) for image in images[:2]])
    assert relative_distance(features[:2], alone) < 1e-5
    assert np.array_equal(features, backbone(images, training=False))


def test_training_false_alone_does_not_stop_the_statistics(
    backbone: keras.Model, images: np.ndarray
) -> None:
    """The wrong twin, as tutorials show it; if Keras ever mends it, this test says so."""
    thaw(backbone)
    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Dense(3, activation="softmax")(backbone(inputs, training=False))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = moving_statistics(backbone)
    model.fit(images[:2], LABELS[:2], batch_size=2, epochs=1, verbose=0)
    assert len(changed(before, moving_statistics(backbone))) == 106


def test_a_thawed_batchnorm_depends_on_its_batch(backbone: keras.Model, images: np.ndarray) -> None:
    """The wrong twin of the independence that is tested above."""
    thaw(backbone)
    together = np.asarray(backbone(images, training=True))[:1]
    alone = np.asarray(backbone(images[:1], training=True))
    assert relative_distance(together, alone) > 1e-2
    assert relative_distance(together, backbone(images, training=False)[:1]) > 1e-2


# --- weights


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
    """From its call on Keras builds nothing anew, for files that are refused."""
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
    variances = [layer.moving_variance for layer in batchnorms(loaded)]
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
    """Nobody writes to it."""
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
def test_a_useless_file_is_refused(
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
def test_the_place_is_where_keras_looks(
    monkeypatch: pytest.MonkeyPatch,
    ready: Callable[[], None],
    changes: dict[str, str],
    writable: bool,
    folder: str,
) -> None:
    ready()
    monkeypatch.delenv("KERAS_HOME", raising=False)
    for name, value in ({"HOME": "/home/someone"} | changes).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "access", lambda *_: writable)
    asked = []

    def fail(*_: Any, cache_dir: Path, **__: Any) -> None:
        asked.append(cache_dir)
        raise Exception("URL fetch failure")

    monkeypatch.setattr("keras.utils.get_file", fail)
    with pytest.raises(WeightsError, match=f" {folder}/models, "):
        build_backbone(32, "imagenet")
    assert asked == [Path(folder)] == [environment._keras_home()]


@pytest.fixture
def imagenet_file(legacy_file: Path, offline: Path) -> Path:
    """A file in the place that the message names."""
    offline.mkdir()
    path = offline / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.symlink_to(legacy_file)
    return path


def test_a_file_in_its_place_needs_no_network(
    imagenet_file: Path, monkeypatch: pytest.MonkeyPatch, backbone_weights: list[np.ndarray]
) -> None:
    md5 = hashlib.md5(imagenet_file.read_bytes()).hexdigest()
    monkeypatch.setattr(search_spaces.backbone, "_IMAGENET_MD5", md5)
    loaded = build_backbone(32, "imagenet")
    pairs = zip(loaded.get_weights(), backbone_weights, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_another_file_in_its_place_is_not_taken(imagenet_file: Path) -> None:
    with pytest.raises(WeightsError, match="could not be downloaded"):
        build_backbone(32, "imagenet")


def test_a_download_says_nothing_on_stdout(
    offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError):
        build_backbone(32, "imagenet")
    assert capsys.readouterr().out == ""


def test_the_hash_and_address_are_those_of_keras() -> None:
    from keras.src.applications import resnet

    assert resnet.WEIGHTS_HASHES["resnet50"][1] == search_spaces.backbone._IMAGENET_MD5
    assert search_spaces.backbone._IMAGENET_URL.startswith(resnet.BASE_WEIGHTS_PATH)
