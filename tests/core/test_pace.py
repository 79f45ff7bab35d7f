from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._core.pace import FEWEST, GRAIN, GROWTH, Pace, beyond, pace

SECONDS = st.lists(st.floats(0, 1e6), min_size=FEWEST, max_size=300)
AGES = st.floats(0, 1e7)


def known(*seconds: float) -> Pace:
    found = pace(seconds)
    assert found is not None
    return found


def near(seconds: float) -> object:
    return pytest.approx(seconds, rel=GRAIN - 1)


def steady(number: int, at: float = 30.0, spread: float = 3.0, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(at, spread) for _ in range(number)]


@pytest.mark.parametrize("count", range(FEWEST))
def test_of_a_few_jobs_nothing_is_said(count: int) -> None:
    assert pace([10.0] * count) is None
    assert pace([10.0] * FEWEST) is not None


def test_half_of_the_jobs_take_longer_than_the_median_and_one_of_ten_longer_than_the_latest() -> (
    None
):
    spans = [known(*steady(300, seed=seed)).of(0.0) for seed in range(50)]

    others = [seconds for seed in range(50, 100) for seconds in steady(20, seed=seed)]
    pairs = [(span, other) for span in spans for other in others]
    count = len(pairs)
    assert sum(other > span.median for span, other in pairs) / count == pytest.approx(0.5, abs=0.03)
    assert sum(other > span.latest for span, other in pairs) / count == pytest.approx(0.1, abs=0.03)
    assert sum(other < span.soonest for span, other in pairs) / count < 0.15


def test_of_few_jobs_the_latest_is_longer_than_any_of_them() -> None:
    span = known(8.0, 9.0, 10.0, 11.0, 12.0).of(0.0)

    assert span.median == near(10.0)
    assert span.latest >= 12.0 * GROWTH


def test_a_job_that_has_outlived_the_quick_ones_is_a_slow_one() -> None:
    two_speeds = known(*[2.0, 2.0, 20.0] * 40)

    assert two_speeds.of(0.0).median == near(2.0)
    assert two_speeds.of(2.5).median == near(20.0)


def test_as_long_as_quick_ones_may_end_there_is_a_reason_to_look() -> None:
    two_speeds = known(*[2.0, 20.0, 20.0] * 40)

    assert two_speeds.of(0.0).median == near(20.0)
    assert two_speeds.of(0.0).soonest == 2.0
    assert two_speeds.of(2.0).soonest == 20.0


def test_a_route_that_became_slower_is_followed() -> None:
    before, after = [10.0] * 260, [30.0] * 40

    assert known(*before).of(0.0).median == near(10.0)
    assert known(*before, *after).of(0.0).median == near(30.0)
    assert known(*before, *after).of(0.0).soonest == 10.0


def test_who_takes_longer_than_any_may_take_half_as_long_again() -> None:
    assert beyond(20.0, 20.0).median == 30.0
    assert beyond(20.0, 29.0).median == 30.0
    assert beyond(20.0, 31.0).median == 45.0
    assert beyond(20.0, 31.0).latest == 45.0 * GROWTH


def test_another_job_like_the_others_is_no_news() -> None:
    seconds = steady(100)
    spans = [known(*seconds[: 60 + n]).of(0.0) for n in range(40)]

    moves = [after.median / before.median for before, after in pairwise(spans)]
    assert max(moves) < GRAIN**2
    assert sum(move != 1 for move in moves) < 10


@given(SECONDS, AGES)
def test_a_span_is_ordered_and_never_past(seconds: list[float], age: float) -> None:
    span = known(*seconds).of(age)

    assert age <= span.median * (1 + 1e-9)
    assert span.median <= span.latest * (1 + 1e-9)


@given(SECONDS, st.lists(AGES, min_size=2, max_size=50))
def test_who_has_taken_longer_takes_longer(seconds: list[float], ages: list[float]) -> None:
    found = known(*seconds)

    spans = [found.of(age) for age in sorted(ages)]

    for before, after in pairwise(spans):
        assert before.median <= after.median * (1 + 1e-9)


@given(SECONDS)
def test_what_is_said_of_a_job_changes_a_few_times_in_its_life(seconds: list[float]) -> None:
    found = known(*seconds)
    longest = found.stairs[-1]

    said = {found.of(longest * at / 1000).median for at in range(1000)}

    assert len(said) <= len(found.stairs) <= 12
