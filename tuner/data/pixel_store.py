"""Cache of decoded and resized images: decoded once, then memory-mapped."""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset, ImageFile
from tuner.decoding.decode import batches, decode_each, on_all_cores, read_bytes
from tuner.decoding.formats import DecodeError
from tuner.errors import DataError
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache
from tuner.storage.digests import key_of

# Increment when decoding or resizing changes: images of other versions are not used.
_VERSION = 2
_FILE_NAME = "images.npy"
_KIND, _PART_KIND = "images", "image-parts"
# Images of a part, which a killed process can lose.
_PART = 512
_LARGE_PIXELS = 16_000_000


def prepare_images(
    files: Sequence[ImageFile],
    root: Path,
    image_size: int,
    cache: Cache,
    on_progress: Progress = silent,
    *,
    crop: bool = False,
    what: str = "decoding images",
) -> np.ndarray:
    """The pixels of `files` in `root`, from the cache, or decoded into it on all cores.

    An image that has this size already keeps its exact pixels. `crop` takes the centre square of
    each image instead of squashing it; `what` names the work for `on_progress`.

    Returns:
        A read-only memory map, uint8, shape (len(files), image_size, image_size, 3).

    Raises:
        DataError: a file has changed since the survey, or is gone.
        CacheError: the cache folder is full, or is not writable.
    """
    key = _key(files, image_size, crop)
    folder = cache.entry(_KIND, key)
    if folder is None:
        load = partial(_load, root=root, resizer=_Resizer(image_size, crop))
        parts = [files[start : start + _PART] for start in range(0, len(files), _PART)]
        keys = [_key(part, image_size, crop) for part in parts]

        def decode(number: int, target: Path) -> None:
            part = batches(parts[number], lambda file: root / file.path)
            images = chain.from_iterable(on_all_cores(load, part))
            on_image = partial(report, number)
            write_images(target / _FILE_NAME, images, len(parts[number]), image_size, on_image)

        def report(number: int, done: int) -> None:
            on_progress(what, number * _PART + done, len(files))

        def decoded() -> Iterator[np.ndarray]:
            for number, part_key in enumerate(keys):
                part = cache.entry(_PART_KIND, part_key)
                if part is None:
                    part = cache.get_or_create(_PART_KIND, part_key, partial(decode, number))
                else:
                    report(number, len(parts[number]))
                yield from np.load(part / _FILE_NAME, mmap_mode="r")

        def join(target: Path) -> None:
            write_images(target / _FILE_NAME, decoded(), len(files), image_size)

        folder = cache.get_or_create(_KIND, key, join)
        for part_key in keys:
            cache.remove(_PART_KIND, part_key)
    images: np.ndarray = np.load(folder / _FILE_NAME, mmap_mode="r")
    return images


def write_images(
    path: Path,
    images: Iterable[np.ndarray],
    count: int,
    image_size: int,
    on_image: Callable[[int], None] = lambda done: None,
) -> None:
    """Write square images, uint8, as one .npy file.

    It is not memory-mapped, so that a full disk raises an error instead of SIGBUS.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, image_size, image_size, 3)}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for done, image in enumerate(images, start=1):
            stream.write(np.ascontiguousarray(image).data)
            on_image(done)


def pixels_of(
    dataset: Dataset,
    split: str,
    settings: SearchSettings,
    cache: Cache,
    on_progress: Progress = silent,
) -> np.ndarray:
    """The pixels of a split for a search with these settings: see `prepare_images`."""
    return prepare_images(
        dataset.of(split),
        dataset.root,
        settings.image_size,
        cache,
        on_progress,
        crop=settings.crop,
        what=f"decoding {split} images",
    )


def _key(files: Sequence[ImageFile], image_size: int, crop: bool) -> str:
    cropped = ("crop",) if crop else ()
    return key_of(_VERSION, image_size, [file.sha256 for file in files], *cropped)


class _Resizer:
    """`search_spaces.resize.resize` of single images; thread-safe."""

    def __init__(self, image_size: int, crop: bool) -> None:
        self.image_size = image_size
        self._resize = _compiled_resize(image_size, crop)
        self._large = threading.Lock()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8, shape (height, width, 3) to (image_size, image_size, 3)."""
        if pixels.shape[:2] == (self.image_size, self.image_size):
            return pixels
        # Up to 24 bytes a pixel: float32 and its transpose.
        large = pixels.shape[0] * pixels.shape[1] > _LARGE_PIXELS
        with self._large if large else nullcontext():
            resized: np.ndarray = self._resize(pixels[np.newaxis])[0].numpy()
        return resized


def _compiled_resize(image_size: int, crop: bool) -> Any:
    """The resize as one graph for all sizes; eager operations would hold Python's lock."""
    import tensorflow as tf

    from search_spaces.resize import resize

    def resize_one(images: Any) -> Any:
        # A GPU may round the products of matrices to 10 bits (TensorFloat-32).
        with tf.device("cpu:0"):
            return tf.cast(resize(images, image_size, crop), tf.uint8)

    return tf.function(resize_one, [tf.TensorSpec((1, None, None, 3), tf.uint8)])


def _load(files: Sequence[ImageFile], root: Path, resizer: _Resizer) -> list[np.ndarray]:
    """Images of uint8, shape (image_size, image_size, 3)."""
    contents = [_unchanged(file, root) for file in files]
    images = []
    for file, pixels in zip(files, decode_each(contents), strict=True):
        if isinstance(pixels, DecodeError):
            raise _unreadable(file, pixels) from pixels
        images.append(resizer(pixels))
    return images


def _unchanged(file: ImageFile, root: Path) -> bytes:
    try:
        data = read_bytes(root / file.path)
    except DecodeError as error:
        raise _unreadable(file, error) from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DataError(
            f"{file.path} has changed since it was scanned: put the old file back or start a new "
            "run."
        )
    return data


def _unreadable(file: ImageFile, error: DecodeError) -> DataError:
    return DataError(f"{file.path} can no longer be read ({error.reason}): start a new run.")
