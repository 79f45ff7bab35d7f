from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit.pages.words import (
    DAY,
    HOUR,
    MINUTE,
    amount,
    instant,
    left,
    seconds_between,
    size,
    took,
)

SPANS = st.floats(0, 400 * DAY)


@pytest.mark.parametrize(
    ("seconds", "latest", "said"),
    [
        (0, 0, "a few seconds left"),
        (4, 9, "a few seconds left"),
        (4, 25, "a few seconds left, at most 30 seconds"),
        (6, 6, "about 5 seconds left"),
        (12, 23, "about 10 seconds left, at most 30"),
        (37, 44, "about 40 seconds left, at most 50"),
        (40, 40, "about 40 seconds left"),
        (57, 57, "about 1 minute left"),
        (50, 75, "about 50 seconds left, at most 2 minutes"),
        (118, 235, "about 2 minutes left, at most 4"),
        (20 * MINUTE + 20, 32 * MINUTE, "about 20 minutes left, at most 35"),
        (58 * MINUTE, 58 * MINUTE, "about 1 hour left"),
        (11.2 * HOUR, 11.2 * HOUR, "about 11 hours left"),
        (30 * HOUR, 3 * DAY, "about 30 hours left, at most 3 days"),
        (5 * DAY, 5 * DAY, "about 5 days left"),
    ],
)
def test_an_estimate_is_told_as_a_person_would(seconds: float, latest: float, said: str) -> None:
    assert left(seconds, latest) == said


@given(SPANS, SPANS)
def test_the_bound_is_never_under_the_latest(seconds: float, more: float) -> None:
    latest = seconds + more
    most = amount(latest, math.ceil)

    units = {"second": 1, "minute": MINUTE, "hour": HOUR, "day": DAY}
    assert most.count * units[most.unit] >= latest
    assert most.count >= 1


@given(SPANS)
def test_a_span_is_off_by_a_quarter_at_the_most_once_it_is_ten_seconds(seconds: float) -> None:
    told = amount(seconds)

    units = {"second": 1, "minute": MINUTE, "hour": HOUR, "day": DAY}
    assert abs(told.count * units[told.unit] - seconds) <= max(5, seconds / 4)


@given(SPANS, SPANS)
def test_a_longer_span_is_never_told_shorter(one: float, other: float) -> None:
    units = {"second": 1, "minute": MINUTE, "hour": HOUR, "day": DAY}
    shorter, longer = (amount(span) for span in sorted((one, other)))

    assert shorter.count * units[shorter.unit] <= longer.count * units[longer.unit]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "less than a second"),
        (0.2, "less than a second"),
        (4.25, "4.2 seconds"),
        (59.4, "59 seconds"),
        (59.6, "1 minute"),
        (61, "1 minute 1 second"),
        (2 * MINUTE + 3, "2 minutes 3 seconds"),
        (HOUR + 5 * MINUTE + 3, "1 hour 5 minutes"),
        (3 * DAY + 2 * HOUR, "3 days 2 hours"),
    ],
)
def test_what_something_took_is_told_in_two_units(seconds: float, said: str) -> None:
    assert took(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (52_428_800, "52.4 MB")],
)
def test_sizes(count: int, said: str) -> None:
    assert size(count) == said


def test_an_instant_is_an_element_that_scripts_can_read() -> None:
    assert instant("2027-01-15T08:00:01.250Z") == (
        '<time datetime="2027-01-15T08:00:01.250Z">2027-01-15 08:00:01 UTC</time>'
    )


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2300, 1, 1)),  # noqa: DTZ001  made aware below
    st.timedeltas(timedelta(0), timedelta(days=30)),
)
def test_the_span_between_two_instants(at: datetime, span: timedelta) -> None:
    earlier, later = (f"{moment.isoformat()}Z" for moment in (at, at + span))

    assert seconds_between(earlier, later) == pytest.approx(span.total_seconds())
