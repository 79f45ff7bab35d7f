from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import NOON, a_failure, a_result, running
from werkzeug.http import http_date

from deferit._core.job import Failure
from deferit._core.outcome import Outcome
from deferit._core.retry import LONGEST_PAUSE, retry_at

RAISED = Outcome(None, Failure("handler-exception", "The handler raised OSError."))


def answered(status: int, *headers: tuple[str, str]) -> Outcome:
    failure = Failure("handler-response", f"The handler answered {status}.")
    return Outcome(a_result(status=status, headers=headers), failure)


@pytest.mark.parametrize(("tries", "shortest", "longest"), [(0, 0.5, 1), (1, 1, 2), (4, 8, 16)])
def test_pauses_after_an_exception_grow_and_differ(
    tries: int, shortest: float, longest: float
) -> None:
    job = running(retries=9, tries=tries)

    assert retry_at(job, RAISED, NOON, 0.0) == NOON + shortest
    assert retry_at(job, RAISED, NOON, 1.0) == NOON + longest


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_no_pause_is_too_long(tries: int, chance: float) -> None:
    at = retry_at(running(retries=10_001, tries=tries), RAISED, NOON, chance)

    assert at is not None
    assert NOON < at <= NOON + LONGEST_PAUSE


def test_a_handler_that_names_a_pause_gets_it() -> None:
    job = running(retries=1)
    seconds = answered(503, ("Retry-After", "7"))
    date = answered(429, ("retry-after", http_date(NOON + 30)))
    past = answered(503, ("Retry-After", http_date(NOON - 30)))

    assert retry_at(job, seconds, NOON, 0.5) == NOON + 7
    assert retry_at(job, date, NOON, 0.5) == NOON + 30
    assert retry_at(job, past, NOON, 0.5) == NOON
    assert (
        retry_at(job, answered(503, ("Retry-After", "9" * 30)), NOON, 0.5) == NOON + LONGEST_PAUSE
    )


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "", "²"])
def test_a_pause_that_cannot_be_read_is_none(value: str) -> None:
    assert retry_at(running(retries=1), answered(503, ("Retry-After", value)), NOON, 0.5) is None


def test_what_is_no_failure_of_its_own_is_not_tried_again() -> None:
    job = running(retries=1)

    assert retry_at(job, Outcome(a_result(), None), NOON, 0.5) is None
    assert retry_at(job, answered(500), NOON, 0.5) is None
    assert retry_at(job, Outcome(None, a_failure("deadline-exceeded")), NOON, 0.5) is None
    assert retry_at(running(retries=1, tries=1), RAISED, NOON, 0.5) is None
    assert retry_at(running(), RAISED, NOON, 0.5) is None
