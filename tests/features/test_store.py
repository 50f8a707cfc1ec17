"""Features have the same bytes however they are computed, and never those of other inputs."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from search_spaces.backbone import CUTS, build_backbone, cut_layer, segments
from tests.support.forked import CONTEXT
from tests.support.repository import ROOT
from tuner.features import shards
from tuner.features import store as store_module
from tuner.features.shards import BATCH, StoredRows
from tuner.features.store import FeatureSet, FeatureStore, RecomputedRows
from tuner.storage.cache import Cache, CacheError
from tuner.storage.digests import bytes_digest

SIZE = 32
COUNT = 71  # two whole batches and one of 7; three shards where a shard has 32 rows
ANY_ORDER = np.array([70, 3, 64, 33, 3, 0, 31, 32, 69])


def pixels_of(count: int = COUNT, seed: int = 0) -> np.ndarray:
    shape = (count, SIZE, SIZE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


PIXELS = pixels_of()


@pytest.fixture(scope="module")
def shared_store(random_backbone: keras.Model, tmp_path_factory: Any) -> FeatureStore:
    return FeatureStore(random_backbone, Cache(tmp_path_factory.mktemp("shared")))


@pytest.fixture
def store(
    shared_store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FeatureStore]:
    """A store with a cache of its own and shards of 32 rows; its programs serve all tests."""
    monkeypatch.setattr(store_module, "_SHARD_ROWS", BATCH)
    with Cache(tmp_path / "cache") as cache:
        shared_store.cache = cache
        shared_store.stored = CUTS
        yield shared_store


@pytest.fixture(scope="module")
def expected(shared_store: FeatureStore) -> dict[int, np.ndarray]:
    """The rows at every cut, computed without any store."""
    shared_store.stored = ()
    feature_set = shared_store.open(PIXELS)
    return {cut: feature_set.rows(cut)[:] for cut in CUTS}


def shard_files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "entries").rglob("*")
        if path.is_file()
    }


def remains(folder: Path) -> list[Path]:
    """What is being written, or was."""
    return [path for path in (folder / "partial").rglob("*") if path.is_file()]


def noting_computations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...]]]:
    """The list of (shard, cuts) that are computed from now on."""
    computed: list[tuple[int, tuple[int, ...]]] = []
    compute = FeatureSet._compute

    def noting(self: FeatureSet, shard: int, folders: dict[int, Path]) -> None:
        computed.append((shard, tuple(folders)))
        compute(self, shard, folders)

    monkeypatch.setattr(FeatureSet, "_compute", noting)
    return computed


def another_cache(store: FeatureStore, folder: Path) -> Path:
    """Lets go of the cache and takes another one, as the next process would."""
    store.cache.close()
    store.cache = Cache(folder)
    return folder


# What the rows are


def test_rows_are_the_activations_of_the_network(
    expected: dict[int, np.ndarray], random_backbone: keras.Model
) -> None:
    batch = keras.applications.resnet50.preprocess_input(PIXELS.astype("float32"))
    ends = [random_backbone.get_layer(cut_layer(cut)).output for cut in CUTS]
    whole = keras.Model(random_backbone.input, ends).predict(batch, verbose=0)
    for cut, activations in zip(CUTS, whole, strict=True):
        scale = np.abs(activations).max()
        np.testing.assert_allclose(expected[cut], activations, rtol=0, atol=1e-5 * scale)
    assert len(np.unique(expected[0], axis=0)) == COUNT


def test_the_types_of_rows(store: FeatureStore, expected: dict[int, np.ndarray]) -> None:
    store.stored = (0,)
    feature_set = store.open(PIXELS)
    stored, recomputed = feature_set.rows(0), feature_set.rows(2)
    assert isinstance(stored, StoredRows)
    assert isinstance(recomputed, RecomputedRows)
    assert len(stored) == len(recomputed) == COUNT
    for rows, cut in ((stored, 0), (recomputed, 2)):
        assert rows.shape == expected[cut].shape == (COUNT, *store.shapes[cut])
        assert rows.dtype == np.float32
        for chosen in (slice(5, 40), slice(None, None, 7), ANY_ORDER, ANY_ORDER % 32, [2, 1]):
            taken = rows[chosen]
            assert type(taken) is np.ndarray
            np.testing.assert_array_equal(taken, expected[cut][chosen], strict=True)
        taken = rows[:3]
        taken[:] = 0  # a copy
        np.testing.assert_array_equal(rows[:3], expected[cut][:3])
        with pytest.raises(IndexError):
            rows[np.array([COUNT])]  # the padding is not to be seen


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64])
def test_any_number_of_images(
    store: FeatureStore, expected: dict[int, np.ndarray], count: int
) -> None:
    feature_set = store.open(PIXELS[:count])
    for cut in (16, 1, 0):
        rows = feature_set.rows(cut)
        assert len(rows) == count
        whole = count // BATCH * BATCH  # what shares its batch with other images may differ a bit
        np.testing.assert_array_equal(rows[:whole], expected[cut][:whole])
        np.testing.assert_allclose(rows[:], expected[cut][:count], rtol=0, atol=1e-3)


# The same bytes


def test_computing_twice_gives_the_same_bytes(store: FeatureStore, tmp_path: Path) -> None:
    store.open(PIXELS)
    first = shard_files(store.cache.folder)
    assert len(first) == 2 * 3 * len(CUTS)
    another_cache(store, tmp_path / "again")
    store.open(PIXELS)
    assert shard_files(tmp_path / "again") == first


@pytest.mark.parametrize("stored", [CUTS, (), (0,), (9, 2), (16, 6, 1)])
def test_storing_changes_no_bit(
    store: FeatureStore, expected: dict[int, np.ndarray], stored: tuple[int, ...]
) -> None:
    store.stored = stored
    feature_set = store.open(PIXELS)
    for cut in CUTS:
        rows = feature_set.rows(cut)
        assert isinstance(rows, StoredRows) == (cut in stored)
        np.testing.assert_array_equal(rows[:], expected[cut], strict=True)
        np.testing.assert_array_equal(rows[ANY_ORDER], expected[cut][ANY_ORDER], strict=True)


def test_a_shard_holds_more_than_one_batch(
    store: FeatureStore, expected: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SHARD_ROWS", 2 * BATCH)
    store.stored = (9, 0)
    feature_set = store.open(PIXELS)
    for cut in CUTS:
        np.testing.assert_array_equal(feature_set.rows(cut)[:], expected[cut], strict=True)


def test_many_images_go_into_larger_shards(
    store: FeatureStore, expected: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MANY_ROWS", COUNT - 1)
    monkeypatch.setattr(store_module, "_LARGE_SHARD_ROWS", 2 * BATCH)
    store.stored = (0,)
    feature_set = store.open(PIXELS)
    assert len(store.cache.entries()) == 2
    np.testing.assert_array_equal(feature_set.rows(0)[:], expected[0], strict=True)


def test_a_later_cut_is_computed_from_the_stored_one(
    store: FeatureStore,
    expected: dict[int, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.open(PIXELS)
    at_once = shard_files(store.cache.folder)
    another_cache(store, tmp_path / "later")
    computed = noting_computations(monkeypatch)
    run, begun = FeatureStore.run, []

    def noting(self: FeatureStore, activations: Any, start: int, end: int) -> Any:
        begun.append(start)
        return run(self, activations, start, end)

    monkeypatch.setattr(FeatureStore, "run", noting)
    for stored in ((6,), (6, 2), CUTS):
        begun.clear()
        store.stored = stored
        feature_set = store.open(PIXELS)
        if stored == (6, 2):
            assert min(begun) == CUTS.index(6) + 1, "it began at the images again"
    assert computed == [
        *((shard, (6,)) for shard in range(3)),
        *((shard, (2,)) for shard in range(3)),
        *((shard, (16, 9, 3, 1, 0)) for shard in range(3)),
    ]
    assert shard_files(tmp_path / "later") == at_once
    np.testing.assert_array_equal(feature_set.rows(0)[:], expected[0], strict=True)


def test_stored_features_are_not_computed_again(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.open(PIXELS)
    computed = noting_computations(monkeypatch)
    another_cache(store, store.cache.folder)
    shown: list[tuple[str, int, int]] = []
    store.open(PIXELS, lambda *progress: shown.append(progress))
    assert computed == shown == []


def test_progress_is_shown(store: FeatureStore) -> None:
    shown: list[tuple[str, int, int]] = []
    store.open(PIXELS, lambda *progress: shown.append(progress), "test features")
    assert shown == [("test features", done, COUNT) for done in (32, 64, COUNT)]


# Addresses


def test_a_changed_pixel_is_recomputed(
    store: FeatureStore, expected: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.stored = (9, 0)
    store.open(PIXELS)
    computed = noting_computations(monkeypatch)
    changed = PIXELS.copy()
    changed[40, 16, 16, 1] ^= 255
    feature_set = store.open(changed)
    assert computed == [(1, (9, 0))]  # of three shards only the one that holds it
    for cut in (9, 0):
        rows = feature_set.rows(cut)[:]
        assert (rows[40] != expected[cut][40]).any()
        others = np.delete(np.arange(COUNT), 40)
        np.testing.assert_array_equal(rows[others], expected[cut][others])
    back = store.open(PIXELS)
    np.testing.assert_array_equal(back.rows(0)[:], expected[0])
    assert len(computed) == 1


def test_images_in_another_order_keep_their_own_features(
    store: FeatureStore, expected: dict[int, np.ndarray]
) -> None:
    store.stored = (0,)
    store.open(PIXELS)
    order = np.random.default_rng(3).permutation(COUNT)
    rows = store.open(PIXELS[order]).rows(0)[:]
    np.testing.assert_allclose(rows, expected[0][order], rtol=0, atol=1e-4)


def test_other_weights_have_other_addresses(
    random_backbone: keras.Model, store: FeatureStore, expected: dict[int, np.ndarray]
) -> None:
    """A weight matters to the cuts above it, and to no other."""
    store.stored = (9, 6, 0)
    store.open(PIXELS)
    kernel = random_backbone.get_layer("conv4_block3_2_conv").kernel
    before = kernel.numpy()
    kernel.assign(before * np.where(np.arange(before.size).reshape(before.shape) == 5, 2, 1))
    try:
        other = FeatureStore(random_backbone, store.cache)
        other.stored = (9, 6, 0)
        changed = {cut: other.open(PIXELS).rows(cut)[:] for cut in other.stored}
    finally:
        kernel.assign(before)
    for cut in CUTS:
        same = store.address(cut, "pixels") == other.address(cut, "pixels")
        assert same == (cut in (16, 9))
    np.testing.assert_array_equal(changed[9], expected[9])
    assert (changed[6] != expected[6]).any()
    assert (changed[0] != expected[0]).any()
    np.testing.assert_array_equal(store.open(PIXELS).rows(0)[:], expected[0])


@pytest.mark.parametrize("part", ["gamma", "beta", "moving_mean", "moving_variance"])
def test_the_statistics_of_batchnorm_are_weights(
    random_backbone: keras.Model, store: FeatureStore, part: str
) -> None:
    variable = getattr(random_backbone.get_layer("conv1_bn"), part)
    before = variable.numpy()
    variable.assign(np.where(np.arange(before.size) == 0, np.nextafter(before, 2), before))
    try:
        other = FeatureStore(random_backbone, store.cache)
    finally:
        variable.assign(before)
    for cut in CUTS:
        assert store.address(cut, "pixels") != other.address(cut, "pixels")


def test_another_image_size_has_other_addresses(store: FeatureStore) -> None:
    other = FeatureStore(build_backbone(48, "none"), store.cache)
    for cut in CUTS:
        assert store.address(cut, "pixels") != other.address(cut, "pixels")
    assert other.shapes[9] == (6, 6, 512)


def test_each_cut_has_its_own_address(store: FeatureStore) -> None:
    assert len({store.address(cut, "pixels") for cut in CUTS}) == len(CUTS)
    assert store.address(0, "pixels") != store.address(0, "other pixels")


# Interrupted


def open_and_die(folder: Path, after: int, log: Path) -> None:
    """In another process: prepares the features, and is killed in shard number `after`."""
    store_module._SHARD_ROWS = BATCH
    compute, write = FeatureSet._compute, shards.ShardWriter.write

    def noting(self: FeatureSet, shard: int, folders: dict[int, Path]) -> None:
        with log.open("a") as stream:
            stream.write(f"{shard} {sorted(folders)}\n")
        if shard == after:
            shards.ShardWriter.write = dying  # type: ignore[method-assign]
        compute(self, shard, folders)

    def dying(self: Any, rows: np.ndarray) -> None:
        write(self, rows[: BATCH // 2])
        self._stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    FeatureSet._compute = noting  # type: ignore[method-assign]
    FeatureStore(build_backbone(SIZE, "none"), Cache(folder)).open(PIXELS)


def test_a_killed_pass_resumes_at_its_shard(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.open(PIXELS)
    uninterrupted = shard_files(store.cache.folder)
    folder, log = tmp_path / "killed", tmp_path / "log"
    process = CONTEXT.Process(target=open_and_die, args=(folder, 1, log))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert log.read_text().splitlines() == [f"{shard} {sorted(CUTS)}" for shard in (0, 1)]
    assert remains(folder), "it was not killed in the middle of anything"
    whole = shard_files(folder)
    assert len(whole) == 2 * len(CUTS)
    assert whole.items() <= uninterrupted.items()
    another_cache(store, folder)
    computed = noting_computations(monkeypatch)
    store.open(PIXELS)
    assert computed == [(1, CUTS), (2, CUTS)]
    assert shard_files(folder) == uninterrupted
    assert not remains(folder)


def open_beside(folder: Path, log: Path, ready: Path, go: Path) -> None:
    """Run in another process: compute the features when the start signal comes."""
    store_module._SHARD_ROWS = BATCH
    store = FeatureStore(build_backbone(SIZE, "none"), Cache(folder))
    store.run(PIXELS[:BATCH], 0, len(CUTS))  # compiles
    note_into(log)
    ready.touch()
    while not go.exists():
        time.sleep(0.01)
    store.open(pixels_of(8 * BATCH + 5))


def note_into(log: Path) -> None:
    """Writes down which shards this process computes, in no hurry."""
    compute = FeatureSet._compute

    def noting(self: FeatureSet, shard: int, folders: dict[int, Path]) -> None:
        with log.open("a") as stream:
            stream.writelines(f"{shard} {cut}\n" for cut in folders)
        compute(self, shard, folders)
        time.sleep(0.15)

    FeatureSet._compute = noting  # type: ignore[method-assign]


def test_two_processes_compute_each_shard_once(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, ready, go = (tmp_path / name for name in ("log", "ready", "go"))
    store.run(PIXELS[:BATCH], 0, len(CUTS))
    process = CONTEXT.Process(target=open_beside, args=(store.cache.folder, log, ready, go))
    process.start()
    while not ready.exists():
        assert process.is_alive()
        time.sleep(0.01)
    monkeypatch.setattr(FeatureSet, "_compute", FeatureSet._compute)  # undone afterwards
    mine = tmp_path / "mine"
    note_into(mine)
    go.touch()
    feature_set = store.open(pixels_of(8 * BATCH + 5))
    process.join()
    assert process.exitcode == 0
    lines = [
        line for path in (log, mine) if path.exists() for line in path.read_text().splitlines()
    ]
    assert sorted(lines) == sorted(f"{shard} {cut}" for shard in range(9) for cut in CUTS)
    shared = feature_set.rows(0)[:]
    store.stored = ()
    np.testing.assert_array_equal(shared, store.open(pixels_of(8 * BATCH + 5)).rows(0)[:])


# Damage


def cut_short(folder: Path) -> None:
    with (folder / "rows.npy").open("r+b") as stream:
        stream.truncate(stream.seek(0, io.SEEK_END) - 4)


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / "rows.npy").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "rows.npy").write_bytes(data)


def flip_a_bit_of_the_padding(folder: Path) -> None:
    data = bytearray((folder / "rows.npy").read_bytes())
    data[-1] ^= 128
    (folder / "rows.npy").write_bytes(data)


def empty(folder: Path) -> None:
    (folder / "rows.npy").write_bytes(b"")


def write_check(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "check.json").write_text(text, "utf-8")

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut short": cut_short,
    "a bit": flip_a_bit,
    "a bit of the padding": flip_a_bit_of_the_padding,
    "empty": empty,
    "no rows": lambda folder: (folder / "rows.npy").unlink(),
    "no check": lambda folder: (folder / "check.json").unlink(),
    "check: empty": write_check(""),
    "check: cut short": write_check('{"bytes": 26'),
    "check: a list": write_check("[1]"),
    "check: a number": write_check("1"),
    "check: other names": write_check("{}"),
    "check: zeros": write_check('{"bytes": 0, "crc32": 0}'),
    "check: bytes": lambda folder: (folder / "check.json").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_detected_and_repaired(
    store: FeatureStore,
    expected: dict[int, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    store.stored = (2, 0)
    store.open(PIXELS)
    before = shard_files(store.cache.folder)
    keys = {
        cut: store.address(cut, bytes_digest(PIXELS[BATCH : 2 * BATCH])) for cut in store.stored
    }
    another_cache(store, store.cache.folder)
    DAMAGES[damage](store.cache.folder / "entries" / "features" / keys[0])
    computed = noting_computations(monkeypatch)
    feature_set = store.open(PIXELS)
    assert computed == [(1, (0,))]
    np.testing.assert_array_equal(feature_set.rows(0)[:], expected[0])
    assert shard_files(store.cache.folder) == before


def test_a_damaged_lower_cut_is_not_used(
    store: FeatureStore, expected: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.stored = (2,)
    store.open(PIXELS)
    key = store.address(2, bytes_digest(PIXELS[:BATCH]))
    another_cache(store, store.cache.folder)
    flip_a_bit(store.cache.folder / "entries" / "features" / key)
    computed = noting_computations(monkeypatch)
    store.stored = (2, 0)
    feature_set = store.open(PIXELS)
    assert computed == [(0, (2, 0)), (1, (0,)), (2, (0,))]
    np.testing.assert_array_equal(feature_set.rows(0)[:], expected[0])


def test_every_flipped_bit_of_the_header_is_detected(store: FeatureStore) -> None:
    """NumPy raises many kinds of errors on what is not a header."""
    store.stored = (0,)
    store.open(PIXELS[:BATCH])
    (entry,) = (store.cache.folder / "entries" / "features").iterdir()
    data = (entry / "rows.npy").read_bytes()
    assert shards.is_sound(entry)
    with (entry / "rows.npy").open("r+b") as stream:
        for place in range(128):
            for bit in range(8):
                stream.seek(place)
                stream.write(bytes([data[place] ^ (1 << bit)]))
                stream.flush()
                assert not shards.is_sound(entry), (place, bit)
            stream.seek(place)
            stream.write(data[place : place + 1])
    assert shards.is_sound(entry)


# The folder is lost, or full


def test_a_folder_deleted_after_opening_changes_nothing(
    store: FeatureStore, expected: dict[int, np.ndarray]
) -> None:
    store.stored = (9, 0)
    feature_set = store.open(PIXELS)
    shutil.rmtree(store.cache.folder)
    for cut in CUTS:
        np.testing.assert_array_equal(feature_set.rows(cut)[:], expected[cut])
    again = store.open(PIXELS)
    np.testing.assert_array_equal(again.rows(0)[:], expected[0])


def test_a_folder_deleted_between_shards_changes_nothing(
    store: FeatureStore, expected: dict[int, np.ndarray]
) -> None:
    def delete(what: str, done: int, count: int) -> None:
        if done == BATCH:
            shutil.rmtree(store.cache.folder)

    feature_set = store.open(PIXELS, delete)
    for cut in CUTS:
        np.testing.assert_array_equal(feature_set.rows(cut)[:], expected[cut])


def test_a_folder_deleted_while_a_shard_is_written_is_one_sentence(
    store: FeatureStore, expected: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = shards.ShardWriter.write

    def deleting(self: Any, rows: np.ndarray) -> None:
        write(self, rows)
        shutil.rmtree(store.cache.folder, ignore_errors=True)

    monkeypatch.setattr(shards.ShardWriter, "write", deleting)
    with pytest.raises(CacheError, match=str(store.cache.folder)):
        store.open(PIXELS)
    monkeypatch.undo()
    np.testing.assert_array_equal(store.open(PIXELS).rows(0)[:], expected[0])


def test_a_folder_deleted_before_a_shard_is_read_is_one_sentence(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure = FeatureSet._ensure

    def deleting(self: FeatureSet, shard: int) -> bool:
        computed = ensure(self, shard)
        if shard == 1:
            shutil.rmtree(store.cache.folder)
        return computed

    monkeypatch.setattr(FeatureSet, "_ensure", deleting)
    with pytest.raises(CacheError, match=str(store.cache.folder)):
        store.open(PIXELS)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_leaves_no_partial_shard(
    store: FeatureStore,
    expected: dict[int, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    write, written = shards.ShardWriter.write, []

    def filling(self: Any, rows: np.ndarray) -> None:
        written.append(rows)
        if len(written) == len(CUTS) + 3:  # in the middle of the second shard
            write(self, rows[: BATCH // 2])
            raise OSError(number, os.strerror(number))
        write(self, rows)

    monkeypatch.setattr(shards.ShardWriter, "write", filling)
    with pytest.raises(CacheError, match="no space left") as caught:
        store.open(PIXELS)
    assert str(store.cache.folder) in str(caught.value)
    assert not remains(store.cache.folder)
    assert len(store.cache.entries()) == len(CUTS)
    monkeypatch.setattr(shards.ShardWriter, "write", write)
    computed = noting_computations(monkeypatch)
    feature_set = store.open(PIXELS)
    assert computed == [(1, CUTS), (2, CUTS)]
    np.testing.assert_array_equal(feature_set.rows(0)[:], expected[0])


def test_a_disk_full_on_closing_is_one_sentence(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full refuses what a buffer held back."""
    init = shards.ShardWriter.__init__

    def opening(self: Any, *arguments: Any) -> None:
        init(self, *arguments)
        self._stream = io.BufferedWriter(io.FileIO("/dev/full", "wb"), 2**24)

    monkeypatch.setattr(shards.ShardWriter, "__init__", opening)
    with pytest.raises(CacheError, match="no space left"):
        store.open(PIXELS)
    assert store.cache.entries() == []
    assert not remains(store.cache.folder)


def test_a_folder_that_cannot_be_made_is_one_sentence(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    another_cache(store, tmp_path / "file" / "cache")
    with pytest.raises(CacheError, match="cannot be used"):
        store.open(PIXELS)


# Memory and choice

READER = """
import sys
from pathlib import Path
import numpy as np
from search_spaces.backbone import build_backbone
from tuner.storage.cache import Cache
from tuner.features.store import FeatureStore

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024

count, folder = int(sys.argv[1]), Path(sys.argv[2])
store = FeatureStore(build_backbone(32, "none"), Cache(folder))
store.stored = (16,)
shape = (count, 32, 32, 3)
pixels = np.lib.format.open_memmap(folder.with_suffix(".npy"), "w+", np.uint8, shape)
random = np.random.default_rng(0)
for start in range(0, count, 500):
    part = pixels[start : start + 500]
    part[:] = random.integers(0, 256, part.shape)
store.run(np.zeros((32, 32, 32, 3), np.uint8), 0, 1)
features = store.open(pixels[:64])
total = 0.0
def read(features):
    rows = features.rows(16)
    order = random.permutation(len(rows))
    return sum(float(rows[order[i : i + 256]].sum()) for i in range(0, len(order), 256))
read(features)
before = anonymous()
features = store.open(pixels)
prepared = anonymous()
read(features)
print(prepared - before, anonymous() - before, features.rows(16)[:1].nbytes * count)
"""


def read_in_another_process(count: int, folder: Path) -> list[int]:
    """Growth of anonymous memory by preparing and by reading, and the size of the features."""
    root = ROOT
    finished = subprocess.run(
        [sys.executable, "-c", READER, str(count), str(folder)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return [int(number) for number in finished.stdout.split()]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    small = read_in_another_process(2_000, tmp_path / "small")
    large = read_in_another_process(20_000, tmp_path / "large")
    assert large[2] == 10 * small[2] > 300e6
    for few, many in zip(small[:2], large[:2], strict=True):
        assert many - few < 40e6, (small, large)


def test_the_store_chooses_cuts_that_pay(store: FeatureStore) -> None:
    store.choose_stored({0: 100.0}, COUNT, SIZE)
    assert store.stored == (0,)
    store.cache.limit_bytes = 0
    store.choose_stored({0: 100.0}, COUNT, SIZE)
    assert store.stored == ()
    store.cache.limit_bytes = COUNT * 4 * 2048
    store.choose_stored(dict.fromkeys(CUTS, 1000.0), COUNT, SIZE)
    assert len(store.stored) == 1
    store.open(PIXELS)
    assert len(store.cache.entries()) == 3


def test_the_shapes_are_those_of_the_cuts(
    store: FeatureStore, random_backbone: keras.Model
) -> None:
    assert tuple(store.shapes) == CUTS
    for cut, model in zip(CUTS, segments(random_backbone), strict=True):
        assert store.shapes[cut] == model.output_shape[1:]


def test_a_check_names_bytes_and_checksum(store: FeatureStore) -> None:
    store.stored = (0,)
    store.open(PIXELS[:5])
    (entry,) = (store.cache.folder / "entries" / "features").iterdir()
    check = json.loads((entry / "check.json").read_text("utf-8"))
    assert set(check) == {"bytes", "crc32"}
    assert check["bytes"] == (entry / "rows.npy").stat().st_size
    rows = np.load(entry / "rows.npy")
    assert rows.shape == (BATCH, 2048)
    assert rows.dtype == np.float32
