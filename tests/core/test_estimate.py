from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import NOON, SITE, a_job, canceled, failed, running, succeeded

from deferit._core.document import retry_after, status_document
from deferit._core.estimate import (
    Estimate,
    Known,
    _not_past,
    _quantile,
    calm,
    estimate,
    seconds_until_room,
)
from deferit._core.pace import FEWEST, GROWTH, pace
from deferit._core.queries import MOST_AHEAD, Ahead

if TYPE_CHECKING:
    from deferit._core.job import Job

HOUR = 3600.0
TWO_PERCENT = 0.02


def known(*seconds: float, **others: Any) -> Known:
    """Return what is known where jobs of a route took so long, and others in its queue as long."""
    found = pace(seconds)
    return Known(**{"route": found, "queue": found, **others})


TEN_SECONDS = known(*[9.0, 10.0, 10.0, 10.0, 11.0] * 20, concurrency=4)
TWO_SPEEDS = known(*[2.0, 2.0, 20.0] * 30)


def expected(job: Job, now: float, others: Known, ahead: Ahead | None = None) -> Estimate:
    found = estimate(job, now, others, ahead)
    assert found is not None
    return found


def after(seconds: float, off: float = TWO_PERCENT) -> object:
    """Return what equals an instant so many seconds after noon."""
    return pytest.approx(NOON + seconds, abs=seconds * off)


def asked_after(job: Job, now: float) -> object:
    """Return after how many seconds a client is asked to come back, by what the job itself tells."""
    return status_document(job, SITE, now, None)["retryAfter"]


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
    assert "estimatedCompletion" not in status_document(job, SITE, NOON + 5, None)


# --- of a job by itself ----------------------------------------------------------------------------------------------


def test_a_job_that_reports_is_taken_to_go_on_as_it_did() -> None:
    found = expected(halfway(25, 10), NOON + 10, Known())

    assert (found.median, found.latest) == (NOON + 40, NOON + 70)


def test_a_job_that_is_late_takes_longer_and_is_given_time() -> None:
    found = [expected(halfway(25, 10), NOON + at, Known()).median - NOON for at in (39, 41, 59, 61)]

    assert found == [40, 40 * GROWTH, 40 * GROWTH, pytest.approx(40 * GROWTH**2)]


def test_a_job_that_waits_for_its_window_is_finished_no_earlier() -> None:
    job = a_job(due_at=NOON + HOUR)

    assert expected(job, NOON, Known()).median == NOON + HOUR
    assert estimate(job, NOON + HOUR) is None
    found = status_document(job, SITE, NOON, None)
    assert found["estimatedCompletion"] == "2027-01-15T09:00:00.000Z"
    assert found["estimatedCompletionLatest"] == "2027-01-15T09:00:00.000Z"


def test_a_clock_that_is_set_while_a_job_runs_does_no_harm() -> None:
    ahead = a_job(created_at=0.0).claimed(0.0).reported(NOON, 1, None)
    back = running().reported(NOON - HOUR, 50, None)

    for job in (ahead, back):
        document = status_document(job, SITE, NOON, None)
        assert document["estimatedCompletion"] <= document["estimatedCompletionLatest"]
        assert 1 <= document["retryAfter"] <= 30


def test_a_clock_that_is_set_back_makes_no_window() -> None:
    assert estimate(a_job(), NOON - HOUR) is None
    assert asked_after(a_job(), NOON - HOUR) == 1


@given(st.integers(1, 99), st.floats(0, 1e6), st.floats(0, 1e6))
def test_an_estimate_is_never_in_the_past(percent: int, at: float, later: float) -> None:
    found = expected(halfway(percent, at), NOON + at + later, Known())

    assert NOON + at + later <= found.median <= found.latest


# --- of a job that runs, by others -----------------------------------------------------------------------------------


def test_a_job_takes_as_long_as_others_of_its_route() -> None:
    found = expected(running(), NOON, TEN_SECONDS)

    assert found.median == after(10)
    assert found.latest == after(11, 0.03)


def test_of_a_job_whose_route_nobody_knows_nothing_is_said() -> None:
    assert estimate(running(), NOON, known(*[10.0] * (FEWEST - 1))) is None
    assert estimate(a_job(), NOON, Known(queue=pace([10.0] * 9)), Ahead(3, 4)) is None


def test_a_job_that_has_outlived_the_quick_ones_is_a_slow_one() -> None:
    assert expected(running(), NOON + 1, TWO_SPEEDS).median == after(2)
    assert expected(running(), NOON + 3, TWO_SPEEDS).median == after(20)


def test_what_is_said_does_not_move_while_nothing_happens() -> None:
    found = [expected(running(), NOON + at / 10, TEN_SECONDS) for at in range(90)]

    assert len({each.median for each in found}) == 1


def test_progress_tells_early_which_speed_it_is() -> None:
    slow = running().reported(NOON + 1, 5, None)
    quick = running().reported(NOON + 1, 45, None)

    assert expected(slow, NOON + 1, TWO_SPEEDS).median == after(20)
    assert expected(quick, NOON + 1, TWO_SPEEDS).median == after(2)


def test_progress_that_has_only_begun_is_believed_less_than_others() -> None:
    """One percent in a tenth of a second would be ten seconds, give or take; all others took six."""
    hasty = running().reported(NOON + 0.1, 1, None)

    assert expected(hasty, NOON + 1, known(*[6.0] * 50)).median == after(6)


def test_progress_wins_over_others_that_are_nothing_like_it() -> None:
    long = running().reported(NOON + 100, 50, None)

    assert expected(long, NOON + 100, TEN_SECONDS).median == after(200)


# --- of a job that waits ---------------------------------------------------------------------------------------------


def test_a_job_waits_until_those_in_front_of_it_have_begun() -> None:
    """Four run at once, each takes ten seconds: one ends every 2.5 seconds, the first a little earlier."""
    found = expected(a_job(), NOON, TEN_SECONDS, Ahead(39, 4))

    assert found.median == after(40 * 2.5 + 10)
    assert found.median < found.latest < NOON + 120


def test_a_job_with_nobody_in_front_begins_at_once() -> None:
    found = expected(a_job(), NOON, TEN_SECONDS, Ahead(0, 0))

    assert found.median == expected(running(), NOON, TEN_SECONDS).median


def test_those_in_front_take_as_long_as_jobs_in_this_queue_do() -> None:
    slow = pace([100.0] * 50)

    assert expected(a_job(), NOON, known(*[10.0] * 50, queue=slow), Ahead(9, 2)).median == after(
        9.5 * 50 + 10
    )


def test_no_more_run_at_once_than_the_queue_has_slots() -> None:
    limited = a_job(queue="POST /reports", slots=1)

    found = expected(limited, NOON, TEN_SECONDS, Ahead(9, 4))

    assert found.median == after(9.5 * 10 + 10)


def test_where_none_runs_yet_as_many_will_as_this_process_can() -> None:
    found = expected(a_job(), NOON, TEN_SECONDS, Ahead(39, 0))

    assert found.median == expected(a_job(), NOON, TEN_SECONDS, Ahead(39, 4)).median


def test_behind_more_jobs_than_are_counted_nothing_is_said() -> None:
    assert estimate(a_job(), NOON, TEN_SECONDS, Ahead(MOST_AHEAD, 4)) is None
    assert estimate(a_job(due_at=NOON + 9), NOON, TEN_SECONDS, Ahead(MOST_AHEAD, 4)) is not None


def test_a_job_that_is_tried_again_takes_as_long_as_others_from_then_on() -> None:
    again = running(retries=1).retried(NOON + 1, NOON + 61)

    assert expected(again, NOON + 1, TEN_SECONDS, Ahead(0, 0)).median == after(71)


def test_a_window_that_opens_before_its_turn_comes_makes_no_difference() -> None:
    soon = a_job(due_at=NOON + 5)

    found = expected(soon, NOON, TEN_SECONDS, Ahead(39, 4))

    assert found.median == expected(a_job(), NOON, TEN_SECONDS, Ahead(39, 4)).median


def test_a_small_move_is_kept_from_the_client_and_a_large_one_is_not() -> None:
    said = Estimate(NOON + 100, NOON + 120, NOON + 80)
    near = Estimate(NOON + 110, NOON + 125, NOON + 90)
    far = Estimate(NOON + 50, NOON + 60, NOON + 40)
    unsure = Estimate(NOON + 100, NOON + 300, NOON + 20)

    assert calm(said, near, NOON) is said
    assert calm(said, near, NOON + 60) is near
    assert calm(said, far, NOON) is far
    assert calm(said, unsure, NOON) is unsure
    assert calm(said, near, NOON + 101) is near
    assert calm(None, near, NOON) is near


# --- whatever happens ------------------------------------------------------------------------------------------------

HISTORIES = st.lists(st.floats(0, 1e5), min_size=FEWEST, max_size=60)
PROGRESS = st.none() | st.tuples(st.integers(0, 99), st.floats(0, 1e5))
AHEAD = st.builds(Ahead, st.integers(0, MOST_AHEAD - 1), st.integers(0, 100))


def reporting(progress: tuple[int, float] | None) -> Job:
    if progress is None:
        return running()
    percent, at = progress
    return running().reported(NOON + at, percent, None)


@given(HISTORIES, PROGRESS, st.floats(0, 1e6))
def test_the_estimate_of_a_job_that_runs_is_ordered_and_never_past(
    seconds: list[float], progress: tuple[int, float] | None, later: float
) -> None:
    job = reporting(progress)

    found = expected(job, job.updated_at + later, known(*seconds))

    assert job.updated_at + later <= found.median <= found.latest + 1e-3


@given(HISTORIES, AHEAD, st.floats(-1e5, 1e5), st.integers(1, 16))
def test_the_estimate_of_a_job_that_waits_is_ordered_and_never_past(
    seconds: list[float], ahead: Ahead, due: float, concurrency: int
) -> None:
    job = a_job(due_at=NOON + due)

    found = expected(job, NOON, known(*seconds, concurrency=concurrency), ahead)

    assert max(NOON, NOON + due) <= found.median <= found.latest
    assert found.soonest <= found.latest


@given(HISTORIES, PROGRESS, st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_as_long_as_nothing_is_reported_it_is_only_put_off(
    seconds: list[float], progress: tuple[int, float] | None, later: list[float]
) -> None:
    job = reporting(progress)

    found = [expected(job, job.updated_at + each, known(*seconds)) for each in sorted(later)]

    for before, then in pairwise(found):
        assert before.median <= then.median + 1e-3


@given(HISTORIES, AHEAD, st.floats(1e-3, 1e4))
def test_it_is_calm_while_a_tenth_of_the_time_goes_by(
    seconds: list[float], ahead: Ahead, share: float
) -> None:
    said = expected(a_job(), NOON, known(*seconds), ahead)
    later = NOON + (said.median - NOON) * min(0.1, share)

    found = expected(a_job(), later, known(*seconds), ahead)

    assert calm(said, found, later) is said


# --- Retry-After -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "pause"), [(HOUR, 3600), (0.2, 1), (45.5, 46)])
def test_a_client_is_asked_to_come_back_when_the_window_opens(left: float, pause: int) -> None:
    assert asked_after(a_job(due_at=NOON + HOUR), NOON + HOUR - left) == pause


@pytest.mark.parametrize(("at", "pause"), [(10, 15), (30, 5), (38, 1), (39.9, 1), (41, 9)])
def test_a_client_is_asked_to_come_back_after_half_of_what_is_left(at: float, pause: int) -> None:
    assert asked_after(halfway(25, 10), NOON + at) == pause


def test_a_client_is_asked_to_come_back_within_half_a_minute_of_a_long_job() -> None:
    assert asked_after(halfway(1, 600), NOON + 600) == 30


def test_a_client_is_asked_to_come_back_while_the_job_may_be_a_quick_one() -> None:
    mostly_slow = known(*[6.0, 60.0, 60.0] * 30)

    def pause(at: float) -> int:
        found = estimate(running(), NOON + at, mostly_slow)
        return retry_after(running(), NOON + at, found)

    assert (pause(0), pause(5), pause(7)) == (6, 1, 26)


def test_there_is_room_again_when_one_of_those_that_run_has_ended() -> None:
    others = known(*[80.0] * 50, concurrency=8)

    # A mean of 80.0 is 79.99999999999999 where sum() is exact, from Python 3.12 on.
    assert seconds_until_room(others) == pytest.approx(10.0, rel=1e-12)
    assert seconds_until_room(others, among=2) == pytest.approx(40.0, rel=1e-12)
    assert seconds_until_room(others, among=99) == pytest.approx(10.0, rel=1e-12)
    assert seconds_until_room(Known()) is None


def test_an_end_that_should_have_been_is_now() -> None:
    assert _not_past(Estimate(NOON - 5, NOON - 1, NOON - 9), NOON) == Estimate(NOON, NOON, NOON)
    assert _not_past(Estimate(NOON - 5, NOON + 9, NOON - 9), NOON) == Estimate(NOON, NOON + 9, NOON)


def test_a_share_that_rounding_has_made_too_large_is_the_last_value() -> None:
    assert _quantile([(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)], 1.0 + 1e-9) == 3.0
