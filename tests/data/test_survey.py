"""Surveys: damaged images, copies, conflicting labels, leaks."""

import io
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.near_images import photo
from tests.support.slow_images import slow_jpeg
from tuner.data import survey as survey_module
from tuner.data.dataset import Dataset, SplitOptions, split_survey
from tuner.data.listing import Layout, Skipped
from tuner.data.load import load_dataset
from tuner.data.survey import Leak, Survey, survey
from tuner.data.variants import original_name
from tuner.decoding import pool
from tuner.decoding.formats import DecodeError
from tuner.errors import DataError, SettingsError
from tuner.storage.cache import Cache


def scene(number: int, side: int = 48) -> Image.Image:
    """A picture like no other: a few soft shapes."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def put(path: Path, number: int, quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(number).save(path, "JPEG", quality=quality)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Twelve cats and twelve dogs, all different."""
    for number in range(12):
        put(tmp_path / "pets" / "cat" / f"{number:02}.jpg", number)
        put(tmp_path / "pets" / "dog" / f"{number:02}.jpg", 100 + number)
    return tmp_path / "pets"


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as cache:
        yield cache


def split(data: Path, **options: object) -> Dataset:
    return split_survey(survey(data), SplitOptions(**options))  # type: ignore[arg-type]


def paths(found: Survey, pairs: object) -> list[tuple[str, ...]]:
    return [tuple(found.pictures[number].path for number in pair) for pair in pairs]  # type: ignore[attr-defined]


def test_every_picture_is_described(pets: Path) -> None:
    scene(50, 64).save(pets / "cat" / "wide.webp")
    Image.new("RGB", (20, 10)).save(pets / "dog" / "unnamed", "BMP")
    found = survey(pets)
    assert found.classes == ("cat", "dog")
    assert found.given == ()
    described = {picture.path: picture for picture in found.pictures}
    assert list(described) == sorted(described)
    assert len(described) == 26
    webp, bmp = described["cat/wide.webp"], described["dog/unnamed"]
    assert (webp.format, webp.width, webp.height, webp.label) == ("WebP", 64, 64, "cat")
    assert (bmp.format, bmp.width, bmp.height, bmp.label) == ("BMP", 20, 10, "dog")
    assert found.same == found.together == found.conflicts == ()


def test_copies_are_found_and_stay_on_one_side(pets: Path) -> None:
    for number in range(6):
        put(pets / "cat" / f"again {number:02}.jpg", number, quality=50)
        shutil.copy(pets / "dog" / f"{number:02}.jpg", pets / "dog" / f"copy {number:02}.jpg")
    found = survey(pets)
    same = {frozenset(pair) for pair in paths(found, found.same)}
    assert same == {frozenset((f"cat/{n:02}.jpg", f"cat/again {n:02}.jpg")) for n in range(6)} | {
        frozenset((f"dog/{n:02}.jpg", f"dog/copy {n:02}.jpg")) for n in range(6)
    }
    for seed in range(10):
        where = {file.path: file.split for file in split(pets, split_seed=seed).files}
        assert all(len({where[path] for path in pair}) == 1 for pair in same)


def test_a_picture_under_two_labels_is_left_out_or_trained_on(pets: Path) -> None:
    shutil.copy(pets / "cat" / "03.jpg", pets / "dog" / "cat.jpg")
    put(pets / "dog" / "small cat.jpg", 3, quality=60)
    found = survey(pets)
    (conflict,) = paths(found, found.conflicts)
    assert set(conflict) == {"cat/03.jpg", "dog/cat.jpg", "dog/small cat.jpg"}
    without = split(pets)
    assert without.conflicts == (conflict,)
    assert not {file.path for file in without.files} & set(conflict)
    assert len(without.files) == 23
    for seed in range(10):
        kept = split(pets, keep_conflicts=True, split_seed=seed)
        where = {file.path: file.split for file in kept.files}
        assert {where[path] for path in conflict} == {"train"}
        assert len(where) == 26


def test_a_smaller_copy_under_another_label_is_a_warning(pets: Path) -> None:
    scene(3).resize((36, 36)).save(pets / "dog" / "small cat.png")
    dataset = split(pets)
    assert dataset.conflicts == ()
    where = {file.path: file.split for file in dataset.files}
    assert len(where) == 25 and where["cat/03.jpg"] == where["dog/small cat.png"]
    assert dataset.warnings == (
        "2 images look like images of another class, such as cat/03.jpg and dog/small cat.png: all "
        "are used. Check that both labels are right.",
    )


def inspected(root: Path, splits: tuple[str, ...] = ("",)) -> Path:
    """One scene: the class is a scratch."""
    for split_name in splits:
        for number in range(12):
            random = np.random.default_rng(number + 100 * len(split_name))
            noise = random.normal(0, 3, (96, 96, 3))
            clean = (np.asarray(photo(3), float) + noise).clip(0, 255).astype(np.uint8)
            for label in ("ok", "scratch"):
                image = Image.fromarray(clean)
                if label == "scratch":
                    x, y = random.integers(20, 60, 2)
                    ImageDraw.Draw(image).line((x, y, x + 12, y + 8), fill=(20, 20, 20), width=2)
                path = root / split_name / label / f"{number:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
    return root


def test_photos_of_one_scene_can_be_split(tmp_path: Path) -> None:
    data = inspected(tmp_path / "inspection")
    found = survey(data)
    assert found.conflicts == () and found.alike
    with pytest.raises(DataError, match="alike count as one: --near-duplicates warn splits them"):
        split_survey(found, SplitOptions())
    for mode in ("warn", "ignore"):
        options = SplitOptions(near_duplicates=mode)
        dataset = load_dataset(data, options)
        assert min(min(counts.values()) for counts in dataset.counts().values()) >= 2
        assert any("images of another class" in line for line in dataset.warnings) == (
            mode == "warn"
        )
    assert survey(data, near_duplicates="ignore").near == {}


def test_given_splits_of_one_scene_are_used(tmp_path: Path) -> None:
    dataset = split(inspected(tmp_path / "given", ("train", "val", "test")))
    assert len(dataset.files) == 72 and dataset.conflicts == ()
    assert "look like images of another given split" in dataset.warnings[1]


def test_one_large_group_is_said(pets: Path) -> None:
    for number in range(50):
        put(pets / "cat" / f"again {number:02}.jpg", 3, quality=30 + number)
    (warning,) = split(pets).warnings
    assert warning.startswith("51 of 74 images look alike and form one group")
    assert split_survey(survey(pets, near_duplicates="warn"), SplitOptions()).warnings == ()


def augmented(folder: Path) -> Path:
    """Two classes of six photos, each with a flipped and a turned variant."""
    for seed in range(12):
        image = photo(seed)
        path = folder / "ab"[seed % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path.with_stem(f"{seed}_flip"))
        image.rotate(15).save(path.with_stem(f"{seed}_rot15"))
    return folder


def test_variants_made_before_the_split_are_a_warning_until_they_are_grouped(
    tmp_path: Path,
) -> None:
    folder = augmented(tmp_path / "photos")
    (by_name,) = split_survey(survey(folder), SplitOptions()).warnings
    assert by_name.startswith("36 images are named as variants of others, such as a/0.png and")
    assert "--group-by variants" in by_name
    for pattern in ("variants", r"/(\d+)"):
        grouped = load_dataset(folder, layout=Layout(group_by=pattern))
        assert grouped.warnings == ()
        splits = {(original_name(file.path), file.split) for file in grouped.files}
        assert len(splits) == 12
    for number, path in enumerate(sorted(folder.rglob("*_flip.png"))):
        path.rename(path.with_name(f"other {number}.png"))
        path.with_name(path.name.replace("flip", "rot15")).unlink()
    (by_content,) = split_survey(survey(folder), SplitOptions()).warnings
    assert by_content.startswith("24 images are, mirrored or turned, variants of others")
    with pytest.raises(SettingsError, match="is found in no path, such as a"):
        load_dataset(folder, layout=Layout(group_by="patient"))


def test_a_given_group_stays_on_one_side(pets: Path) -> None:
    table = pets / "images.csv"
    rows = [
        f"{label}/{number:02}.jpg,{label},{f'burst {number // 3}' if label == 'cat' else ''}"
        for label in ("cat", "dog")
        for number in range(12)
    ]
    table.write_text("\n".join(["path,label,group", *rows]))
    for seed in range(10):
        dataset = split(table, split_seed=seed)
        bursts: dict[str, set[str]] = {}
        for file in dataset.files:
            if file.label == "cat":
                bursts.setdefault(file.group, set()).add(file.split)
        assert len(bursts) == 4
        assert all(len(splits) == 1 for splits in bursts.values())
        assert {file.split for file in dataset.files} == {"train", "validation", "test"}


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Given splits: a validation and a test image are in training, one of both in each other."""
    first = 0
    for name, count in (("train", 6), ("val", 4), ("test", 4)):
        for label in ("cat", "dog"):
            for number in range(count):
                put(tmp_path / "leaky" / name / label / f"{number}.jpg", first + number)
            first += 10
    root = tmp_path / "leaky"
    put(root / "val" / "cat" / "leak.jpg", 0, quality=60)
    shutil.copy(root / "test" / "dog" / "0.jpg", root / "train" / "dog" / "leak.jpg")
    shutil.copy(root / "test" / "cat" / "1.jpg", root / "val" / "cat" / "twin.jpg")
    return root


def test_leaks_across_given_splits_are_reported_and_dropped_on_request(leaky: Path) -> None:
    expected = (
        Leak("train/cat/0.jpg", "train", "val/cat/leak.jpg", "validation"),
        Leak("train/dog/leak.jpg", "train", "test/dog/0.jpg", "test"),
        Leak("val/cat/twin.jpg", "validation", "test/cat/1.jpg", "test"),
    )
    found_split = split(leaky)
    assert found_split.leaks == expected
    assert len(found_split.files) == 31
    dropped = split(leaky, drop_leaks=True)
    assert dropped.leaks == expected
    gone = {file.path for file in found_split.files} - {file.path for file in dropped.files}
    assert gone == {"train/cat/0.jpg", "train/dog/leak.jpg"}


def test_what_leaks_is_never_carved_from_training(leaky: Path) -> None:
    shutil.rmtree(leaky / "test")
    for seed in range(10):
        dataset = split(leaky, split_seed=seed)
        where = {file.path: file.split for file in dataset.files}
        assert where["train/cat/0.jpg"] == "train"  # beside val/cat/leak.jpg
        assert list(where.values()).count("test") == 2


def test_a_class_that_is_nothing_but_leaks_is_an_error(leaky: Path) -> None:
    for path in (leaky / "train" / "cat").iterdir():
        shutil.copy(path, leaky / "val" / "cat" / f"again {path.name}")
    with pytest.raises(DataError, match="Class cat has no train images left once those are set"):
        split(leaky, drop_leaks=True)


def test_many_damaged_images_are_an_error(pets: Path) -> None:
    for number in range(4):
        (pets / "cat" / f"{number:02}.jpg").write_bytes(b"")
    assert len(survey(pets).skipped) == 4
    (pets / "cat" / "04.jpg").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"5 of the 24 images .* such as cat/00\.jpg: the file is"):
        survey(pets)


def note_decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that the survey decodes from now on."""
    decoded: list[bytes] = []
    decode_each = pool.decode_each

    def noting(files: list[bytes]) -> Iterator[np.ndarray | DecodeError]:
        decoded.extend(files)
        return decode_each(files)

    monkeypatch.setattr(survey_module, "decode_each", noting)
    return decoded


def test_what_was_read_is_not_decoded_again(
    pets: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pets / "dog" / "00.jpg").write_bytes(b"<html>")
    decoded = note_decoded(monkeypatch)
    first = survey(pets, cache)
    assert len(decoded) == 24
    put(pets / "cat" / "new.jpg", 60)
    (pets / "cat" / "01.jpg").rename(pets / "dog" / "renamed.jpg")
    second = survey(pets, cache)
    assert len(decoded) == 26  # the new one, and what could not be read before
    assert {picture.sha256 for picture in second.pictures} > {p.sha256 for p in first.pictures}
    assert second == survey(pets)


def test_an_interrupted_survey_resumes(
    pets: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(what: str, done: int, count: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(pets, cache, stop)
    decoded = note_decoded(monkeypatch)
    assert len(survey(pets, cache).pictures) == 24
    assert len(decoded) <= 14


def test_bytes_that_only_look_like_an_image_are_named(pets: Path) -> None:
    buffer = io.BytesIO()
    scene(1).save(buffer, "PNG")
    (pets / "cat" / "cut").write_bytes(buffer.getvalue()[:60])
    (skipped,) = survey(pets).skipped
    assert skipped.path == "cat/cut"


def test_what_could_not_be_read_once_is_tried_again(
    pets: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(files: list[bytes]) -> Iterator[DecodeError]:
        return (DecodeError("decoding it needs over 1 GB of memory") for _ in files)

    with monkeypatch.context() as patch:
        patch.setattr(survey_module, "decode_each", full)
        with pytest.raises(DataError, match="decoding it needs over 1 GB of memory"):
            survey(pets, cache)
    assert len(survey(pets, cache).pictures) == 24


def test_a_pipe_that_a_table_names_is_no_image(pets: Path) -> None:
    os.mkfifo(pets / "pipe.png")
    rows = [f"{label}/{n:02}.jpg,{label}" for label in ("cat", "dog") for n in range(12)]
    (pets / "images.csv").write_text("\n".join(["path,label", *rows, "pipe.png,cat"]))
    (skipped,) = survey(pets / "images.csv").skipped
    assert skipped == Skipped("pipe.png", "it is no file but a pipe or a device")


def test_a_name_that_is_too_long_is_a_sentence(tmp_path: Path) -> None:
    for name in ("x" * 300, "x" * 300 + ".csv"):
        with pytest.raises(DataError, match="cannot be read: file name too long"):
            survey(tmp_path / name)


def test_a_decoder_that_is_killed_costs_one_image(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = slow_jpeg()
    (pets / "cat" / "05.jpg").write_bytes(slow)
    send = pool.Worker.send

    def send_and_kill(self: pool.Worker, files: list[bytes]) -> None:
        send(self, files)
        if slow in files:
            threading.Timer(0.5, self.process.kill).start()

    monkeypatch.setattr(pool.Worker, "send", send_and_kill)
    found = survey(pets)
    assert found.skipped == (Skipped("cat/05.jpg", "its decoder crashed"),)
    assert len(found.pictures) == 23
