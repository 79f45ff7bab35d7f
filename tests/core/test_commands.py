from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from tests.core.samples import (
    JOB_ID,
    NOON,
    TTL,
    a_failure,
    a_job,
    a_result,
    canceled,
    failed,
    in_status,
    running,
    succeeded,
)

from deferit._core.callback import Callback
from deferit._core.commands import (
    CHANGES,
    Cancel,
    Change,
    ClaimCallbacks,
    Command,
    Create,
    Finish,
    Release,
    Report,
    SettleCallback,
)
from deferit._core.idempotency import Identity
from deferit._core.job import TOMBSTONE, Job, Status
from deferit._core.queries import QUERIES, List, Query
from deferit._core.rules import keeps, swept, wake_at
from deferit.exceptions import KeyReused, LeaseLost

LATER = NOON + 5


def test_the_tuples_are_the_unions() -> None:
    assert get_args(Change) == CHANGES
    assert get_args(Query) == QUERIES
    assert set(CHANGES) < set(get_args(Command))


SAME = Identity("k", "f")
OLD = a_job(id="job_old", identity=SAME)


def test_the_job_that_the_same_request_made_is_the_answer() -> None:
    create = Create(a_job(identity=SAME), b"")

    assert create.found(OLD)
    assert create.found(OLD.canceled(NOON, "never started"))


def test_another_request_with_its_key_is_refused() -> None:
    create = Create(a_job(identity=Identity("k", "other")), b"")

    with pytest.raises(KeyReused, match="job_old"):
        create.found(OLD)


def test_an_expired_job_has_lost_its_key_even_to_another_request() -> None:
    over = OLD.canceled(NOON - TTL, "never started")

    for identity in (SAME, Identity("k", "other")):
        assert not Create(a_job(identity=identity), b"").found(over)


def test_a_report_is_applied() -> None:
    job = Report(JOB_ID, 1, LATER, 40, "rows").apply(running())

    assert (job.progress, job.message, job.updated_at) == (40, "rows", LATER)


def test_a_finish_is_applied() -> None:
    done = Finish(JOB_ID, 1, LATER, a_result(), None, b"hello").apply(running())
    broken = Finish(JOB_ID, 1, LATER, None, a_failure()).apply(running())

    assert (done.status, done.result, done.finished_at) == (Status.SUCCEEDED, a_result(), LATER)
    assert (broken.status, broken.error) == (Status.FAILED, a_failure())


def test_a_release_is_applied_as_a_lost_worker() -> None:
    assert Release(JOB_ID, 1, LATER).apply(running(repeatable=True)).status is Status.ACCEPTED
    assert Release(JOB_ID, 1, LATER).apply(running()).status is Status.FAILED


@pytest.mark.parametrize(
    "change",
    [
        Report(JOB_ID, 1, LATER, 40, None),
        Finish(JOB_ID, 1, LATER, a_result(), None),
        Release(JOB_ID, 1, LATER),
    ],
)
def test_who_comes_with_an_old_attempt_is_refused(change: Report | Finish | Release) -> None:
    taken_over = running(repeatable=True).released(NOON).claimed(NOON)

    for job in (taken_over, a_job(), succeeded(), canceled()):
        with pytest.raises(LeaseLost):
            change.apply(job)


def test_a_cancel_is_applied_to_the_attempt_that_it_speaks_of() -> None:
    assert Cancel(JOB_ID, 0, LATER, "never started").apply(a_job()).status is Status.CANCELED
    assert Cancel(JOB_ID, 1, LATER, "stopped").apply(running()).status is Status.CANCELED


def test_a_cancel_of_what_was_started_or_finished_meanwhile_changes_nothing() -> None:
    for job in (running(), succeeded(), failed(), canceled()):
        assert Cancel(JOB_ID, 0, LATER, "never started").apply(job) == job


CALLBACK = Callback("https://hooks.example/", "https://shop.example/jobs", due_at=NOON)


def test_a_claim_of_a_callback_is_its_next_attempt() -> None:
    claim = ClaimCallbacks("shop", LATER, LATER + 30, 10)

    job = claim.apply(succeeded(callback=CALLBACK))

    assert job.callback == replace(CALLBACK, attempts=1, due_at=LATER + 30)
    assert job.but(callback=None) == succeeded()


def test_the_callback_of_an_expired_job_is_dropped() -> None:
    claim = ClaimCallbacks("shop", NOON + TTL + 1, NOON + TTL + 31, 10)

    assert claim.apply(succeeded(callback=CALLBACK)).callback_at is None


@pytest.mark.parametrize("again_at", [LATER, None])
def test_a_claimed_callback_is_settled(again_at: float | None) -> None:
    claimed = succeeded().but(callback=CALLBACK.claimed(LATER + 30))

    settled = SettleCallback(JOB_ID, 1, again_at).apply(claimed)

    assert settled.callback == replace(CALLBACK, attempts=1, due_at=again_at)


@pytest.mark.parametrize(
    "callback",
    [
        None,
        CALLBACK.claimed(LATER).settled(None),
        CALLBACK.claimed(LATER).claimed(LATER + 30),
    ],
)
def test_who_comes_with_an_old_claim_settles_nothing(callback: Callback | None) -> None:
    job = succeeded().but(callback=callback)

    assert SettleCallback(JOB_ID, 1, LATER).apply(job) is job


@pytest.mark.parametrize(
    ("change", "is_included"),
    [
        ({}, True),
        ({"owner": "eve"}, False),
        ({"owner": None}, False),
        ({"application": "other"}, False),
        ({"id": "job_b"}, False),
        ({"id": "job_c"}, False),
    ],
)
def test_a_list_has_the_owners_jobs_behind_a_place(
    change: dict[str, Any], is_included: bool
) -> None:
    job = running(**{"id": "job_a", "owner": "ada", **change})

    for status, before in product((None, Status.RUNNING), ("job_b", None)):
        is_expected = is_included or (change.get("id") is not None and before is None)
        assert List("shop", "ada", status, 10, before).includes(job) is is_expected
    assert not List("shop", "ada", Status.FAILED, 10, None).includes(job)


@pytest.mark.parametrize(
    ("job", "lease_until", "instant"),
    [
        (a_job(due_at=LATER), None, LATER),
        (running(), LATER, LATER),
        (succeeded(), None, NOON + 1 + TTL),
        (failed(), None, NOON + 1 + TTL + TOMBSTONE),
        (succeeded().stripped(), None, NOON + 1 + TTL + TOMBSTONE),
    ],
)
def test_something_is_due_about_a_job_at_an_instant(
    job: Job, lease_until: float | None, instant: float
) -> None:
    assert wake_at(job, lease_until) == instant


@pytest.mark.parametrize(
    ("job", "kept"),
    [
        (a_job(), {(0, 0), (0, 1)}),
        (running(), {(0, 0), (0, 1), (1, 0), (1, 1)}),
        (running(repeatable=True).released(NOON), {(0, 0), (0, 1)}),
        (succeeded(a_result(chunks=2)), {(1, 0)}),
        (succeeded(a_result(chunks=1)), set()),
        (succeeded().stripped(), set()),
        (failed(), set()),
    ],
)
def test_pieces_are_kept_as_long_as_they_are_of_use(job: Job, kept: set[tuple[int, int]]) -> None:
    pieces = [(attempt, index) for attempt in range(3) for index in range(2)]

    assert {piece for piece in pieces if keeps(job, *piece)} == kept


def test_what_has_become_due_is_done() -> None:
    after = swept(running(), LATER)
    assert after is not None
    assert after.status is Status.FAILED
    assert swept(succeeded(), LATER) == succeeded().stripped()
    assert swept(succeeded().stripped(), LATER) is None
    assert swept(failed(), LATER) is None


def test_a_job_that_waits_is_never_swept_away() -> None:
    job = in_status(Status.ACCEPTED)

    assert swept(job, LATER) == job


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ACCEPTED}))
def test_sweeping_ends_whatever_the_status(status: Status) -> None:
    job: Job | None = in_status(status)

    for _ in range(4):
        job = swept(job, LATER) if job else None

    assert job is None
