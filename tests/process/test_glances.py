from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._process.glances import LATER, SHARE, SHORTEST, Glances

LONGEST = 0.05


def looks(glances: Glances, until: float) -> list[float]:
    """Return when it looks from now on, by a clock that begins at 0."""
    instants = [0.0]
    while instants[-1] < until:
        instants.append(instants[-1] + glances.pause(instants[-1]))
    return instants


def test_without_a_reason_it_looks_as_seldom_as_it_may() -> None:
    assert Glances(LONGEST).pause(7.0) == LONGEST


def test_with_a_reason_it_looks_at_once_and_then_more_and_more_seldom() -> None:
    glances = Glances(LONGEST)
    glances.stir(7.0)

    pauses = [glances.pause(7.0 + after) for after in (0.0, 0.004, 0.02, 0.1, 0.2, 60.0)]

    assert pauses == [pytest.approx(pause) for pause in (0.001, 0.001, 0.005, 0.025, 0.05, 0.05)]


def test_who_waits_for_long_costs_a_few_looks_more_than_nobody() -> None:
    glances = Glances(LONGEST)
    glances.stir(0.0)

    assert len(looks(glances, 10.0)) <= 10.0 / LONGEST + 20


@given(st.floats(0, 10))
def test_what_happens_is_noticed_a_part_of_the_time_later_that_it_took(instant: float) -> None:
    glances = Glances(LONGEST)
    glances.stir(0.0)

    noticed = next(look for look in looks(glances, instant) if look >= instant)

    assert noticed - instant <= min(max(SHORTEST, LATER * instant), LONGEST) + 1e-9


def test_looks_that_always_find_something_take_a_small_part_of_the_time() -> None:
    glances = Glances(LONGEST)
    glances.stir(0.0)
    glances.looked(0.0005)

    assert glances.pause(0.0) == pytest.approx(0.0005 / SHARE)
