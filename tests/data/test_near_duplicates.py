"""Copies of a picture are near, other pictures are not, and the search misses no pair."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.near_images import CHANGES, PICTURES, icon, photo, saved
from tuner.data import near_duplicates
from tuner.data.near_duplicates import SIMILARITY, closest, fingerprint, near_pairs, turned_pairs

UNIT = 1000


def taken(*images: Image.Image | np.ndarray) -> list[bytes]:
    return [fingerprint(np.asarray(image)) for image in images]


def filled(*colour: int, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), colour, np.uint8)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("picture", PICTURES)
def test_a_copy_is_near(picture: str, change: str) -> None:
    image = PICTURES[picture]
    assert near_pairs(taken(image, CHANGES[change](image))).tolist() == [[0, 1]]


def test_a_large_photo_is_near_to_its_reduced_copy() -> None:
    """The large one is sampled, the small one is not."""
    large = photo(1, 1500)
    assert len(near_pairs(taken(large, large.resize((200, 200), Image.Resampling.BOX)))) == 1


def test_other_pictures_are_not_near() -> None:
    images = [draw(seed) for draw in (photo, icon) for seed in range(100)]
    assert len(near_pairs(taken(*images))) == 0


def test_a_mirrored_picture_is_another() -> None:
    image = photo(3)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert len(near_pairs(taken(image, mirrored))) == 0


@pytest.mark.parametrize("way", list(Image.Transpose))
def test_mirrored_and_turned_pictures_are_found(way: Image.Transpose) -> None:
    pictures = [np.asarray(photo(seed)) for seed in range(6)]
    turned = [np.asarray(photo(seed).transpose(way)) for seed in range(6)]
    found = turned_pairs([fingerprint(image) for image in [*pictures, *turned]])
    assert found.tolist() == [[number, number + 6] for number in range(6)]
    assert turned_pairs([fingerprint(image) for image in pictures]).shape == (0, 2)


def test_the_same_shape_in_another_colour_is_another() -> None:
    image = icon(2)
    red, green, blue = image.split()
    assert len(near_pairs(taken(image, Image.merge("RGB", (blue, red, green))))) == 0


def test_a_grey_shape_is_no_grey_copy_of_a_lighter_one() -> None:
    outline = np.asarray(icon(2).convert("L")).astype(float)
    images = []
    for shade in ((255, 160, 0), (60, 60, 60)):
        share = (255 - outline[:, :, None]) / 255
        images.append((255 - share * (255 - np.array(shade))).astype(np.uint8))
    assert len(near_pairs(taken(*images))) == 0


def test_flat_images_are_not_joined() -> None:
    noisy = filled(255, 255, 255).copy()
    noisy[::3, ::5] -= 2
    flat = [filled(255, 255, 255), filled(255, 255, 255), filled(0, 0, 0), filled(9, 80, 200)]
    flat += [noisy, np.asarray(saved(Image.fromarray(noisy), quality=30))]
    assert len(near_pairs(taken(*flat), 0.5)) == 0


def test_gradients_are_not_joined() -> None:
    ramps = [np.linspace(low, high, 64) for low, high in ((0, 255), (5, 240), (20, 250))]
    images = [np.repeat(ramp.astype(np.uint8)[:, None, None], 64, 1).repeat(3, 2) for ramp in ramps]
    assert len(near_pairs(taken(*images))) == 0


def upright(width: float = 0.2, centre: float = 0.5, depth: float = 200) -> Image.Image:
    """One soft upright shape on white: nearly all of its energy is in one frequency."""
    x = (np.arange(64) + 0.5) / 64
    row = 255 - depth * np.exp(-(((x - centre) / width) ** 2))
    return Image.fromarray(np.tile(row.astype(np.uint8)[None, :, None], (64, 1, 3)))


def test_copies_of_one_upright_shape_are_found() -> None:
    image = upright()
    assert np.frombuffer(fingerprint(np.asarray(image)), "<i2")[1] < 0
    for copy in (image, image.resize((48, 48)), image.resize((32, 32)), saved(image, quality=30)):
        assert len(near_pairs(taken(image, copy))) == 1


def test_other_upright_shapes_are_not() -> None:
    others = [upright(), upright(0.25), upright(0.16), upright(centre=0.53), upright(depth=150)]
    assert len(near_pairs(taken(*others))) == 0
    assert len(near_pairs(taken(upright(), upright().rotate(90)))) == 0


def test_slanted_gradients_are_not_joined() -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 64), np.linspace(0, 255, 64))
    shades = [(across + down) / 2, (across + down) / 2.1, (across * 0.98 + down) / 2]
    images = [shade.astype(np.uint8)[:, :, None].repeat(3, 2) for shade in shades]
    assert len(near_pairs(taken(*images))) == 0


def test_dots_in_different_places_are_not_joined() -> None:
    images = []
    for top, left in ((5, 5), (5, 50), (30, 30), (50, 10)):
        image = filled(255, 255, 255)
        image[top : top + 4, left : left + 4] = 0
        images.append(image)
    assert len(near_pairs(taken(*images))) == 0
    assert len(near_pairs(taken(images[0], images[0]))) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (3, 2), (64, 63)])
def test_any_size_is_taken(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert len(fingerprint(pixels)) == len(fingerprint(filled(0, 0, 0)))


def test_a_view_of_an_array_is_taken_and_left_as_it_is() -> None:
    pixels = np.asarray(photo(0)).copy()
    before = pixels.copy()
    assert fingerprint(pixels[::-1]) == fingerprint(np.ascontiguousarray(pixels[::-1]))
    assert np.array_equal(pixels, before)


def made(vector: np.ndarray, contrast: int = 5000, tint: int = 0) -> bytes:
    """A fingerprint of one colour whose views have the direction of a vector of 144 numbers."""
    row = np.zeros(near_duplicates._LENGTH, "<i2")
    row[:2] = near_duplicates.VERSION, contrast
    row[2 : -3 * 144] = tint
    length = np.linalg.norm(vector)
    row[-3 * 144 :] = np.tile(np.round(vector * (UNIT / length)) if length else vector, 3)
    return row.tobytes()


def brute_force(fingerprints: list[bytes], least: float) -> list[list[int]]:
    """Straight from the definition, pair by pair, in Python's integers."""
    rows = [np.frombuffer(one, "<i2").astype(int) for one in fingerprints]
    found = []
    for one, other in combinations(range(len(rows)), 2):
        ours, theirs = (
            rows[one][-3 * 144 :].reshape(3, 144),
            rows[other][-3 * 144 :].reshape(3, 144),
        )
        product = max(int(ours[a] @ theirs[b]) for a, b in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0)))
        least_contrast, largest_contrast = sorted((int(rows[one][1]), int(rows[other][1])))
        tints = sorted((int(rows[one][2]), int(rows[other][2])))
        as_they_are = tints[1] - tints[0] <= 12 and largest_contrast <= 1.5 * least_contrast
        without_colour = tints[0] < 4 and largest_contrast <= 1.1 * least_contrast
        if product >= least * UNIT**2 and (as_they_are or without_colour):
            found.append([one, other])
    return found


@st.composite
def fingerprint_lists(draw: st.DrawFn) -> list[bytes]:
    """Around a few centres, near enough for the threshold to run through the middle."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = random.normal(size=(draw(st.integers(1, 3)), 144))
    centres[:, 0] = 0
    spread = draw(st.sampled_from([0.0, 0.1, 0.14, 0.2, 0.4]))
    count = draw(st.integers(0, 24))
    kept = draw(st.sampled_from([1, 3, 144]))
    vectors = centres[random.integers(len(centres), size=count)]
    vectors = vectors + spread * random.normal(size=vectors.shape)
    vectors[:, 0] = 0
    if kept < 144:  # all energy where the search looks, or none
        vectors[:, kept + 1 :] = 0
    contrasts = random.choice([4000, 4400, 4401, 6000, 6001], count)
    tints = random.choice([0, 3, 4, 15, 16, 17], count)
    return [
        made(vector, int(contrast), int(tint))
        for vector, contrast, tint in zip(vectors, contrasts, tints, strict=True)
    ]


@given(fingerprint_lists(), st.sampled_from([0.9, 0.98, 1.0]), st.sampled_from([1, 4, 7, 512]))
@settings(deadline=None, max_examples=150)
def test_pairs_are_those_of_brute_force(
    fingerprints: list[bytes], least: float, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_BLOCK", block)
        found = near_pairs(fingerprints, least)
    assert found.dtype == np.int64 and found.shape[1] == 2
    assert found.tolist() == brute_force(fingerprints, least)


def test_a_pair_that_just_reaches_the_threshold_is_near() -> None:
    ours, theirs = np.zeros(144), np.zeros(144)
    ours[20], theirs[20], theirs[30] = 1, 0.6, 0.8
    pair = [made(ours), made(theirs)]
    assert len(near_pairs(pair, 0.6)) == 1
    assert len(near_pairs(pair, 0.6001)) == 0


def test_many_images_are_compared_in_blocks() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(3000, 144))
    copies = {700: 3, 2999: 0, 1500: 1499, 513: 511}
    for copy, original in copies.items():
        vectors[copy] = vectors[original]
    expected = sorted([original, copy] for copy, original in copies.items())
    assert near_pairs([made(vector) for vector in vectors]).tolist() == expected


def test_the_closest_pairs_come_first_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    centre = np.zeros(144)
    centre[20] = 1
    vectors = np.tile(centre, (8, 1))
    vectors[:, 30] = [0, 0.04, 0.09, 0.15, 0.22, 0.3, 0.39, 0.49]
    fingerprints = [made(vector) for vector in vectors]
    pairs = near_pairs(fingerprints, 0.9)
    assert len(pairs) > 20
    monkeypatch.setattr(near_duplicates, "_CLOSEST", 1)
    found = closest(fingerprints, pairs).tolist()
    assert found[0] == [0, 1]
    assert {number for pair in found for number in pair} == set(range(8))
    assert len(found) <= 8
    monkeypatch.setattr(near_duplicates, "_MOST_PAIRS", 2)
    assert closest(fingerprints, pairs).tolist() == found[:2]


def test_no_images_have_no_pairs() -> None:
    assert near_pairs([]).shape == (0, 2)
    assert closest([], near_pairs([])).shape == (0, 2)


def test_a_fingerprint_of_another_version_is_refused() -> None:
    row = np.frombuffer(fingerprint(filled(1, 2, 3)), "<i2").copy()
    row[0] += 1
    with pytest.raises(ValueError, match="version"):
        near_pairs([row.tobytes()])
    with pytest.raises(ValueError, match="bytes"):
        near_pairs([row.tobytes()[:-2]])


def test_the_threshold_is_the_default() -> None:
    image = photo(5)
    pair = taken(image, CHANGES["JPEG 30"](image))
    assert near_pairs(pair).tolist() == near_pairs(pair, SIMILARITY).tolist()


def test_threads_take_the_same_fingerprints() -> None:
    images = [np.asarray(image) for image in PICTURES.values()] * 8
    alone = [fingerprint(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fingerprint, images)) == alone
