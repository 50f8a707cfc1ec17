"""Near images: copies are the same picture, another print or a scratch is not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.near_images import CHANGES, PICTURES, icon, photo, saved
from tuner.counting import silent
from tuner.data import second_look
from tuner.data.near_duplicates import fingerprint, near_pairs
from tuner.data.second_look import Likeness, compare, detail, look_again
from tuner.data.survey_cache import FactStore


def likeness(one: Image.Image, other: Image.Image) -> Likeness:
    ours, theirs = (detail(np.asarray(image)) for image in (one, other))
    return compare(ours, theirs, one.size == other.size)


def printed(seed: int, share: float = 0.25) -> Image.Image:
    """One of many prints on the middle of the same cloth."""
    cloth = photo(7, 160)
    side = round(cloth.width * share)
    left = (cloth.width - side) // 2
    print_ = icon(seed, side)
    ink = Image.fromarray((255 - np.asarray(print_).min(axis=2)).clip(0, 64) * 3)
    cloth.paste(print_, (left, left), ink)
    return cloth


def scratched(image: Image.Image, left: int, top: int) -> Image.Image:
    marked = image.copy()
    shade = 230 if marked.convert("L").getpixel((left, top)) < 128 else 25
    ImageDraw.Draw(marked).line((left, top, left + 14, top + 9), fill=(shade,) * 3, width=2)
    return saved(marked)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("picture", PICTURES)
def test_a_copy_is_the_same_picture(picture: str, change: str) -> None:
    image = PICTURES[picture]
    assert likeness(image, CHANGES[change](image)) >= Likeness.COPY


@pytest.mark.parametrize("quality", [95, 75])
def test_a_file_saved_again_is_recoded(quality: int) -> None:
    for image in PICTURES.values():
        assert likeness(image, saved(image, quality=quality)) == Likeness.RECODED
        assert likeness(image, CHANGES["half the size"](image)) == Likeness.COPY


def test_other_prints_on_one_cloth_look_alike_and_are_no_copies() -> None:
    images = [printed(seed) for seed in range(8)]
    found = near_pairs([fingerprint(np.asarray(image)) for image in images])
    assert len(found) > 10
    assert {likeness(images[one], images[other]) for one, other in found} == {Likeness.ALIKE}


def test_the_same_print_again_is_a_copy() -> None:
    for seed in range(4):
        assert likeness(printed(seed), saved(printed(seed), quality=60)) >= Likeness.COPY


def test_a_scratch_is_no_copy() -> None:
    clean = photo(3, 160)
    images = [scratched(clean, *place) for place in ((60, 60), (90, 100), (30, 110))]
    for image in images:
        assert len(near_pairs([fingerprint(np.asarray(each)) for each in (clean, image)])) == 1
        assert likeness(clean, image) == Likeness.ALIKE
    assert likeness(images[0], images[1]) == Likeness.ALIKE


def test_a_detail_in_another_colour_is_no_copy() -> None:
    shirt = photo(5, 160)
    images = []
    for colour in ((40, 150, 60), (150, 95, 150)):  # of one brightness
        image = shirt.copy()
        ImageDraw.Draw(image).ellipse((60, 60, 100, 100), fill=colour)
        images.append(image)
    assert likeness(*images) == Likeness.ALIKE


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 2), (9, 9)])
def test_any_size_is_compared(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert likeness(image, image) == Likeness.RECODED
    assert likeness(image, photo(1)) in Likeness


def test_pairs_are_compared_once_and_lost_files_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []
    for number, image in enumerate((photo(0), saved(photo(0)), photo(1))):
        path = tmp_path / f"{number}.png"
        image.save(path)
        images.append(second_look.Image(path, str(number), image.size))
    images[2].path.unlink()
    with FactStore(None, 1) as store:
        found = look_again(images, [(0, 1), (0, 2)], store, silent)
        assert found == {(0, 1): Likeness.RECODED}
        monkeypatch.setattr(second_look, "compare", None)
        assert look_again(images, [(0, 1)], store, silent) == found
