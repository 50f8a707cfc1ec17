"""Sizes and times, read and written."""

import re
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuner.errors import SettingsError
from tuner.text import counted, duration, parse_size, parse_time, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("1kb", 1000),
        ("500 MB", 500_000_000),
        (" 20GB ", 20 * 10**9),
        ("1.5tb", 1_500_000_000_000),
        ("1e9", 10**9),
        ("2e3 kb", 2 * 10**6),
        (".5KB", 500),
        ("5.KB", 5000),
    ],
)
def test_sizes_are_parsed(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GB",
        "-1GB",
        "1 2GB",
        "1.2.3GB",
        ".",
        "1PB",
        "1d",
        "1e",
        "1e-3",
        "1e16",
        "nan",
        "inf",
        "1e400",
        "1GB please",
        "\u0661GB",
    ],
)
def test_other_texts_are_no_size(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a size\. Give a number with KB, MB, GB or TB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(30)),
        ("12h", timedelta(hours=12)),
        ("45m", timedelta(minutes=45)),
        ("90s", timedelta(seconds=90)),
        ("1.5h", timedelta(minutes=90)),
        ("2 H", timedelta(hours=2)),
        ("0s", timedelta(0)),
        ("1h30m", timedelta(minutes=90)),
        ("2h07m", timedelta(minutes=127)),
        ("3m05s", timedelta(seconds=185)),
        ("1d 12h 1s", timedelta(days=1.5, seconds=1)),
        ("1e3s", timedelta(seconds=1000)),
        ("10000d", timedelta(10_000)),
    ],
)
def test_times_are_parsed(text: str, expected: timedelta) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "10",
        "-1h",
        "1h30",
        "30m1h",
        "1m1m",
        "1h-3m",
        "1h 1kb",
        "1w",
        "1kb",
        "nonsense",
        "10001d",
        "1e300d",
        "1..5h",
    ],
)
def test_other_texts_are_no_time(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a time\. Give a number with d, h") as e:
        parse_time(text)
    assert repr(text) in str(e.value)


@given(st.integers(10, 10**7))
def test_a_printed_duration_is_a_time(seconds: int) -> None:
    assert abs(parse_time(duration(seconds)).total_seconds() - seconds) < 60


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    for parse in (parse_size, parse_time):
        try:
            parse(text)
        except SettingsError:
            continue


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1234, "1.2 KB"),
        (999_949, "999.9 KB"),
        (999_950, "1.0 MB"),
        (20 * 10**9, "20.0 GB"),
        (999_999_999_999, "1.0 TB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_are_formatted(count: int, expected: str) -> None:
    assert size(count) == expected


@given(st.integers(0, 10**15 - 10**11))
@example(999_960)
def test_a_formatted_size_is_below_a_thousand_of_its_unit_and_true(count: int) -> None:
    written = size(count)
    number, unit = written.split()
    assert float(number) < 1000
    smallest_shown = parse_size(f"1{unit}") * (1 if unit == "B" else 0.1)
    assert abs(parse_size(written) - count) <= 0.51 * smallest_shown


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (754, "12m34s"),
        (3599.7, "1h00m"),
        (7620, "2h07m"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@given(st.floats(0, 1e7))
def test_a_formatted_duration_is_true_and_short(seconds: float) -> None:
    written = duration(seconds)
    found = re.fullmatch(r"(?:(\d+)h(\d\d)m|(\d+)m(\d\d)s|([\d.]+)s)", written)
    assert found is not None
    hours, minutes, full_minutes, rest, only = found.groups()
    if hours is not None:
        assert int(minutes) < 60
        assert 0 <= seconds - (int(hours) * 3600 + int(minutes) * 60) + 0.5 < 61
    elif full_minutes is not None:
        assert int(full_minutes) < 60
        assert int(rest) < 60
        assert abs(int(full_minutes) * 60 + int(rest) - seconds) <= 0.51
    else:
        assert float(only) < 60
        assert abs(float(only) - seconds) <= (0.06 if "." in only else 0.51)


def test_one_has_no_plural() -> None:
    assert [counted(number, "epoch") for number in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]
