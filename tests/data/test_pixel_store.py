import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.repository import ROOT
from tuner.data import pixel_store
from tuner.data.dataset import Dataset, ImageFile
from tuner.data.load import load_dataset
from tuner.data.pixel_store import prepare_images
from tuner.decoding import decode
from tuner.decoding.decode import read_image
from tuner.errors import DataError
from tuner.storage.cache import Cache, CacheError

SIZE = 32
SHAPES = [(32, 32), (20, 50), (100, 64), (32, 31), (1, 1), (300, 7)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two classes of six images each, of different shapes; some have the final size already."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number, shape in enumerate(SHAPES):
            pixels = rng.integers(0, 256, (*shape, 3), np.uint8)
            kind = "jpg" if number == 2 else "png"
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.{kind}")
    return load_dataset(tmp_path / "data")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as cache:
        yield cache


def test_images_are_a_read_only_memory_map_in_order(dataset: Dataset, cache: Cache) -> None:
    files = dataset.files[::-1]
    images = prepare_images(files, dataset.root, SIZE, cache)
    assert isinstance(images, np.memmap)
    assert images.shape == (12, SIZE, SIZE, 3)
    assert images.dtype == np.uint8
    assert not images.flags.writeable
    for file, image in zip(files, images, strict=True):
        alone = prepare_images([file], dataset.root, SIZE, cache)
        assert np.array_equal(image, alone[0])


def test_an_image_of_the_final_size_keeps_its_pixels(dataset: Dataset, cache: Cache) -> None:
    images = prepare_images(dataset.files, dataset.root, SIZE, cache)
    same = [file.path.endswith("/0.png") for file in dataset.files]
    assert sum(same) == 2
    for file, image in zip(dataset.files, images, strict=True):
        if file.path.endswith("/0.png"):
            assert np.array_equal(image, read_image(dataset.root / file.path))


def test_other_images_are_resized_as_tensorflow_does(dataset: Dataset, cache: Cache) -> None:
    import tensorflow as tf

    images = prepare_images(dataset.files, dataset.root, SIZE, cache)
    for file, image in zip(dataset.files, images, strict=True):
        pixels = read_image(dataset.root / file.path)
        expected = tf.image.resize(pixels, (SIZE, SIZE), antialias=True).numpy()
        assert np.abs(image - expected).max() <= 0.51, file.path


def test_a_crop_is_the_centre_square(dataset: Dataset, cache: Cache, tmp_path: Path) -> None:
    """As if every file held its centre square alone; one that is a square already stays."""
    images = prepare_images(dataset.files, dataset.root, SIZE, cache, crop=True)
    whole = prepare_images(dataset.files, dataset.root, SIZE, cache)
    for file, image, squashed in zip(dataset.files, images, whole, strict=True):
        pixels = read_image(dataset.root / file.path)
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = tmp_path / "square.png"
        Image.fromarray(pixels[top : top + side, left : left + side]).save(square)
        digest = hashlib.sha256(square.read_bytes()).hexdigest()
        alone = [ImageFile("square.png", "any", "train", digest)]
        expected = prepare_images(alone, tmp_path, SIZE, cache)[0].astype(int)
        # sums of another length may round otherwise in their last bit
        assert np.abs(image - expected).max() <= 1
        assert np.mean(image != expected) < 0.001
        assert np.array_equal(image, squashed) == (height == width)


def test_many_shapes_are_traced_once(dataset: Dataset, cache: Cache, monkeypatch: Any) -> None:
    resizers = []
    compile_resize = pixel_store._compiled_resize

    def spy(image_size: int, crop: bool) -> Any:
        resizers.append(compile_resize(image_size, crop))
        return resizers[-1]

    monkeypatch.setattr(pixel_store, "_compiled_resize", spy)
    prepare_images(dataset.files, dataset.root, SIZE, cache)
    assert [resizer.experimental_get_tracing_count() for resizer in resizers] == [1]


def test_large_images_are_resized_too(
    dataset: Dataset, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    expected = prepare_images(dataset.files, dataset.root, SIZE, cache)
    monkeypatch.setattr(pixel_store, "_LARGE_PIXELS", 100)
    with Cache(tmp_path / "other") as other:
        images = prepare_images(dataset.files, dataset.root, SIZE, other)
        assert np.array_equal(images, expected)


def test_images_are_decoded_once(dataset: Dataset, cache: Cache, monkeypatch: Any) -> None:
    progress: list[tuple[int, int]] = []

    def on_progress(what: str, done: int, total: int) -> None:
        progress.append((done, total))

    first = prepare_images(dataset.files, dataset.root, SIZE, cache, on_progress)
    assert progress == [(done, 12) for done in range(1, 13)]
    monkeypatch.setattr(pixel_store, "read_bytes", None)
    again = prepare_images(dataset.files, dataset.root, SIZE, cache, on_progress)
    assert np.array_equal(first, again)
    assert len(progress) == 12
    assert [(entry.kind, entry.held) for entry in cache.entries()] == [("images", True)]


def test_an_interrupted_preparation_resumes(
    dataset: Dataset, cache: Cache, tmp_path: Path, monkeypatch: Any
) -> None:
    with Cache(tmp_path / "whole") as other:
        expected = np.array(prepare_images(dataset.files, dataset.root, SIZE, other))
    monkeypatch.setattr(pixel_store, "_PART", 4)

    def stop(what: str, done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_images(dataset.files, dataset.root, SIZE, cache, stop)
    assert [entry.kind for entry in cache.entries()] == ["image-parts"] * 2
    read: list[Path] = []
    read_bytes = decode.read_bytes
    monkeypatch.setattr(
        pixel_store, "read_bytes", lambda path: read.append(path) or read_bytes(path)
    )
    progress: list[int] = []
    images = prepare_images(
        dataset.files, dataset.root, SIZE, cache, lambda what, done, _: progress.append(done)
    )
    assert np.array_equal(images, expected)
    assert len(read) == 4
    assert progress == [4, 8, 9, 10, 11, 12]
    assert [entry.kind for entry in cache.entries()] == ["images"]


def test_size_order_and_content_make_the_key(dataset: Dataset, cache: Cache) -> None:
    files = dataset.files
    prepare_images(files, dataset.root, SIZE, cache)
    prepare_images(files, dataset.root, SIZE + 1, cache)
    prepare_images(files[::-1], dataset.root, SIZE, cache)
    prepare_images(files[1:], dataset.root, SIZE, cache)
    assert len(cache.entries()) == 4
    prepare_images(files, dataset.root, SIZE, cache, crop=True)
    assert len(cache.entries()) == 5
    elsewhere = [ImageFile(f"x/{f.path}", "other", "test", f.sha256) for f in files]
    for crop in (False, True):
        prepare_images(elsewhere, Path("/nowhere"), SIZE, cache, crop=crop)
    assert len(cache.entries()) == 5


def test_no_images_are_no_error(dataset: Dataset, cache: Cache) -> None:
    assert prepare_images([], dataset.root, SIZE, cache).shape == (0, SIZE, SIZE, 3)


def test_a_changed_file_is_an_error_and_nothing_is_stored(dataset: Dataset, cache: Cache) -> None:
    file = dataset.files[3]
    Image.new("RGB", (9, 9)).save(dataset.root / file.path)
    with pytest.raises(DataError, match=f"{file.path} has changed since it was scanned"):
        prepare_images(dataset.files, dataset.root, SIZE, cache)
    assert cache.entries() == []


def test_a_missing_file_is_an_error(dataset: Dataset, cache: Cache) -> None:
    file = dataset.files[3]
    (dataset.root / file.path).unlink()
    with pytest.raises(DataError, match=rf"{file.path} can no longer be read \(not found\)"):
        prepare_images(dataset.files, dataset.root, SIZE, cache)


def test_a_full_disk_is_an_error_and_no_crash(
    dataset: Dataset, cache: Cache, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pixel_store, "_FILE_NAME", "/dev/full")
    with pytest.raises(CacheError, match="no space left"):
        prepare_images(dataset.files, dataset.root, 224, cache)
    assert cache.entries() == []


MEASURE = """
import re, sys
from pathlib import Path
from tuner.storage.cache import Cache
from tuner.data.load import load_dataset
from tuner.data.pixel_store import prepare_images

def anonymous_mib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

root, cache_dir = Path(sys.argv[1]), Path(sys.argv[2])
dataset = load_dataset(root)
most = 0
def on_progress(what, done, total):
    global most
    if done % 50 == 0:
        most = max(most, anonymous_mib())
for copies in map(int, sys.argv[3:]):
    with Cache(cache_dir / str(copies)) as cache:
        images = prepare_images(dataset.files * copies, root, 224, cache, on_progress)
        images.sum()
        print(max(most, anonymous_mib()), images.nbytes / 2**20)
        del images
"""


def measure(dataset: Dataset, cache_dir: Path, *copies: int) -> list[tuple[float, float]]:
    """MiB of anonymous memory at its peak so far, and of the images, for each count in turn."""
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, str(dataset.root), str(cache_dir), *map(str, copies)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    lines = [line.split() for line in output.splitlines()]
    return [(float(memory), float(size)) for memory, size in lines]


def test_memory_does_not_grow_with_the_number_of_images(dataset: Dataset, tmp_path: Path) -> None:
    (few_memory, few_size), (many_memory, many_size) = measure(dataset, tmp_path, 5, 80)
    assert many_size - few_size > 100
    assert many_memory - few_memory < 20
