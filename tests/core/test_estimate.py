from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import NOON, SITE, a_job, canceled, failed, running, succeeded

from deferit._core.document import retry_after, status_document
from deferit._core.estimate import Estimate, estimate

if TYPE_CHECKING:
    from deferit._core.job import Job

HOUR = 3600.0


def halfway(percent: int, at: float) -> Job:
    return running().reported(NOON + at, percent, None)


@pytest.mark.parametrize(
    "job",
    [
        a_job(),
        running(),
        running().reported(NOON, None, "rows"),
        running().reported(NOON, 0, None),
        halfway(40, 10).ended(NOON + 20, None, None),
        succeeded(),
        failed(),
        canceled(),
        a_job(due_at=NOON + HOUR).canceled(NOON, "never started"),
    ],
)
def test_nothing_is_said_where_nothing_is_known(job: Job) -> None:
    assert estimate(job, NOON + 5) is None
    assert "estimatedCompletion" not in status_document(job, SITE, NOON + 5, 0)


def test_a_job_that_reports_is_taken_to_go_on_as_it_did() -> None:
    assert estimate(halfway(25, 10), NOON + 10) == Estimate(NOON + 40, NOON + 70)


def test_a_job_that_is_late_may_end_any_moment() -> None:
    assert estimate(halfway(25, 10), NOON + 60) == Estimate(NOON + 60, NOON + 70)
    assert estimate(halfway(25, 10), NOON + 90) == Estimate(NOON + 90, NOON + 90)


def test_a_job_that_waits_for_its_window_is_finished_no_earlier() -> None:
    job = a_job(due_at=NOON + HOUR)

    assert estimate(job, NOON) == Estimate(NOON + HOUR, NOON + HOUR)
    assert estimate(job, NOON + HOUR) is None
    found = status_document(job, SITE, NOON, 0)
    assert found["estimatedCompletion"] == "2027-01-15T09:00:00.000Z"
    assert found["estimatedCompletionLatest"] == "2027-01-15T09:00:00.000Z"


def test_a_clock_that_is_set_while_a_job_runs_does_no_harm() -> None:
    ahead = a_job(created_at=0.0).claimed(0.0).reported(NOON, 1, None)
    back = running().reported(NOON - HOUR, 50, None)

    for job in (ahead, back):
        document = status_document(job, SITE, NOON, None)
        assert document["estimatedCompletion"] <= document["estimatedCompletionLatest"]
        assert 1 <= retry_after(job, NOON) <= 30


def test_a_clock_that_is_set_back_makes_no_window() -> None:
    assert estimate(a_job(), NOON - HOUR) is None
    assert retry_after(a_job(), NOON - HOUR) == 1


@pytest.mark.parametrize(("left", "pause"), [(HOUR, 3600), (0.2, 1), (45.5, 46)])
def test_a_client_is_asked_to_come_back_when_the_window_opens(left: float, pause: int) -> None:
    assert retry_after(a_job(due_at=NOON + HOUR), NOON + HOUR - left) == pause


@pytest.mark.parametrize(("at", "pause"), [(10, 15), (30, 5), (38, 1), (40, 1), (99, 1)])
def test_a_client_is_asked_to_come_back_after_half_of_what_is_left(at: float, pause: int) -> None:
    assert retry_after(halfway(25, 10), NOON + at) == pause


def test_a_client_is_asked_to_come_back_within_half_a_minute_of_a_long_job() -> None:
    assert retry_after(halfway(1, 600), NOON + 600) == 30


@given(st.integers(1, 99), st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_estimate_is_never_in_the_past(percent: int, at: float, later: float) -> None:
    found = estimate(halfway(percent, at), NOON + at + later)

    assert found is not None
    assert NOON + at + later <= found.median <= found.latest
