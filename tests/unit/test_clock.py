from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.clock import format_time, json_times, parse_time

MOMENT = datetime(2026, 11, 21, 20, 46, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (MOMENT, "2026-11-21T20:46:00Z"),
        (MOMENT.replace(microsecond=7_000), "2026-11-21T20:46:00.007Z"),
        (MOMENT.replace(microsecond=7_999), "2026-11-21T20:46:00.007Z"),
        (MOMENT.astimezone(timezone(timedelta(hours=9))), "2026-11-21T20:46:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc_with_z(moment: datetime, text: str) -> None:
    assert format_time(moment) == text


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2025-04-08T03:18:43Z", 0),
        ("2025-04-08T03:18:43.5Z", 500_000),
        ("2025-04-08T03:18:43.758Z", 758_000),
        ("2025-04-08T03:18:43.509465Z", 509_465),
        ("2025-04-08T03:18:43.509465999Z", 509_465),
    ],
)
def test_access_analyzers_fractions_of_a_second_are_read(text: str, microsecond: int) -> None:
    expected = datetime(2025, 4, 8, 3, 18, 43, microsecond, tzinfo=UTC)

    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T22:46:00.654+02:00",
        "2026-11-21T15:16:00.654-05:30",
        "2026-11-21T20:46:00.654123+00:00",
    ],
)
def test_an_offset_behind_a_fraction_is_kept(text: str) -> None:
    assert format_time(parse_time(text)) == "2026-11-21T20:46:00.654Z"


def test_a_time_without_a_zone_is_utc() -> None:
    assert parse_time("2026-11-21T20:46:00") == MOMENT


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-21T20:46:00.5x", "1763757960",
     "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-01:00"],
)  # fmt: skip
def test_what_names_no_moment_in_utc_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_a_written_time_reads_back_to_the_millisecond(moment: datetime) -> None:
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:  # the first and last day there are
        return

    back = parse_time(format_time(moment))

    assert timedelta(0) <= in_utc - back < timedelta(milliseconds=1)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        moment = parse_time(text)
    except ValueError:
        return

    assert moment.tzinfo is UTC
    assert parse_time(format_time(moment)) <= moment


def test_the_moments_in_a_value_become_texts() -> None:
    moment = datetime(2026, 11, 21, 20, 46, tzinfo=UTC)

    assert json_times({"a": [moment, {"b": moment}], "c": 1, "d": None}) == {
        "a": ["2026-11-21T20:46:00Z", {"b": "2026-11-21T20:46:00Z"}],
        "c": 1,
        "d": None,
    }
