"""FeatureStore: each image's activations at the cuts of the network, computed once and cached.

With BatchNorm in inference mode, the network below a cut is a fixed function of the image. It runs
in fixed segments (`search_spaces.backbone.segments`) on fixed, aligned batches of 32 images, padded
with black ones: the same programs on the same batches, whatever is cached. Features that are not
stored are recomputed in the same way, so caching never changes a bit of a result.

A shard holds the rows of some batches at one cut. Its key is a digest of everything it was made
from: the pixels, the weights below the cut, the cut, and the device that computed it.
"""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import CUTS, multiply_accumulates, segments
from tuner.counting import Progress, silent
from tuner.environment import processor
from tuner.features.cuts import Costs, Segment, choose_cuts, compute_seconds
from tuner.features.shards import (
    BATCH,
    DATA,
    RecomputedRows,
    ShardWriter,
    StoredRows,
    is_sound,
    pad,
)
from tuner.storage.cache import Cache, CacheError, storage_errors
from tuner.storage.digests import bytes_digest, key_of

_VERSION = 1
_KIND = "features"
# Rows per shard, the most that a kill can lose; more for many images, to keep files few.
_SHARD_ROWS, _LARGE_SHARD_ROWS, _MANY_ROWS = 256, 1024, 16384
# Per multiply-accumulate, used when no choice between cuts needs a measurement.
_NOMINAL_SECONDS = 5e-12


class FeatureStore:
    """Features of image sets under one backbone.

    Example:
        >>> store = FeatureStore(build_backbone(224, "imagenet"), Cache(folder))
        >>> store.open(pixels).rows(0)[:].shape  # pooled features: nothing is unfrozen
        (600, 2048)

    Attributes:
        stored: unfreeze depths whose cuts are stored, by default all; the others are recomputed on
            each access. Set it before the first `open`.
        shapes: shape of one image's activations, by unfreeze depth.
        weights_digest: SHA-256 of all weights.
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
        dtypes = sorted({layer.compute_dtype for layer in backbone.layers})
        made_by = _made_by(models[0].input_shape[1:], dtypes)
        self._origins = {
            cut: key_of(made_by, *digests[: number + 1]) for number, cut in enumerate(CUTS)
        }
        self._segments = [
            Segment(cut, multiply_accumulates(model), 4 * math.prod(self.shapes[cut]))
            for cut, model in zip(CUTS, models, strict=True)
        ]

    def choose_stored(self, epochs: Mapping[int, float], images: int, image_size: int) -> None:
        """Set `stored` to the cuts that make a search fastest and fit into the cache.

        `epochs` are those expected at each unfreeze depth, `images` those of all splits and views.
        """
        if sum(count > 0 for count in epochs.values()) > 1:
            self.measure(image_size)
        costs = Costs(self._seconds_each, images, self.cache.room())
        self.stored = choose_cuts(self._segments, epochs, costs)

    def measure(self, image_size: int) -> None:
        """Measure the speed of a forward pass, for `choose_stored` and the estimates."""
        batch = np.zeros((BATCH, image_size, image_size, 3), np.uint8)
        seconds = 0.0
        for _ in range(2):  # the first pass compiles the programs
            begun = time.perf_counter()
            np.asarray(self.run(batch, 0, len(CUTS)))
            seconds = time.perf_counter() - begun
        work = sum(segment.multiply_accumulates for segment in self._segments)
        self._seconds_each = seconds / BATCH / work

    def preparation_seconds(self) -> float:
        """Estimated seconds to compute one image's stored features."""
        last = max((CUTS.index(cut) for cut in self.stored), default=-1)
        return compute_seconds(self._segments, -1, last, self._seconds_each)

    def bytes_each(self) -> int:
        """Bytes stored for one image."""
        return sum(part.output_bytes for part in self._segments if part.cut in self.stored)

    def pass_seconds(self, unfreeze_blocks: int) -> tuple[float, float]:
        """Estimated seconds for one image: from the nearest stored cut to this one, and above."""
        cut = CUTS.index(unfreeze_blocks)
        begin = max(
            (CUTS.index(stored) for stored in self.stored if CUTS.index(stored) <= cut), default=-1
        )
        return (
            compute_seconds(self._segments, begin, cut, self._seconds_each),
            compute_seconds(self._segments, cut, len(CUTS) - 1, self._seconds_each),
        )

    def open(
        self, pixels: np.ndarray, on_progress: Progress = silent, what: str = "computing features"
    ) -> "FeatureSet":
        """Open the features of pixels, (n, size, size, 3); compute those that are not cached.

        A killed pass resumes at the shard that it was computing. If two processes open the same
        images, one computes each shard and the other waits for it.
        """
        features = FeatureSet(self, pixels)
        features.prepare(on_progress, what)
        return features

    def address(self, cut: int, pixels_digest: str) -> str:
        """Cache key of a shard."""
        return key_of(_VERSION, BATCH, self._origins[cut], cut, pixels_digest)

    def run(self, activations: Any, start: int, end: int) -> Any:
        """Run segments `start` (inclusive) to `end` (exclusive) on one padded batch."""
        for program in self._programs[start:end]:
            activations = program(activations)
        return activations


class FeatureSet:
    """Features of one set of images; see `FeatureStore.open`."""

    def __init__(self, store: FeatureStore, pixels: np.ndarray) -> None:
        self._store = store
        self._pixels = pixels
        size = _SHARD_ROWS if len(pixels) <= _MANY_ROWS else _LARGE_SHARD_ROWS
        self._ranges = [
            (start, min(start + size, len(pixels))) for start in range(0, len(pixels), size)
        ]
        self._digests = [bytes_digest(pixels[start:stop]) for start, stop in self._ranges]
        self._shards: dict[int, list[np.ndarray]] = {}

    def prepare(self, on_progress: Progress, what: str) -> None:
        """Compute the missing shards, and open all."""
        opened: dict[int, list[np.ndarray]] = {cut: [] for cut in self._store.stored}
        computed = False
        for shard, (_, stop) in enumerate(self._ranges):
            computed |= self._ensure(shard)
            for cut in self._store.stored:
                opened[cut].append(self._read(shard, cut))
            if computed:
                on_progress(what, stop, len(self._pixels))
        self._shards = opened

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the images."""
        return key_of(*self._digests)

    def rows(self, unfreeze_blocks: int) -> "StoredRows | RecomputedRows":
        """Activations at the cut of an unfreeze depth, float32, one row per image."""
        if unfreeze_blocks in self._shards:
            return StoredRows(self._shards[unfreeze_blocks], len(self._pixels))
        shape = (len(self._pixels), *self._store.shapes[unfreeze_blocks])
        return RecomputedRows(lambda number: self.block(number, unfreeze_blocks), shape)

    def block(self, number: int, cut: int) -> np.ndarray:
        """Compute one aligned batch of 32 rows at a cut, padding included, from the nearest cut."""
        end = CUTS.index(cut) + 1
        start, activations = self._nearest(number, cut)
        return np.asarray(self._store.run(activations, start, end))

    def _nearest(self, number: int, cut: int) -> tuple[int, Any]:
        """The first segment to run, and its input batch."""
        below = CUTS[: CUTS.index(cut)]
        for position, earlier in reversed(list(enumerate(below))):
            if earlier in self._shards:
                shard, row = divmod(number * BATCH, self._ranges[0][1])
                return position + 1, self._shards[earlier][shard][row : row + BATCH]
        return 0, self._padded(number)

    def _padded(self, number: int) -> np.ndarray:
        return pad(np.asarray(self._pixels[number * BATCH : (number + 1) * BATCH]))

    def _ensure(self, shard: int) -> bool:
        """Compute the missing cuts of a shard; return whether there were any."""
        cache = self._store.cache
        keys = {cut: self._store.address(cut, self._digests[shard]) for cut in self._store.stored}
        missing = [cut for cut in keys if not self._sound(keys[cut])]
        if not missing:
            return False
        with ExitStack() as stack:
            folders = {cut: stack.enter_context(cache.create(_KIND, keys[cut])) for cut in missing}
            # Another process may have made some of them while this one waited.
            wanted = {c: path for c, path in folders.items() if cache.entry(_KIND, keys[c]) is None}
            if wanted:
                with storage_errors(cache.folder):
                    self._compute(shard, wanted)
        return True

    def _sound(self, key: str) -> bool:
        """Whether a shard is cached and undamaged; a damaged one is removed."""
        entry = self._store.cache.entry(_KIND, key)
        if entry is None:
            return False
        if is_sound(entry):
            return True
        self._store.cache.remove(_KIND, key)
        return False

    def _compute(self, shard: int, folders: dict[int, Path]) -> None:
        """Pass a shard's batches through the network, and write cuts to their folders."""
        start, stop = self._ranges[shard]
        blocks = range(start // BATCH, -(-stop // BATCH))
        positions = [CUTS.index(cut) for cut in folders]
        known = self._deepest(shard, CUTS[: min(positions)])
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

    def _deepest(self, shard: int, cuts: Sequence[int]) -> tuple[int, np.ndarray] | None:
        """Rows at the deepest stored one of `cuts`, after the first segment to run on them."""
        for position, cut in reversed(list(enumerate(cuts))):
            key = self._store.address(cut, self._digests[shard])
            if cut in self._store.stored and self._sound(key):
                return position + 1, self._read(shard, cut)
        return None

    def _read(self, shard: int, cut: int) -> np.ndarray:
        cache = self._store.cache
        folder = cache.entry(_KIND, self._store.address(cut, self._digests[shard]))
        if folder is None:
            raise CacheError(
                f"The cache folder {cache.folder} was emptied while in use: run the command again."
            )
        with storage_errors(cache.folder):
            rows: np.ndarray = np.load(folder / DATA, mmap_mode="r")
        return rows


def _compile(segment: keras.Model) -> Any:
    """Compile a segment to one program, for batches of 32."""
    return tf.function(lambda rows: segment(tf.cast(rows, tf.float32), training=False))


def _made_by(image_shape: tuple[int, ...], dtypes: Sequence[str]) -> str:
    """Name TensorFlow, device, image size and dtypes, which decide the bits of the features."""
    device = "GPU" if tf.config.list_physical_devices("GPU") else f"CPU {processor()}"
    return f"{tf.__version__} {device} {image_shape} {' '.join(dtypes)}"
