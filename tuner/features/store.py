"""FeatureStore: the activations at a cut for every image, on disk, computed once.

With BatchNorm in inference mode the part of the network below a cut is a fixed function of the
image. The network is run in fixed segments (`search_spaces.backbone.segments`), one after the
other, on fixed, aligned batches of 32 images that are padded with black ones: the same programs on
the same batches, whatever is stored already and however large the cache is. What is not stored is
computed again in the same way, so that storing never changes a bit of a result.

A shard holds the rows of some batches at one cut. It is addressed by what it was made from: the
pixels, the weights below the cut, the cut, and what computed it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import CUTS, multiply_accumulates, segments
from tuner.environment import processor
from tuner.features.cuts import Costs, Segment, choose_cuts, compute_seconds
from tuner.features.shards import BATCH, DATA, ShardWriter, StoredRows, is_sound
from tuner.storage.cache import Cache, CacheError, storage_errors
from tuner.storage.digests import bytes_digest, key_of

_VERSION = 1
_KIND = "features"
# Rows of a shard: what a kill can lose. Larger ones for many images, to keep the files few.
_SHARD_ROWS, _LARGE_SHARD_ROWS, _MANY_ROWS = 256, 1024, 16384
# For one multiply-accumulate, where there is no choice among cuts that a measurement could decide.
_NOMINAL_SECONDS = 5e-12


class FeatureStore:
    """The features of sets of images under one backbone.

    Args:
        backbone: as `search_spaces.backbone.build_backbone` returns it. Below a cut that is asked
            for it must hold the pretrained weights.
        cache: where shards are kept.

    Attributes:
        stored: unfreeze depths whose cuts are kept on disk, all at first; the others are computed
            whenever they are asked for. Set it before the first `open`.
        shapes: shape of an image's activations by cut.
        weights_digest: of all weights, whatever computes with them.
    """

    def __init__(self, backbone: keras.Model, cache: Cache) -> None:
        self.cache = cache
        self.stored: tuple[int, ...] = CUTS
        self._seconds_each = _NOMINAL_SECONDS
        models = segments(backbone)
        self._programs = [_compile(model) for model in models]
        self.shapes = {
            cut: tuple(model.output_shape[1:]) for cut, model in zip(CUTS, models, strict=True)
        }
        digests = [bytes_digest(*model.weights) for model in models]
        self.weights_digest = key_of(*digests)
        made_by = _made_by(models[0].input_shape[1:])
        self._origins = {
            cut: key_of(made_by, *digests[: number + 1]) for number, cut in enumerate(CUTS)
        }
        self._segments = [
            Segment(cut, multiply_accumulates(model), 4 * math.prod(self.shapes[cut]))
            for cut, model in zip(CUTS, models, strict=True)
        ]

    def choose_stored(self, epochs: Mapping[int, float], images: int, image_size: int) -> None:
        """Stores the cuts that make a search fastest and that the cache has room for.

        Args:
            epochs: unfreeze depth to the epochs that the search is expected to train at it.
            images: how many rows there are at a cut, in all splits and views.
            image_size: in pixels.
        """
        if sum(count > 0 for count in epochs.values()) > 1:
            self.measure(image_size)
        costs = Costs(self._seconds_each, images, self.cache.room())
        self.stored = choose_cuts(self._segments, epochs, costs)

    def measure(self, image_size: int) -> None:
        """Measures what computing costs, for `choose_stored` and the estimates.

        Args:
            image_size: in pixels.
        """
        batch = np.zeros((BATCH, image_size, image_size, 3), np.uint8)
        seconds = 0.0
        for _ in range(2):  # the first compiles the programs
            begun = time.perf_counter()
            np.asarray(self.run(batch, 0, len(CUTS)))
            seconds = time.perf_counter() - begun
        work = sum(segment.multiply_accumulates for segment in self._segments)
        self._seconds_each = seconds / BATCH / work

    def preparation_seconds(self) -> float:
        """Estimate for one image: its pass through the network up to the last stored cut."""
        last = max((CUTS.index(cut) for cut in self.stored), default=-1)
        return compute_seconds(self._segments, -1, last, self._seconds_each)

    def bytes_each(self) -> int:
        """Of what is stored for one image."""
        return sum(part.output_bytes for part in self._segments if part.cut in self.stored)

    def pass_seconds(self, unfreeze_blocks: int) -> tuple[float, float]:
        """Estimates for one image: recomputing its cut from what is stored, and what is above."""
        cut = CUTS.index(unfreeze_blocks)
        begin = max(
            (CUTS.index(stored) for stored in self.stored if CUTS.index(stored) <= cut), default=-1
        )
        return (
            compute_seconds(self._segments, begin, cut, self._seconds_each),
            compute_seconds(self._segments, cut, len(CUTS) - 1, self._seconds_each),
        )

    def open(
        self, pixels: np.ndarray, on_progress: Callable[[int, int], None] | None = None
    ) -> "FeatureSet":
        """Computes what is to be stored of a set of images and is not, in one pass.

        Killed and begun again, it goes on with the shard that it was at. Of two
        processes that ask for the same images, one computes a shard while the other waits for it.

        Args:
            pixels: uint8, shape (n, image_size, image_size, 3).
            on_progress: is told (images done, of how many), if there is anything to compute.

        Raises:
            CacheError: the cache folder is full, or may not be written.
        """
        features = FeatureSet(self, pixels)
        features.prepare(on_progress)
        return features

    def address(self, cut: int, pixels_digest: str) -> str:
        """Key of a shard: what it was made from."""
        return key_of(_VERSION, BATCH, self._origins[cut], cut, pixels_digest)

    def run(self, activations: Any, start: int, end: int) -> Any:
        """Runs segments `start` (inclusive) to `end` (exclusive) on one padded batch."""
        for program in self._programs[start:end]:
            activations = program(activations)
        return activations


class FeatureSet:
    """The features of one set of images, as `FeatureStore.open` gives them."""

    def __init__(self, store: FeatureStore, pixels: np.ndarray) -> None:
        """Nothing is computed yet."""
        self._store = store
        self._pixels = pixels
        size = _SHARD_ROWS if len(pixels) <= _MANY_ROWS else _LARGE_SHARD_ROWS
        self._ranges = [
            (start, min(start + size, len(pixels))) for start in range(0, len(pixels), size)
        ]
        self._digests = [bytes_digest(pixels[start:stop]) for start, stop in self._ranges]
        self._shards: dict[int, list[np.ndarray]] = {}

    def prepare(self, on_progress: Callable[[int, int], None] | None) -> None:
        """Computes the shards that are missing, and opens all."""
        opened: dict[int, list[np.ndarray]] = {cut: [] for cut in self._store.stored}
        computed = False
        for shard, (_, stop) in enumerate(self._ranges):
            computed |= self._ensure(shard)
            for cut in self._store.stored:
                opened[cut].append(self._read(shard, cut))
            if on_progress is not None and computed:
                on_progress(stop, len(self._pixels))
        self._shards = opened

    @property
    def fingerprint(self) -> str:
        """Digest of the images."""
        return key_of(*self._digests)

    def rows(self, unfreeze_blocks: int) -> "StoredRows | RecomputedRows":
        """The activations at the cut of that unfreeze depth, row by row like the pixels."""
        if unfreeze_blocks in self._shards:
            return StoredRows(self._shards[unfreeze_blocks], len(self._pixels))
        return RecomputedRows(self, unfreeze_blocks)

    def block(self, number: int, cut: int) -> np.ndarray:
        """The 32 rows of one aligned batch at a cut, padding included, from the nearest store."""
        end = CUTS.index(cut) + 1
        start, activations = self._nearest(number, cut)
        return np.asarray(self._store.run(activations, start, end))

    @property
    def store(self) -> FeatureStore:
        """The store that these features belong to."""
        return self._store

    def __len__(self) -> int:
        """Number of images."""
        return len(self._pixels)

    def _nearest(self, number: int, cut: int) -> tuple[int, Any]:
        """The number of the segment to begin with, and the batch that goes into it."""
        below = CUTS[: CUTS.index(cut)]
        for position, earlier in reversed(list(enumerate(below))):
            if earlier in self._shards:
                shard, row = divmod(number * BATCH, self._ranges[0][1])
                return position + 1, self._shards[earlier][shard][row : row + BATCH]
        return 0, self._padded(number)

    def _padded(self, number: int) -> np.ndarray:
        pixels = self._pixels[number * BATCH : (number + 1) * BATCH]
        return _pad(np.asarray(pixels))

    def _ensure(self, shard: int) -> bool:
        """Computes what is missing of a shard; whether anything was."""
        cache = self._store.cache
        keys = {cut: self._store.address(cut, self._digests[shard]) for cut in self._store.stored}
        missing = [cut for cut in keys if not self._sound(keys[cut])]
        if not missing:
            return False
        with ExitStack() as stack:
            folders = {cut: stack.enter_context(cache.create(_KIND, keys[cut])) for cut in missing}
            # Another process may have made some of them while this one waited for its turn.
            wanted = {
                cut: folder
                for cut, folder in folders.items()
                if cache.entry(_KIND, keys[cut]) is None
            }
            if wanted:
                with storage_errors(cache.folder):
                    self._compute(shard, wanted)
        return True

    def _sound(self, key: str) -> bool:
        """Whether a shard is there, whole and unchanged; a damaged one is removed."""
        entry = self._store.cache.entry(_KIND, key)
        if entry is None:
            return False
        if is_sound(entry):
            return True
        self._store.cache.remove(_KIND, key)
        return False

    def _compute(self, shard: int, folders: dict[int, Path]) -> None:
        """Passes the shard's batches through the network and writes the cuts that are wanted."""
        start, stop = self._ranges[shard]
        blocks = range(start // BATCH, -(-stop // BATCH))
        positions = [CUTS.index(cut) for cut in folders]
        known = self._known(shard, CUTS[: min(positions)])
        with ExitStack() as stack:
            writers = {
                position: stack.enter_context(
                    ShardWriter(folder, len(blocks) * BATCH, self._store.shapes[cut])
                )
                for position, (cut, folder) in zip(positions, folders.items(), strict=True)
            }
            for number in blocks:
                if known is None:
                    position, activations = 0, self._padded(number)
                else:
                    position, rows = known
                    offset = number * BATCH - start
                    activations = rows[offset : offset + BATCH]
                for current in range(position, max(positions) + 1):
                    activations = self._store.run(activations, current, current + 1)
                    if current in writers:
                        writers[current].write(np.asarray(activations))

    def _known(self, shard: int, cuts: Sequence[int]) -> tuple[int, np.ndarray] | None:
        """The deepest of the cuts that is stored for this shard: segment to go on with, rows."""
        for position, cut in reversed(list(enumerate(cuts))):
            key = self._store.address(cut, self._digests[shard])
            if cut in self._store.stored and self._sound(key):
                return position + 1, self._read(shard, cut)
        return None

    def _read(self, shard: int, cut: int) -> np.ndarray:
        key = self._store.address(cut, self._digests[shard])
        cache = self._store.cache
        folder = cache.entry(_KIND, key)
        if folder is None:
            raise CacheError(
                f"The cache folder {cache.folder} was emptied while it was in use: start again."
            )
        with storage_errors(cache.folder):
            rows: np.ndarray = np.load(folder / DATA, mmap_mode="r")
        return rows


class RecomputedRows:
    """Rows at a cut that is not stored, computed block by block whenever they are asked for."""

    def __init__(self, features: FeatureSet, cut: int) -> None:
        """Computes nothing yet."""
        self._features = features
        self._cut = cut
        self.shape = (len(features), *features.store.shapes[cut])
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """The chosen rows, by slice or index array."""
        indices = np.arange(len(self))[chosen]
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        blocks, offsets = np.divmod(indices, BATCH)
        for block in np.unique(blocks):
            here = blocks == block
            rows[here] = self._features.block(int(block), self._cut)[offsets[here]]
        return rows


def _compile(segment: keras.Model) -> Any:
    """The segment as one program; it is only ever given batches of 32."""
    return tf.function(lambda rows: segment(tf.cast(rows, tf.float32), training=False))


def _made_by(image_shape: tuple[int, ...]) -> str:
    """What computes activations and for which images: TensorFlow, device, image size."""
    device = "GPU" if tf.config.list_physical_devices("GPU") else f"CPU {processor()}"
    return f"{tf.__version__} {device} {image_shape}"


def _pad(rows: np.ndarray) -> np.ndarray:
    """A batch of 32, with zeros where there are fewer rows."""
    if len(rows) == BATCH:
        return rows
    padded = np.zeros((BATCH, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded
