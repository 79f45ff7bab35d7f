from __future__ import annotations

import pickle
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.core.samples import (
    NOON,
    TTL,
    a_failure,
    a_job,
    a_result,
    in_status,
    running,
    succeeded,
)

from deferit._core.callback import Callback
from deferit._core.job import FINISHED, MAX_LOSSES, TRANSITIONS, Failure, Job, Status
from deferit.exceptions import InvalidTransition, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = list(product(Status, repeat=2))
ALLOWED = [(before, after) for before, afters in TRANSITIONS.items() for after in afters]


def test_the_table_is_the_one_of_the_contract() -> None:
    assert set(ALLOWED) == {
        (Status.ACCEPTED, Status.RUNNING),
        (Status.ACCEPTED, Status.FAILED),
        (Status.ACCEPTED, Status.CANCELED),
        (Status.RUNNING, Status.ACCEPTED),
        (Status.RUNNING, Status.SUCCEEDED),
        (Status.RUNNING, Status.FAILED),
        (Status.RUNNING, Status.CANCELED),
    }
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELED} == FINISHED


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_job_goes_exactly_where_the_table_says(before: Status, after: Status) -> None:
    job = in_status(before)

    if (before, after) not in ALLOWED:
        with pytest.raises(
            InvalidTransition, match=f"a job that is {before} cannot become {after}"
        ):
            job.to(after, NOON + 2)
        return
    moved = job.to(after, NOON + 2)

    assert (moved.status, moved.updated_at) == (after, NOON + 2)
    assert moved.revision == job.revision + 1


@pytest.mark.parametrize("status", Status)
def test_only_what_is_finished_has_an_end_and_expires(status: Status) -> None:
    job = in_status(status)

    assert job.is_finished == (status in FINISHED)
    assert job.finished_at == (NOON + 1 if job.is_finished else None)
    assert job.expires_at == (NOON + 1 + TTL if job.is_finished else None)
    assert job.is_expired(NOON + 1 + TTL) == job.is_finished
    assert not job.is_expired(NOON + TTL)


def test_a_claim_begins_the_next_attempt() -> None:
    job = running(repeatable=True).released(NOON + 5).claimed(NOON + 9)

    assert (job.status, job.attempt, job.started_at) == (Status.RUNNING, 2, NOON + 9)


@pytest.mark.parametrize(
    ("reports", "shown"),
    [
        ([(10, "a")], (10, "a")),
        ([(None, "a")], (None, "a")),
        ([(10, "a"), (None, "b")], (10, "b")),
        ([(10, "a"), (20, None)], (20, "a")),
        ([(50, None), (20, None)], (50, None)),
        ([(100, None)], (99, None)),
        ([(1000, None)], (99, None)),
        ([(-5, None)], (0, None)),
    ],
)
def test_progress_never_goes_back_nor_says_100_before_the_end(
    reports: list[tuple[int | None, str | None]], shown: tuple[int | None, str | None]
) -> None:
    job = running()

    for percent, message in reports:
        job = job.reported(NOON + 1, percent, message)

    assert (job.progress, job.message) == shown


def test_a_report_of_nothing_new_changes_nothing() -> None:
    job = running().reported(NOON + 1, 10, "rows")

    assert job.reported(NOON + 2, 10, "rows") is job
    assert job.reported(NOON + 2, 9, None) is job
    assert job.reported(NOON + 2, None, None) is job


def test_a_job_is_held_by_the_attempt_that_runs_it_alone() -> None:
    job = running()

    assert job.held_by(1) is job
    with pytest.raises(LeaseLost, match=f"attempt 2 of job {job.id} has lost its lease"):
        job.held_by(2)
    with pytest.raises(LeaseLost):
        succeeded().held_by(1)
    with pytest.raises(LeaseLost):
        a_job().held_by(0)


def test_an_answer_makes_it_succeed_and_its_progress_whole() -> None:
    job = running().reported(NOON, 40, None).ended(NOON + 1, a_result(), None)

    assert (job.status, job.progress, job.error) == (Status.SUCCEEDED, 100, None)
    assert job.result == a_result()
    assert succeeded().progress is None


def test_a_failure_leaves_progress_where_it_was() -> None:
    job = running().reported(NOON, 40, None).ended(NOON + 1, None, a_failure())

    assert (job.status, job.progress, job.error) == (Status.FAILED, 40, a_failure())


def test_a_waiting_job_can_fail_but_not_succeed() -> None:
    assert a_job().ended(NOON, None, a_failure("route-gone")).status is Status.FAILED
    with pytest.raises(InvalidTransition):
        a_job().ended(NOON, a_result(), None)


def test_a_canceled_job_says_what_is_guaranteed() -> None:
    job = running().canceled(NOON + 1, "asked to stop")

    assert job.error == Failure("job-canceled", "The job was canceled.", "asked to stop")


def test_a_returned_job_waits_as_if_it_had_not_been_started() -> None:
    job = running(repeatable=True).reported(NOON, 40, "half").released(NOON + 3)

    assert (job.status, job.due_at, job.attempt) == (Status.ACCEPTED, NOON + 3, 1)
    assert (job.started_at, job.progress, job.message) == (None, None, None)


def test_a_lost_job_waits_again_if_it_is_safe_to_repeat() -> None:
    assert running(repeatable=True).lost(NOON + 9).status is Status.ACCEPTED


def test_a_lost_job_is_interrupted_if_it_is_not() -> None:
    job = running().lost(NOON + 9)

    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.code == "interrupted"
    assert "how far it came is not known" in job.error.message


def test_a_job_that_keeps_losing_its_worker_is_given_up() -> None:
    job = a_job(repeatable=True)
    for _ in range(MAX_LOSSES - 1):
        job = job.claimed(NOON).lost(NOON + 1)
        assert job.status is Status.ACCEPTED

    job = job.claimed(NOON).lost(NOON + 1)

    assert job.status is Status.FAILED
    assert job.error is not None
    assert f"{MAX_LOSSES} times" in job.error.message


def test_a_job_that_is_given_back_again_and_again_is_not_given_up() -> None:
    """Nor does that count as one of the tries that its mark grants."""
    job = a_job(repeatable=True, retries=1)

    for _ in range(2 * MAX_LOSSES):
        job = job.claimed(NOON).released(NOON + 1)

    assert (job.status, job.losses, job.tries) == (Status.ACCEPTED, 0, 0)


def test_a_job_that_is_tried_again_waits_as_if_it_had_not_been_started() -> None:
    job = running(retries=3).reported(NOON, 40, "half").retried(NOON + 3, NOON + 5)

    assert (job.status, job.due_at, job.tries) == (Status.ACCEPTED, NOON + 5, 1)
    assert (job.started_at, job.progress) == (None, None)
    assert job.message == "Attempt 1 has failed and is followed by another."
    assert job.is_early(NOON + 4)


def test_a_tombstone_keeps_all_but_the_result() -> None:
    job = succeeded()

    assert job.stripped().result is None
    assert job.stripped().revision == job.revision


CALLBACK = Callback("https://hooks.example/", "https://shop.example/jobs")


@pytest.mark.parametrize("status", Status)
def test_a_callback_is_due_as_soon_as_its_job_is_finished(status: Status) -> None:
    paths: dict[Status, Callable[[Job], Job]] = {
        Status.ACCEPTED: lambda job: job,
        Status.RUNNING: lambda job: job.claimed(NOON),
        Status.SUCCEEDED: lambda job: job.claimed(NOON).ended(NOON + 1, a_result(), None),
        Status.FAILED: lambda job: job.claimed(NOON).lost(NOON + 1),
        Status.CANCELED: lambda job: job.canceled(NOON + 1, "never started"),
    }

    job = paths[status](a_job(callback=CALLBACK))

    assert job.callback_at == (NOON + 1 if job.is_finished else None)
    assert paths[status](a_job()).callback_at is None


@pytest.mark.parametrize(
    ("job", "now", "is_early"),
    [
        (a_job(due_at=NOON + 60), NOON, True),
        (a_job(due_at=NOON + 60), NOON + 60, False),
        (a_job(due_at=NOON + 60).claimed(NOON), NOON, False),
        (a_job(), NOON, False),
        (a_job(), NOON - 60, False),
    ],
)
def test_a_job_is_early_before_its_window_opens(job: Job, now: float, is_early: bool) -> None:
    assert job.is_early(now) is is_early


def test_a_result_tells_its_media_type() -> None:
    assert a_result(headers=(("content-type", "text/csv"),)).content_type == "text/csv"
    assert a_result().content_type is None


@pytest.mark.parametrize("job", [in_status(status) for status in Status])
def test_a_job_survives_pickling(job: Job) -> None:
    assert pickle.loads(pickle.dumps(job)) == job


INSTANTS = st.floats(NOON, NOON + 1e6)
PERCENT = st.none() | st.integers(-50, 200)


class JobLife(RuleBasedStateMachine):
    """Whatever happens to a job, in whatever order, keeps the promises of the contract."""

    def __init__(self) -> None:
        super().__init__()
        self.job = a_job(repeatable=True)

    def move(self, step: Callable[[], Job]) -> None:
        before = self.job
        try:
            after = step()
        except (InvalidTransition, LeaseLost):
            return
        assert not before.is_finished or after == before
        assert after.attempt >= before.attempt
        assert (after == before) == (after.revision == before.revision)
        assert after.revision in {before.revision, before.revision + 1}
        assert after.status is before.status or (before.status, after.status) in ALLOWED
        is_same_attempt = before.status is after.status is Status.RUNNING
        assert not is_same_attempt or (before.progress or 0) <= (after.progress or 0)
        self.job = after

    @rule(now=INSTANTS)
    def claim(self, now: float) -> None:
        self.move(lambda: self.job.claimed(now))

    @rule(now=INSTANTS, percent=PERCENT, message=st.none() | st.sampled_from("ab"))
    def report(self, now: float, percent: int | None, message: str | None) -> None:
        self.move(lambda: self.job.held_by(self.job.attempt).reported(now, percent, message))

    @precondition(lambda self: self.job.attempt > 1 or self.job.is_finished)
    @rule(now=INSTANTS, has_failed=st.booleans())
    def end(self, now: float, has_failed: bool) -> None:
        error = a_failure() if has_failed else None
        self.move(lambda: self.job.held_by(self.job.attempt).ended(now, a_result(), error))

    @precondition(lambda self: self.job.attempt > 2 or self.job.is_finished)
    @rule(now=INSTANTS)
    def cancel(self, now: float) -> None:
        self.move(lambda: self.job.canceled(now, "stopped"))

    @rule(now=INSTANTS)
    def lose(self, now: float) -> None:
        self.move(lambda: self.job.held_by(self.job.attempt).lost(now))

    @rule(now=INSTANTS)
    def give_back(self, now: float) -> None:
        self.move(lambda: self.job.held_by(self.job.attempt).released(now))

    @invariant()
    def it_is_one_hundred_percent_only_when_it_has_succeeded(self) -> None:
        assert self.job.progress != 100 or self.job.status is Status.SUCCEEDED
        assert self.job.progress is None or 0 <= self.job.progress <= 100

    @invariant()
    def it_expires_only_when_it_is_finished(self) -> None:
        assert (self.job.expires_at is not None) == self.job.is_finished
        assert (self.job.finished_at is not None) == self.job.is_finished

    @invariant()
    def it_has_an_error_only_if_it_did_not_succeed(self) -> None:
        assert (self.job.error is not None) == (self.job.status in {Status.FAILED, Status.CANCELED})


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
