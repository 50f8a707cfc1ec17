"""Groups that are never parted, and splits that can be repeated."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.data.splits import SPLITS, Member, components, group_names, split_members
from tuner.errors import DataError

SHARES = {"test": 0.15, "validation": 0.15}


def test_components_are_what_pairs_connect() -> None:
    assert components([(4, 2), (7, 8), (2, 9), (8, 7)]) == ((2, 4, 9), (7, 8))
    assert components([]) == ()


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20), st.randoms())
def test_components_do_not_depend_on_the_order_of_pairs(
    pairs: list[tuple[int, int]], random: object
) -> None:
    found = components(pairs)
    shuffled = [pair[::-1] for pair in pairs]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert components(shuffled) == found
    assert sorted(n for numbers in found for n in numbers) == sorted({n for p in pairs for n in p})
    where = {number: place for place, numbers in enumerate(found) for number in numbers}
    assert all(where[one] == where[other] for one, other in pairs)


def test_a_group_has_the_least_key_of_its_members() -> None:
    assert group_names(["d", "b", "c", "a"], [(0, 2), (2, 1)]) == ["b", "b", "b", "a"]


MEMBERS = st.lists(
    st.builds(Member, st.sampled_from("abc"), st.integers(0, 25).map(str)), min_size=1, max_size=120
)
FRACTIONS = st.floats(0.01, 0.45)


@given(members=MEMBERS, val=FRACTIONS, test=FRACTIONS, seed=st.integers(0, 5))
def test_no_group_is_parted_and_every_class_gets_its_share_or_it_is_an_error(
    members: list[Member], val: float, test: float, seed: int
) -> None:
    shares = {"test": test, "validation": val}
    home: dict[str, Counter[str]] = {}
    for member in members:
        home.setdefault(member.group, Counter())[member.label] += 1
    label_of = {group: min(c, key=lambda name: (-c[name], name)) for group, c in home.items()}
    groups_of = Counter(label_of.values())
    if any(groups_of[member.label] < 3 for member in members):
        with pytest.raises(DataError, match=r"different images to split.*, but needs at least 3"):
            split_members(members, shares, seed)
        return
    splits = split_members(members, shares, seed)
    assert splits == split_members(members, shares, seed)
    where: dict[str, set[str]] = {}
    for member, split in zip(members, splits, strict=True):
        where.setdefault(member.group, set()).add(split)
    assert all(len(found) == 1 for found in where.values())
    for label in groups_of:
        sizes = {group: home[group].total() for group, own in label_of.items() if own == label}
        total = sum(sizes.values())
        for split, share in shares.items():
            chosen = [group for group in sizes if where[group] == {split}]
            wanted = max(1, round(total * share))
            assert chosen
            assert sum(map(sizes.__getitem__, chosen)) <= max(2 * wanted, min(sizes.values()))
        assert any(where[group] == {"train"} for group in sizes)


@given(
    sizes=st.lists(st.integers(1, 3), min_size=30, max_size=60),
    seed=st.integers(0, 9),
    extra=st.integers(1, 3),
)
def test_what_is_added_moves_few_others(sizes: list[int], seed: int, extra: int) -> None:
    members = [Member("a", str(n)) for n, size in enumerate(sizes) for _ in range(size)]
    added = [Member("a", f"new {n}") for n in range(extra)]
    before = split_members(members, SHARES, seed)
    after = split_members([*members, *added], SHARES, seed)[: len(members)]
    moved = {m.group for m, old, new in zip(members, before, after, strict=True) if old != new}
    assert len(moved) <= 4 * extra + 2


def test_groups_that_stand_somewhere_stay_there() -> None:
    members = [Member("a", str(n)) for n in range(40)]
    members += [Member("a", "0", "validation"), Member("a", "1", "test"), Member("a", "2", "train")]
    splits = split_members(members, {"test": 0.2}, 0)
    assert splits[40:] == ["validation", "test", "train"]
    assert splits[:3] == ["train"] * 3  # never beside what stands in another split
    assert splits.count("test") == 1 + round(0.2 * 37)


def test_with_nothing_to_fill_all_is_for_training() -> None:
    assert split_members([Member("a", "0"), Member("b", "1")], {}, 0) == ["train", "train"]


def test_a_burst_that_is_too_large_is_passed_over() -> None:
    members = [Member("a", "burst")] * 40 + [Member("a", str(n)) for n in range(60)]
    for seed in range(20):
        splits = split_members(members, SHARES, seed)
        assert splits[0] == "train"
        assert Counter(splits) == {"train": 70, "test": 15, "validation": 15}


def test_another_seed_draws_another_split() -> None:
    members = [Member("a", str(n)) for n in range(50)]
    assert len({tuple(split_members(members, SHARES, seed)) for seed in range(5)}) == 5
    assert SPLITS == ("train", "validation", "test")
