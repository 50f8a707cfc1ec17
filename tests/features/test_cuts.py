"""The chosen cuts against every other choice, with costs computed in another way."""

import itertools
from collections.abc import Mapping, Sequence

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.backbone import CUTS, multiply_accumulates
from search_spaces.resnet50 import UNFREEZE_BLOCKS
from tuner.features.cuts import (
    READ_SECONDS_PER_BYTE,
    WRITE_SECONDS_PER_BYTE,
    Costs,
    Segment,
    choose_cuts,
    compute_seconds,
)

# ResNet50 at 224 px: multiply-accumulates and bytes of each piece, of one image.
RESNET50 = [
    Segment(16, 118_013_952, 802_816),
    Segment(9, 1_618_477_056, 1_605_632),
    Segment(6, 732_168_192, 802_816),
    Segment(3, 655_097_856, 802_816),
    Segment(2, 295_436_288, 401_408),
    Segment(1, 218_365_952, 401_408),
    Segment(0, 218_365_952, 8_192),
]
SECONDS = 1 / 52 / sum(segment.multiply_accumulates for segment in RESNET50)  # 52 images a second
EVERYTHING = float(sum(segment.output_bytes for segment in RESNET50))


def price(
    segments: Sequence[Segment], chosen: Sequence[int], epochs: Mapping[int, float], seconds: float
) -> float:
    """Walks up the network once for the store, and once for each trained depth."""
    total, walked = 0.0, 0.0
    for segment in segments:
        walked += segment.multiply_accumulates * seconds
        if segment.cut in chosen:
            total += walked + segment.output_bytes * WRITE_SECONDS_PER_BYTE
            walked = 0.0
    for depth, count in epochs.items():
        epoch = 0.0
        for segment in segments:
            epoch += segment.multiply_accumulates * seconds
            if segment.cut in chosen:
                epoch = segment.output_bytes * READ_SECONDS_PER_BYTE
            if segment.cut == depth:
                break
        total += count * epoch
    return total


def room_of(segments: Sequence[Segment], chosen: Sequence[int]) -> int:
    return sum(segment.output_bytes for segment in segments if segment.cut in chosen)


def assert_best(
    segments: Sequence[Segment], epochs: Mapping[int, float], costs: Costs
) -> tuple[int, ...]:
    chosen = choose_cuts(segments, epochs, costs)
    cuts = [segment.cut for segment in segments]
    assert list(chosen) == [cut for cut in cuts if cut in chosen]
    limit = float("inf") if costs.limit_bytes is None else costs.limit_bytes
    assert room_of(segments, chosen) * costs.images <= limit
    allowed = [
        others
        for size in range(len(cuts) + 1)
        for others in itertools.combinations(cuts, size)
        if room_of(segments, others) * costs.images <= limit
    ]
    seconds = costs.seconds_per_multiply_accumulate
    best = min(price(segments, others, epochs, seconds) for others in allowed)
    assert price(segments, chosen, epochs, seconds) <= best * (1 + 1e-9) + 1e-15
    return chosen


@st.composite
def networks(draw: st.DrawFn) -> list[Segment]:
    return [
        Segment(cut, draw(st.integers(10**5, 2 * 10**9)), draw(st.integers(1000, 2 * 10**6)))
        for cut in CUTS[-draw(st.integers(1, 6)) :]
    ]


@settings(max_examples=150, deadline=None)
@given(
    networks(),
    st.dictionaries(st.sampled_from(CUTS), st.floats(0, 3000), max_size=7),
    st.floats(1e-13, 1e-10),
    st.integers(1, 10**5),
    st.none() | st.floats(0, 1.2),
)
def test_no_other_choice_is_faster(
    segments: list[Segment],
    epochs: dict[int, float],
    seconds: float,
    images: int,
    share: float | None,
) -> None:
    known = {segment.cut for segment in segments}
    epochs = {cut: count for cut, count in epochs.items() if cut in known}
    everything = images * room_of(segments, list(known))
    limit = None if share is None else int(share * everything)
    assert_best(segments, epochs, Costs(seconds, images, limit))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(CUTS), st.floats(0, 3000)), st.none() | st.floats(0, 1.2))
def test_no_other_choice_is_faster_for_resnet50(
    epochs: dict[int, float], share: float | None
) -> None:
    limit = None if share is None else int(share * EVERYTHING * 1000)
    assert_best(RESNET50, epochs, Costs(SECONDS, 1000, limit))


def test_head_only_stores_the_pooled_features_alone() -> None:
    assert choose_cuts(RESNET50, {0: 143.0}, Costs(SECONDS, 800)) == (0,)


@pytest.mark.parametrize("limit", [0, 8_192 * 800 - 1])
def test_nothing_is_stored_without_room(limit: int) -> None:
    assert choose_cuts(RESNET50, {0: 143.0}, Costs(SECONDS, 800, limit)) == ()


def test_the_limit_may_be_reached() -> None:
    assert choose_cuts(RESNET50, {0: 143.0}, Costs(SECONDS, 800, 8_192 * 800)) == (0,)


def test_nothing_is_stored_for_one_epoch() -> None:
    """It would be computed once in any case."""
    assert choose_cuts(RESNET50, {0: 1.0}, Costs(SECONDS, 800)) == ()


def test_nothing_is_stored_for_nothing() -> None:
    assert choose_cuts(RESNET50, {}, Costs(SECONDS, 800)) == ()
    assert choose_cuts(RESNET50, dict.fromkeys(CUTS, 0.0), Costs(SECONDS, 800)) == ()


def test_a_whole_search_stores_the_deep_cuts() -> None:
    epochs = dict.fromkeys(UNFREEZE_BLOCKS, 40.0)
    assert choose_cuts(RESNET50, epochs, Costs(SECONDS, 800)) == (9, 6, 3, 2, 1, 0)


def test_a_faster_processor_stores_less() -> None:
    epochs = dict.fromkeys(UNFREEZE_BLOCKS, 40.0)
    sizes = [
        len(choose_cuts(RESNET50, epochs, Costs(SECONDS / speed, 800)))
        for speed in (1, 10, 100, 1000)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_a_smaller_limit_never_makes_a_search_faster() -> None:
    epochs = dict.fromkeys(UNFREEZE_BLOCKS, 40.0)
    prices = []
    for share in (1.0, 0.6, 0.4, 0.2, 0.1, 0.01, 0.0):
        costs = Costs(SECONDS, 800, int(share * EVERYTHING * 800))
        prices.append(price(RESNET50, assert_best(RESNET50, epochs, costs), epochs, SECONDS))
    assert prices == sorted(prices)
    assert prices[-1] > 5 * prices[0]


def test_an_earlier_cut_can_serve_a_later_one() -> None:
    """The cut itself is twice as large as there is room for."""
    limit = 802_816 * 800
    assert choose_cuts(RESNET50, {9: 100.0}, Costs(SECONDS, 800, limit)) == (16,)


@pytest.mark.slow
def test_the_figures_above_are_resnet50s() -> None:
    from search_spaces.backbone import build_backbone, segments

    for segment, model in zip(RESNET50, segments(build_backbone(224, "none")), strict=True):
        assert isinstance(model, keras.Model)
        assert segment.multiply_accumulates == multiply_accumulates(model)
        size = 4
        for axis in model.output_shape[1:]:
            size *= axis
        assert segment.output_bytes == size


@pytest.mark.parametrize("begin", range(-1, len(RESNET50)))
def test_seconds_from_cut_to_cut(begin: int) -> None:
    for end in range(begin, len(RESNET50)):
        pieces = RESNET50[begin + 1 : end + 1]
        expected = sum(piece.multiply_accumulates for piece in pieces) * SECONDS
        assert compute_seconds(RESNET50, begin, end, SECONDS) == pytest.approx(expected)
    whole = compute_seconds(RESNET50, -1, len(RESNET50) - 1, SECONDS)
    assert whole == pytest.approx(1 / 52)
