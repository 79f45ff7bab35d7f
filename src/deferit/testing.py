# ruff: noqa: PLR2004  a test's name is its sentence; 202 is clearer than a name for it
"""What a store of your own must keep: a test class to inherit, and a comparison with the store in memory.

    class TestMyStore(StoreContract):
        def make_store(self, folder):
            return opened(MyStore(f"mine://{folder}"))

    class MyComparison(StoreComparison):
        def make_store(self):
            return opened(MyStore("mine://"))

    TestMyComparison = MyComparison.TestCase

All instants are in the commands, so nothing here waits for a clock.
"""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

try:
    import pytest
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, rule
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(f"deferit.testing needs {exc.name}: pip install {exc.name}") from exc

from deferit._core.callback import Callback
from deferit._core.commands import (
    MOST_READY,
    ORPHANED,
    Append,
    Cancel,
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Dispatch,
    Finish,
    Limits,
    Observe,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
)
from deferit._core.idempotency import Identity
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import TOMBSTONE, Failure, Job, Result, Status
from deferit._core.queries import Ahead, Changed, Changes, Due, Get, History, List, Load, Position
from deferit._core.rules import REMEMBERED
from deferit.exceptions import JobExists, JobNotFound, KeyReused, LeaseLost, QueueFull, TooManyJobs
from deferit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit.stores.base import Store

NOON = 1_800_000_000.0
"""When the tests begin."""

LEASE = NOON + 15
TTL = 3600.0
REQUEST = b"a captured request"
CALLBACK = Callback("https://hooks.example.com/", "https://shop.example.com/jobs")
SAME = Identity("a key", "a fingerprint")
LONG = bytes(range(256)) * 1024
"""A quarter of a megabyte."""


def a_job(number: int = 0, **changes: Any) -> Job:
    """Return a job that waits since noon; each number has its id, in their order."""
    fields: dict[str, Any] = {
        "id": make_id(NOON + number, number.to_bytes(RANDOM_BYTES)),
        "application": "shop",
        "route": "POST /reports",
        "method": "POST",
        "created_at": NOON,
        "updated_at": NOON,
        "due_at": NOON,
        "ttl": TTL,
        "owner": "ada",
    }
    return Job(**fields | changes)


def a_result(chunks: int = 1, length: int = 5) -> Result:
    """Return the head of a response."""
    return Result(200, (("X-Part", "a"), ("X-Part", "b")), length, chunks, '"tag"')


def ask(store: Store, command: Command) -> Any:
    """Execute one command; return its result or raise its exception."""
    (answer,) = store.execute([command])
    if isinstance(answer, Exception):
        raise answer
    return answer


def waiting(store: Store, number: int = 0, **changes: Any) -> Job:
    """Return a new job that waits."""
    job: Job = ask(store, Create(a_job(number, **changes), REQUEST))
    return job


def running(store: Store, number: int = 0, **changes: Any) -> Job:
    """Return a new job that its first attempt runs, until `LEASE`."""
    job: Job = ask(store, Create(a_job(number, **changes).claimed(NOON), REQUEST, LEASE))
    return job


def finished(store: Store, number: int = 0, body: bytes = b"hello", **changes: Any) -> Job:
    """Return a new job that has succeeded at noon, with a body in one piece."""
    return finish(store, running(store, number, **changes), body)


def finish(store: Store, job: Job, body: bytes, chunks: int = 1) -> Job:
    """Let the running attempt of a job succeed at noon."""
    result = a_result(chunks, len(body))
    done: Job = ask(store, Finish(job.id, job.attempt, NOON, result, None, body))
    return done


def is_gone(store: Store, query: Query) -> bool:
    """Whether a query meets `JobNotFound`."""
    try:
        store.read(query)
    except JobNotFound:
        return True
    return False


class StoreContract:
    """Tests the contract of `Store`; inherit from it and say how a store is made."""

    @abstractmethod
    def make_store(self, folder: Path) -> Store:
        """Return an empty store, opened; ``folder`` is an empty directory for it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Give a test its store."""
        store = self.make_store(tmp_path)
        yield store
        store.close()

    # --- batches ---

    def test_an_empty_batch_has_no_answers(self, store: Store) -> None:
        assert store.execute([]) == []

    def test_answers_come_in_the_order_of_the_commands(self, store: Store) -> None:
        first, second = a_job(1), a_job(2)

        answers = store.execute([Create(second, REQUEST), Create(first, REQUEST)])

        assert answers == [second, first]

    def test_a_command_sees_what_those_before_it_did(self, store: Store) -> None:
        job = a_job()

        answers = store.execute(
            [
                Create(job, REQUEST),
                Claim("shop", NOON, LEASE, 1),
                Finish(job.id, 1, NOON + 1, a_result(), None, b"hello"),
                Finish(job.id, 1, NOON + 2, a_result(), None, b"again"),
            ]
        )

        assert isinstance(answers[2], Job)
        assert isinstance(answers[3], LeaseLost)
        assert store.read(Load(job.id, 1, 0)) == b"hello"

    def test_a_failed_command_leaves_the_others_of_its_batch_alone(self, store: Store) -> None:
        known = waiting(store, 1)

        answers = store.execute(
            [
                Create(a_job(2), REQUEST),
                Create(known, b"another"),
                Report("job_nobody", 1, NOON, 5, None),
                Create(a_job(3), REQUEST),
            ]
        )

        assert [type(answer) for answer in answers] == [Job, JobExists, JobNotFound, Job]
        assert store.read(Get(a_job(2).id)) == a_job(2)
        assert store.read(Get(a_job(3).id)) == a_job(3)

    def test_what_cannot_be_written_is_the_answer_of_its_command_alone(self, store: Store) -> None:
        unwritable = a_job(1, owner="\ud800")

        answers = store.execute([Create(unwritable, REQUEST), Create(a_job(2), REQUEST)])

        assert answers[1] == a_job(2)
        if isinstance(answers[0], Exception):  # a store in memory writes nothing
            assert is_gone(store, Get(unwritable.id))

    def test_every_thread_reads_what_was_executed(self, store: Store) -> None:
        job = running(store)
        reports = [Report(job.id, 1, NOON + n, n, None) for n in range(1, 100)]

        def follow() -> list[int]:
            seen = [job.revision]
            while seen[-1] < job.revision + len(reports):
                seen.append(_job(store, job.id).revision)
            return seen

        with ThreadPoolExecutor(4) as pool:
            followers = [pool.submit(follow) for _ in range(4)]
            for report in reports:
                reported = ask(store, report)
                assert store.read(Get(job.id)) == reported

            assert all(seen.result() == sorted(seen.result()) for seen in followers)

    def test_what_was_executed_outlives_closing(self, store: Store) -> None:
        job = finished(store)

        store.close()
        store.close()
        store.open()

        assert store.read(Get(job.id)) == job
        assert store.read(Load(job.id, 1, 0)) == b"hello"

    # --- create ---

    def test_a_job_is_read_as_it_was_created(self, store: Store) -> None:
        job = a_job(
            owner="Zoë",
            repeatable=True,
            message="½",
            progress=3,
            error=Failure("code", "message"),
            result=a_result(),
            callback=CALLBACK,
        )

        assert ask(store, Create(job, REQUEST)) == job
        assert store.read(Get(job.id)) == job

    def test_an_unknown_job_is_not_found(self, store: Store) -> None:
        with pytest.raises(JobNotFound, match="job_nobody"):
            store.read(Get("job_nobody"))

    def test_an_id_is_created_once(self, store: Store) -> None:
        job = waiting(store)

        with pytest.raises(JobExists):
            ask(store, Create(a_job(route="GET /other"), b"another"))

        assert store.read(Get(job.id)) == job
        assert _claim(store) == (Claimed(job.claimed(NOON), REQUEST),)

    def test_a_job_that_starts_at_once_is_not_claimed(self, store: Store) -> None:
        running(store)

        assert _claim(store) == ()

    # --- claim ---

    @pytest.mark.parametrize("request_", [b"", REQUEST, LONG], ids=["empty", "short", "long"])
    def test_a_claim_gives_the_job_running_and_its_request(
        self, store: Store, request_: bytes
    ) -> None:
        job = ask(store, Create(a_job(), request_))

        (claimed,) = _claim(store)

        assert claimed == Claimed(job.claimed(NOON), request_)
        assert store.read(Get(job.id)) == claimed.job
        assert _claim(store) == ()

    def test_jobs_of_one_owner_are_claimed_in_the_order_in_which_they_became_ready(
        self, store: Store
    ) -> None:
        for number, due_at in ((1, NOON), (4, NOON + 9), (3, NOON + 5), (2, NOON)):
            waiting(store, number, due_at=due_at)

        claimed = _claim(store, now=NOON + 9)

        assert [claimed.job.id for claimed in claimed] == [a_job(n).id for n in (1, 2, 3, 4)]

    def test_a_claim_makes_ready_what_has_been_due_longest(self, store: Store) -> None:
        for number in range(MOST_READY + 2):
            waiting(store, number, due_at=NOON + 9 - number / 100, owner=str(number))

        (claimed,) = _claim(store, now=NOON + 9, limit=1)
        again = _claim(store, now=NOON + 9, limit=MOST_READY)

        first = [a_job(number).id for number in reversed(range(2, MOST_READY + 2))]
        assert claimed.job.id == min(first)  # all of them have the same turn
        assert len(again) == MOST_READY

    @pytest.mark.parametrize("limit", [0, 1, 2, 9])
    def test_a_claim_takes_no_more_than_its_limit(self, store: Store, limit: int) -> None:
        for number in range(3):
            waiting(store, number)

        assert len(_claim(store, limit=limit)) == min(limit, 3)
        assert len(_claim(store)) == 3 - min(limit, 3)

    def test_a_job_is_claimed_from_the_instant_it_is_due(self, store: Store) -> None:
        waiting(store, due_at=NOON + 60)

        assert _claim(store, now=NOON + 59.9) == ()
        assert len(_claim(store, now=NOON + 60)) == 1

    def test_an_application_claims_only_its_own(self, store: Store) -> None:
        waiting(store, application="another")

        assert _claim(store) == ()
        assert len(ask(store, Claim("another", NOON, LEASE, 9))) == 1

    # --- turns ---

    def test_a_job_is_not_behind_the_thousand_of_another_owner(self, store: Store) -> None:
        store.execute([Create(a_job(number), REQUEST) for number in range(1000)])
        _claim(store, limit=5)

        waiting(store, 2000, owner="ben")
        waiting(store, 2001, owner="ben")

        claimed = [claimed.job for claimed in _claim(store, limit=4)]
        assert [job.id for job in claimed] == [a_job(n).id for n in (5, 2000, 6, 2001)]

    def test_nobody_counts_as_one_owner(self, store: Store) -> None:
        for number in range(3):
            waiting(store, number, owner=None)
        waiting(store, 3)

        claimed = [claimed.job for claimed in _claim(store)]

        assert [job.id for job in claimed] == [a_job(n).id for n in (0, 3, 1, 2)]

    def test_a_job_that_becomes_ready_late_has_its_turn_like_the_others(self, store: Store) -> None:
        waiting(store, 9, owner="ben", due_at=NOON + 5)
        for number in range(3):
            waiting(store, number)

        claimed = [claimed.job for claimed in _claim(store, now=NOON + 5)]

        assert [job.id for job in claimed] == [a_job(n).id for n in (0, 9, 1, 2)]

    # --- queues ---

    def test_no_more_jobs_of_a_queue_run_than_it_has_slots(self, store: Store) -> None:
        for number in range(4):
            waiting(store, number, queue="export", slots=2)
        waiting(store, 9, created_at=NOON + 1, due_at=NOON + 1)

        first = _claim(store, now=NOON + 1)
        second = _claim(store, now=NOON + 1)
        finish(store, first[0].job, b"hello")
        third = _claim(store, now=NOON + 1)

        assert [claimed.job.id for claimed in first] == [a_job(n).id for n in (0, 1, 9)]
        assert second == ()
        assert [claimed.job.id for claimed in third] == [a_job(2).id]

    def test_the_longest_due_of_several_queues_is_claimed_first(self, store: Store) -> None:
        for number, queue in enumerate(("", "export", "", "import", "export")):
            at = NOON + number
            waiting(
                store, number, created_at=at, due_at=at, queue=queue, slots=9 if queue else None
            )

        claimed = [claimed.job for claimed in _claim(store, now=NOON + 9, limit=4)]

        assert [job.id for job in claimed] == [a_job(n).id for n in range(4)]

    def test_a_queue_is_one_applications_own(self, store: Store) -> None:
        running(store, 1, application="another", queue="export", slots=1)
        waiting(store, 2, queue="export", slots=1)

        assert [claimed.job.id for claimed in _claim(store)] == [a_job(2).id]

    # --- one job by its id ---

    def test_a_claim_may_name_the_job(self, store: Store) -> None:
        for number in range(3):
            waiting(store, number)

        (claimed,) = _claim(store, job_id=a_job(1).id)

        assert claimed == Claimed(a_job(1).claimed(NOON), REQUEST)
        assert _claim(store, job_id=a_job(1).id) == ()
        assert [claimed.job.id for claimed in _claim(store)] == [a_job(0).id, a_job(2).id]

    def test_what_does_not_wait_cannot_be_claimed_by_its_name(self, store: Store) -> None:
        begun, early = running(store, 1), waiting(store, 2, due_at=NOON + 9)
        done = finished(store, 3)

        for job_id in (begun.id, early.id, done.id, "job_nobody"):
            assert _claim(store, job_id=job_id) == ()

    def test_a_named_job_waits_for_a_slot_of_its_queue(self, store: Store) -> None:
        busy = running(store, 1, queue="export", slots=1)
        waiting(store, 2, queue="export", slots=1)
        ask(store, Dispatch("shop", NOON, NOON + 60, 9))

        assert _claim(store, job_id=a_job(2).id) == ()
        finish(store, busy, b"hello")
        assert [job.id for job in ask(store, Dispatch("shop", NOON, NOON + 60, 9))] == [a_job(2).id]
        assert len(_claim(store, job_id=a_job(2).id)) == 1

    # --- dispatch ---

    def test_a_job_is_offered_once_until_the_offer_is_lost(self, store: Store) -> None:
        job = waiting(store, 1)
        offer = Dispatch("shop", NOON, NOON + 60, 9)

        assert ask(store, offer) == (job,)
        assert ask(store, offer) == ()
        assert _claim(store) == ()
        assert store.read(Get(job.id)) == job
        assert ask(store, replace(offer, now=NOON + 60)) == (job,)

    def test_an_offered_job_is_claimed_by_its_name(self, store: Store) -> None:
        job = waiting(store, 1)
        ask(store, Dispatch("shop", NOON, NOON + 60, 9))

        (claimed,) = _claim(store, job_id=job.id)

        assert claimed == Claimed(job.claimed(NOON), REQUEST)
        assert ask(store, Dispatch("shop", NOON + 60, NOON + 120, 9)) == ()

    def test_jobs_are_offered_in_the_order_of_claims(self, store: Store) -> None:
        for number in range(3):
            waiting(store, number)
        waiting(store, 3, owner="ben")

        first = ask(store, Dispatch("shop", NOON, NOON + 60, 2))
        second = ask(store, Dispatch("shop", NOON, NOON + 60, 9))

        assert [job.id for job in first] == [a_job(0).id, a_job(3).id]
        assert [job.id for job in second] == [a_job(1).id, a_job(2).id]

    def test_an_offered_job_can_be_canceled(self, store: Store) -> None:
        job = waiting(store, 1)
        ask(store, Dispatch("shop", NOON, NOON + 60, 9))

        ask(store, Cancel(job.id, 0, NOON, "never started"))

        assert _claim(store, job_id=job.id) == ()
        assert ask(store, Dispatch("shop", NOON + 60, NOON + 120, 9)) == ()

    # --- limits ---

    def test_a_full_queue_refuses_what_would_have_to_wait(self, store: Store) -> None:
        waiting(store, 1)
        waiting(store, 2, due_at=NOON + 60)
        waiting(store, 3, application="another")
        limits = Limits(max_queue=2)

        with pytest.raises(QueueFull, match="2 jobs"):
            ask(store, Create(a_job(4), REQUEST, limits=limits))
        begun = ask(store, Create(a_job(5).claimed(NOON), REQUEST, LEASE, limits))
        _claim(store)

        assert is_gone(store, Get(a_job(4).id))
        assert begun.status is Status.RUNNING
        assert ask(store, Create(a_job(4), REQUEST, limits=limits)) == a_job(4)

    def test_an_owner_has_so_many_unfinished_jobs_at_the_most(self, store: Store) -> None:
        waiting(store, 1)
        begun = running(store, 2)
        running(store, 3, owner="ben")
        finished(store, 4)
        limits = Limits(max_per_owner=2)

        for job in (a_job(5), a_job(5).claimed(NOON)):
            lease = LEASE if job.status is Status.RUNNING else None
            with pytest.raises(TooManyJobs, match="2 unfinished"):
                ask(store, Create(job, REQUEST, lease, limits))
        assert ask(store, Create(a_job(6, owner="ben"), REQUEST, limits=limits)).owner == "ben"
        assert ask(store, Create(a_job(7, owner=None), REQUEST, limits=limits)).owner is None
        finish(store, begun, b"hello")

        assert ask(store, Create(a_job(5), REQUEST, limits=limits)) == a_job(5)

    def test_a_batch_has_no_more_jobs_admitted_than_limits_allow(self, store: Store) -> None:
        limits = Limits(max_queue=3)

        answers = store.execute([Create(a_job(n), REQUEST, limits=limits) for n in range(5)])

        assert [type(answer) for answer in answers] == [Job, Job, Job, QueueFull, QueueFull]

    def test_limits_do_not_keep_the_same_request_from_its_job(self, store: Store) -> None:
        job = waiting(store, 1, identity=SAME)

        twin = Create(a_job(2, identity=SAME), REQUEST, limits=Limits(1, 1))

        assert ask(store, twin) == job

    # --- tries ---

    def test_a_failed_try_is_followed_by_another_and_leaves_nothing_behind(
        self, store: Store
    ) -> None:
        job = running(store, retries=1)
        ask(store, Append(job.id, 1, 0, LONG))
        error = Failure("handler-exception", "The handler raised OSError.")

        back = ask(store, Finish(job.id, 1, NOON, a_result(2), error, b"page", NOON + 30))

        assert back == job.retried(NOON, NOON + 30)
        assert is_gone(store, Load(job.id, 1, 0))
        assert _claim(store, now=NOON + 29) == ()
        (claimed,) = _claim(store, now=NOON + 30)
        assert (claimed.job.attempt, claimed.job.tries, claimed.request) == (2, 1, REQUEST)
        ended = ask(store, Finish(job.id, 2, NOON + 31, a_result(), error, b"page!", NOON + 60))
        assert ended.status is Status.FAILED
        assert store.read(Load(job.id, 2, 0)) == b"page!"

    # --- histories ---

    def test_durations_of_a_route_are_remembered_in_their_order(self, store: Store) -> None:
        ask(store, Observe("shop", "POST /reports", (1.0, 0.5)))
        ask(store, Observe("shop", "POST /exports", (9.0,)))
        ask(store, Observe("another", "POST /reports", (7.0,)))
        ask(store, Observe("shop", "POST /reports", (2.0,)))

        assert store.read(History("shop", "POST /reports")) == (1.0, 0.5, 2.0)
        assert store.read(History("shop", "POST /other")) == ()

    def test_only_the_latest_durations_are_remembered(self, store: Store) -> None:
        for start in range(0, REMEMBERED + 100, 100):
            ask(store, Observe("shop", "a", tuple(float(start + n) for n in range(100))))

        known = store.read(History("shop", "a"))

        assert known == tuple(float(100 + n) for n in range(REMEMBERED))

    # --- pieces ---

    def test_pieces_of_a_request_come_before_their_job_and_stay_while_it_lives(
        self, store: Store
    ) -> None:
        job = a_job(repeatable=True)
        store.execute([Append(job.id, 0, 0, LONG), Append(job.id, 0, 1, b"")])

        ask(store, Create(job, REQUEST))
        _claim(store)
        ask(store, Release(job.id, 1, NOON))
        _claim(store)

        assert store.read(Load(job.id, 0, 0)) == LONG
        assert store.read(Load(job.id, 0, 1)) == b""

    def test_a_piece_of_a_request_behind_its_job_is_refused(self, store: Store) -> None:
        job = waiting(store)

        with pytest.raises(JobExists):
            ask(store, Append(job.id, 0, 0, b"late"))

        assert is_gone(store, Load(job.id, 0, 0))

    def test_a_piece_that_comes_again_replaces_the_first(self, store: Store) -> None:
        job = running(store)
        for attempt, job_id in ((0, a_job(9).id), (1, job.id)):
            store.execute([Append(job_id, attempt, 0, b"a"), Append(job_id, attempt, 0, b"b")])

            assert store.read(Load(job_id, attempt, 0)) == b"b"

    def test_a_piece_that_is_not_there_is_not_found(self, store: Store) -> None:
        job = finished(store)

        for attempt, index in ((0, 0), (1, 1), (2, 0)):
            assert is_gone(store, Load(job.id, attempt, index))
        assert is_gone(store, Load("job_nobody", 1, 0))

    def test_a_piece_of_a_result_needs_its_job(self, store: Store) -> None:
        with pytest.raises(JobNotFound):
            ask(store, Append("job_nobody", 1, 0, b"x"))

    @pytest.mark.parametrize("attempt", [1, 3])
    def test_a_piece_of_another_attempt_is_refused(self, store: Store, attempt: int) -> None:
        job = running(store, attempt=1)
        assert job.attempt == 2

        with pytest.raises(LeaseLost):
            ask(store, Append(job.id, attempt, 0, b"x"))

        assert is_gone(store, Load(job.id, attempt, 0))

    def test_a_piece_is_refused_after_the_end(self, store: Store) -> None:
        job = finished(store)

        with pytest.raises(LeaseLost):
            ask(store, Append(job.id, 1, 0, b"x"))

        assert store.read(Load(job.id, 1, 0)) == b"hello"

    # --- renew ---

    def test_a_renewed_lease_is_not_swept(self, store: Store) -> None:
        job = running(store)

        assert ask(store, Renew(((job.id, 1),), LEASE + 15)) == ()
        assert ask(store, Sweep(LEASE + 14)).jobs == ()
        assert store.read(Get(job.id)) == job
        assert [lost.id for lost in ask(store, Sweep(LEASE + 16)).jobs] == [job.id]

    def test_renewing_tells_which_leases_are_lost(self, store: Store) -> None:
        held, done = running(store, 1), finished(store, 2)
        back, again = waiting(store, 3), running(store, 4, attempt=1)
        lost = ((done.id, 1), (back.id, 0), (again.id, 1), ("job_nobody", 1))

        assert ask(store, Renew(((held.id, 1), *lost), LEASE + 15)) == lost
        assert [job.id for job in ask(store, Sweep(LEASE + 1)).jobs] == [again.id]

    # --- changes of a job ---

    def test_a_report_is_kept_and_leaves_the_lease_alone(self, store: Store) -> None:
        job = running(store)

        reported = ask(store, Report(job.id, 1, NOON + 1, 40, "half-way"))

        assert reported == job.reported(NOON + 1, 40, "half-way")
        assert store.read(Get(job.id)) == reported
        assert ask(store, Sweep(LEASE - 1)).jobs == ()
        assert len(ask(store, Sweep(LEASE)).jobs) == 1

    @pytest.mark.parametrize(
        "change",
        [
            Report("job_nobody", 1, NOON, 1, None),
            Finish("job_nobody", 1, NOON, None, None),
            Release("job_nobody", 1, NOON),
            Cancel("job_nobody", 1, NOON, "never started"),
        ],
        ids=lambda change: type(change).__name__,
    )
    def test_a_change_of_an_unknown_job_is_not_found(self, store: Store, change: Command) -> None:
        with pytest.raises(JobNotFound):
            ask(store, change)

    @pytest.mark.parametrize("command", [Report, Finish, Release])
    @pytest.mark.parametrize("attempt", [0, 1, 3])
    def test_a_change_by_another_attempt_is_refused(
        self, store: Store, command: type[Command], attempt: int
    ) -> None:
        job = running(store, attempt=1)

        with pytest.raises(LeaseLost):
            ask(store, _by(command, job.id, attempt))

        assert store.read(Get(job.id)) == job

    @pytest.mark.parametrize("command", [Report, Finish, Release])
    def test_a_change_after_the_end_is_refused(self, store: Store, command: type[Command]) -> None:
        job = finished(store)

        with pytest.raises(LeaseLost):
            ask(store, _by(command, job.id, job.attempt))

        assert store.read(Get(job.id)) == job
        assert store.read(Load(job.id, 1, 0)) == b"hello"

    @pytest.mark.parametrize("body", [b"", b"hello", LONG], ids=["empty", "short", "long"])
    def test_a_body_in_one_piece_is_kept(self, store: Store, body: bytes) -> None:
        job = finished(store, body=body)

        assert job.status is Status.SUCCEEDED
        assert store.read(Get(job.id)) == job
        assert store.read(Load(job.id, 1, 0)) == body

    def test_a_body_in_pieces_is_kept(self, store: Store) -> None:
        job = running(store)
        store.execute([Append(job.id, 1, 0, LONG), Append(job.id, 1, 1, b"")])

        finish(store, job, b"end", chunks=3)

        assert [store.read(Load(job.id, 1, index)) for index in range(3)] == [LONG, b"", b"end"]

    def test_a_result_without_chunks_has_no_body(self, store: Store) -> None:
        job = running(store)

        finish(store, job, b"", chunks=0)

        assert is_gone(store, Load(job.id, 1, 0))

    def test_only_the_pieces_of_the_result_stay(self, store: Store) -> None:
        job = running(store)
        store.execute([Append(job.id, 1, index, b"early") for index in range(4)])

        finish(store, job, b"end", chunks=2)

        assert store.read(Load(job.id, 1, 0)) == b"early"
        assert store.read(Load(job.id, 1, 1)) == b"end"
        assert is_gone(store, Load(job.id, 1, 2))
        assert is_gone(store, Load(job.id, 1, 3))

    @pytest.mark.parametrize("body", [b"end", LONG], ids=["short", "long"])
    def test_the_last_piece_is_the_one_that_comes_at_the_end(
        self, store: Store, body: bytes
    ) -> None:
        job = running(store)
        ask(store, Append(job.id, 1, 0, b"early"))

        finish(store, job, body)

        assert store.read(Load(job.id, 1, 0)) == body

    def test_a_failure_without_a_response_drops_the_pieces(self, store: Store) -> None:
        job = running(store)
        ask(store, Append(job.id, 1, 0, b"half of it"))

        ended = ask(store, Finish(job.id, 1, NOON, None, Failure("result-too-large", "…")))

        assert ended.status is Status.FAILED
        assert is_gone(store, Load(job.id, 1, 0))

    @pytest.mark.parametrize("how", ["finish", "cancel", "sweep", "release"])
    def test_the_request_goes_when_its_job_is_finished(self, store: Store, how: str) -> None:
        job = a_job()
        store.execute([Append(job.id, 0, 0, b"a"), Create(job, LONG)])
        (claimed,) = _claim(store)
        end: dict[str, Command] = {
            "finish": Finish(job.id, 1, NOON, a_result(), None, b"hello"),
            "cancel": Cancel(job.id, 1, NOON, "asked to stop"),
            "sweep": Sweep(LEASE),
            "release": Release(job.id, 1, NOON),
        }

        ask(store, end[how])

        assert claimed.request == LONG
        assert _job(store, job.id).is_finished
        assert is_gone(store, Load(job.id, 0, 0))

    def test_a_job_that_is_released_waits_again_with_its_request(self, store: Store) -> None:
        job = running(store, repeatable=True)
        ask(store, Append(job.id, 1, 0, b"half of it"))

        back = ask(store, Release(job.id, 1, NOON + 5))

        assert back == job.released(NOON + 5)
        assert is_gone(store, Load(job.id, 1, 0))
        assert _claim(store, now=NOON + 4) == ()
        assert _claim(store, now=NOON + 5) == (Claimed(back.claimed(NOON + 5), REQUEST),)

    def test_a_release_fails_what_is_unsafe_to_repeat(self, store: Store) -> None:
        job = running(store)

        ended = ask(store, Release(job.id, 1, NOON))

        assert ended == job.released(NOON)
        assert ended.error.code == "interrupted"
        assert _claim(store) == ()

    @pytest.mark.parametrize("make", [waiting, running])
    def test_a_canceled_job_is_final(self, store: Store, make: Any) -> None:
        job = make(store)

        canceled = ask(store, Cancel(job.id, job.attempt, NOON, "asked to stop"))

        assert canceled == job.canceled(NOON, "asked to stop")
        assert store.read(Get(job.id)) == canceled
        assert _claim(store) == ()
        assert ask(store, Sweep(NOON + TTL)).jobs == ()
        with pytest.raises(LeaseLost):
            finish(store, job, b"late")

    def test_a_cancel_leaves_a_finished_job_as_it_is(self, store: Store) -> None:
        job = finished(store)

        assert ask(store, Cancel(job.id, job.attempt, NOON + 1, "stopped")) == job
        assert store.read(Get(job.id)) == job
        assert store.read(Load(job.id, 1, 0)) == b"hello"

    def test_a_cancel_that_speaks_of_another_attempt_does_nothing(self, store: Store) -> None:
        job = running(store)

        assert ask(store, Cancel(job.id, 0, NOON, "never started")) == job
        assert store.read(Get(job.id)) == job

    # --- purge ---

    def test_a_purged_job_is_gone_with_its_body(self, store: Store) -> None:
        job = running(store)
        ask(store, Append(job.id, 1, 0, LONG))
        job = finish(store, job, b"end", chunks=2)

        assert ask(store, Purge(job.id, job.revision)) is True
        for query in (Get(job.id), Load(job.id, 1, 0), Load(job.id, 1, 1)):
            assert is_gone(store, query)
        with pytest.raises(JobNotFound):
            ask(store, Purge(job.id, job.revision))

    def test_a_purge_of_another_revision_does_nothing(self, store: Store) -> None:
        job = finished(store)

        assert ask(store, Purge(job.id, job.revision - 1)) is False
        assert store.read(Get(job.id)) == job

    @pytest.mark.parametrize("make", [waiting, running])
    def test_a_job_that_is_not_finished_is_not_purged(self, store: Store, make: Any) -> None:
        job = make(store)

        assert ask(store, Purge(job.id, job.revision)) is False
        assert store.read(Get(job.id)) == job

    def test_the_id_of_a_purged_job_is_free(self, store: Store) -> None:
        job = finished(store)
        ask(store, Purge(job.id, job.revision))

        assert waiting(store) == a_job()
        assert is_gone(store, Load(job.id, 1, 0))

    # --- sweep ---

    def test_a_repeatable_job_is_taken_from_a_lost_worker(self, store: Store) -> None:
        job = running(store, repeatable=True)
        ask(store, Append(job.id, 1, 0, b"half of it"))

        (back,) = ask(store, Sweep(LEASE)).jobs

        assert back == job.lost(LEASE)
        assert store.read(Get(job.id)) == back
        assert is_gone(store, Load(job.id, 1, 0))
        (claimed,) = _claim(store, now=LEASE)
        assert (claimed.job.attempt, claimed.request) == (2, REQUEST)

    def test_another_job_of_a_lost_worker_is_interrupted(self, store: Store) -> None:
        job = running(store)

        (ended,) = ask(store, Sweep(LEASE)).jobs

        assert ended == job.lost(LEASE)
        assert store.read(Get(job.id)) == ended

    def test_no_lease_is_taken_before_its_end(self, store: Store) -> None:
        running(store)

        assert ask(store, Sweep(LEASE - 0.1)).jobs == ()

    def test_waiting_jobs_are_never_swept(self, store: Store) -> None:
        job = waiting(store)

        assert ask(store, Sweep(NOON + 1e9)).jobs == ()
        assert store.read(Get(job.id)) == job

    def test_a_result_expires_then_its_tombstone(self, store: Store) -> None:
        job = running(store)
        ask(store, Append(job.id, 1, 0, LONG))
        job = finish(store, job, b"end", chunks=2)

        assert ask(store, Sweep(NOON + TTL - 0.1)).jobs == ()
        assert store.read(Load(job.id, 1, 0)) == LONG

        assert ask(store, Sweep(NOON + TTL)).jobs == ()
        assert store.read(Get(job.id)) == job.stripped()
        assert is_gone(store, Load(job.id, 1, 0))
        assert is_gone(store, Load(job.id, 1, 1))

        ask(store, Sweep(NOON + TTL + TOMBSTONE - 0.1))
        assert not is_gone(store, Get(job.id))

        assert ask(store, Sweep(NOON + TTL + TOMBSTONE)).jobs == ()
        assert is_gone(store, Get(job.id))

    def test_a_short_body_goes_with_its_result(self, store: Store) -> None:
        job = finished(store)

        ask(store, Sweep(NOON + TTL))

        assert is_gone(store, Load(job.id, 1, 0))

    def test_a_sweep_does_one_step_at_a_time(self, store: Store) -> None:
        job = finished(store)
        late = Sweep(NOON + 1e9)

        ask(store, late)
        assert not is_gone(store, Get(job.id))
        ask(store, late)
        assert is_gone(store, Get(job.id))

    def test_a_sweep_takes_the_longest_due_up_to_its_limit(self, store: Store) -> None:
        for number in range(3):
            running(store, number)
            finished(store, 3 + number, ttl=TTL - number)
            ask(store, Renew(((a_job(number).id, 1),), LEASE - number))
        sweep = Sweep(NOON + TTL, limit=2)

        lost = ask(store, sweep)

        assert [job.id for job in lost.jobs] == [a_job(2).id, a_job(1).id]
        assert not lost.is_done
        assert [_job(store, a_job(n).id).result is None for n in (3, 4, 5)] == [False, True, True]
        rest = ask(store, sweep)
        assert [job.id for job in rest.jobs] == [a_job(0).id]
        assert rest.is_done
        assert _job(store, a_job(3).id).result is None

    def test_pieces_whose_job_never_came_are_dropped(self, store: Store) -> None:
        early, late, created = a_job(0).id, a_job(10).id, a_job(1)
        for job_id in (early, late, created.id):
            ask(store, Append(job_id, 0, 0, b"x"))
        ask(store, Create(created, REQUEST))

        ask(store, Sweep(NOON + 5 + ORPHANED))

        assert is_gone(store, Load(early, 0, 0))
        assert store.read(Load(late, 0, 0)) == b"x"
        assert store.read(Load(created.id, 0, 0)) == b"x"

    # --- callbacks ---

    def test_a_callback_is_not_due_before_its_job_is_finished(self, store: Store) -> None:
        waiting(store, 1, callback=CALLBACK)
        running(store, 2, callback=CALLBACK)
        finished(store, 3)

        assert _claim_callbacks(store, now=NOON + 1e9) == ()

    @pytest.mark.parametrize("how", ["finish", "cancel", "sweep", "release"])
    def test_a_callback_is_due_in_the_moment_its_job_is_finished(
        self, store: Store, how: str
    ) -> None:
        job = running(store, callback=CALLBACK)
        end: dict[str, Command] = {
            "finish": Finish(job.id, 1, NOON, a_result(), None, b"hello"),
            "cancel": Cancel(job.id, 1, NOON, "asked to stop"),
            "sweep": Sweep(LEASE),
            "release": Release(job.id, 1, NOON),
        }
        ask(store, end[how])
        done = _job(store, job.id)

        assert done.is_finished
        assert done.callback == CALLBACK.due(done.updated_at)
        assert _claim_callbacks(store, now=done.updated_at - 0.1) == ()
        assert [due.id for due in _claim_callbacks(store, now=done.updated_at)] == [job.id]

    def test_a_callback_of_a_job_that_never_started_is_due_when_it_is_canceled(
        self, store: Store
    ) -> None:
        job = waiting(store, callback=CALLBACK)

        ask(store, Cancel(job.id, 0, NOON, "never started"))

        assert [due.id for due in _claim_callbacks(store)] == [job.id]

    def test_a_job_that_is_returned_has_nothing_to_say_yet(self, store: Store) -> None:
        job = running(store, callback=CALLBACK, repeatable=True)

        ask(store, Release(job.id, 1, NOON))

        assert _claim_callbacks(store, now=NOON + 1e9) == ()
        assert _job(store, job.id).callback == CALLBACK

    def test_a_claimed_callback_is_nobody_elses_until_its_lease_ends(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)

        (claimed,) = _claim_callbacks(store)

        assert claimed.callback == CALLBACK.claimed(NOON + 60)
        assert store.read(Get(job.id)) == claimed
        assert _claim_callbacks(store, now=NOON + 59.9) == ()
        (again,) = _claim_callbacks(store, now=NOON + 60)
        assert again.callback == CALLBACK.claimed(NOON).claimed(NOON + 120)

    def test_what_becomes_of_a_callback_leaves_its_job_alone(self, store: Store) -> None:
        job = finished(store, body=LONG, callback=CALLBACK)
        follow = _Follower(store)

        (claimed,) = _claim_callbacks(store)
        settled = ask(store, SettleCallback(job.id, 1, NOON + 300))

        for after in (claimed, settled):
            assert (after.revision, after.updated_at) == (job.revision, job.updated_at)
        assert store.read(Load(job.id, 1, 0)) == LONG
        assert follow() == set()

    def test_a_short_body_stays_beside_a_callback(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)

        _claim_callbacks(store)
        ask(store, SettleCallback(job.id, 1, None))

        assert store.read(Load(job.id, 1, 0)) == b"hello"

    def test_a_callback_that_failed_is_due_when_it_was_said_to_be(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)
        _claim_callbacks(store)

        ask(store, SettleCallback(job.id, 1, NOON + 5))

        assert _claim_callbacks(store, now=NOON + 4.9) == ()
        (again,) = _claim_callbacks(store, now=NOON + 5)
        assert again.callback == CALLBACK.claimed(NOON).claimed(NOON + 65)

    def test_a_callback_that_is_over_is_never_due_again(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)
        _claim_callbacks(store)

        settled = ask(store, SettleCallback(job.id, 1, None))

        assert settled.callback_at is None
        assert ask(store, SettleCallback(job.id, 1, NOON)) == settled
        assert _claim_callbacks(store, now=NOON + TTL - 1) == ()

    @pytest.mark.parametrize("attempts", [0, 1, 3])
    def test_who_comes_with_an_old_claim_of_a_callback_changes_nothing(
        self, store: Store, attempts: int
    ) -> None:
        job = finished(store, callback=CALLBACK)
        _claim_callbacks(store)
        (claimed,) = _claim_callbacks(store, now=NOON + 60)

        assert ask(store, SettleCallback(job.id, attempts, None)) == claimed
        assert store.read(Get(job.id)) == claimed

    def test_a_job_without_a_callback_has_nothing_to_settle(self, store: Store) -> None:
        job = finished(store)

        assert ask(store, SettleCallback(job.id, 1, NOON)) == job
        assert _claim_callbacks(store) == ()
        with pytest.raises(JobNotFound):
            ask(store, SettleCallback("job_nobody", 1, None))

    def test_callbacks_are_claimed_the_longest_due_first_up_to_a_limit_and_by_application(
        self, store: Store
    ) -> None:
        for number, application in ((1, "shop"), (2, "shop"), (3, "another"), (4, "shop")):
            finished(store, number, application=application, callback=CALLBACK)
        _claim_callbacks(store)
        for number, again_at in ((1, NOON - 1), (2, NOON - 1), (4, NOON - 2)):
            ask(store, SettleCallback(a_job(number).id, 1, again_at))

        first = _claim_callbacks(store, limit=2)

        assert [job.id for job in first] == [a_job(4).id, a_job(1).id]
        assert [job.id for job in _claim_callbacks(store)] == [a_job(2).id]
        (other,) = ask(store, ClaimCallbacks("another", NOON, NOON + 60, 9))
        assert other.id == a_job(3).id

    @pytest.mark.parametrize("is_swept", [False, True])
    def test_the_callback_of_an_expired_job_is_dropped(
        self,
        store: Store,
        is_swept: bool,  # noqa: FBT001
    ) -> None:
        job = finished(store, callback=CALLBACK)
        if is_swept:
            ask(store, Sweep(NOON + TTL))

        (dropped,) = _claim_callbacks(store, now=NOON + TTL)

        assert dropped.id == job.id
        assert dropped.callback == CALLBACK
        assert _claim_callbacks(store, now=NOON + TTL) == ()

    def test_a_callback_goes_with_its_job(self, store: Store) -> None:
        purged, forgotten = (finished(store, n, callback=CALLBACK) for n in (1, 2))

        ask(store, Purge(purged.id, purged.revision))
        for _ in ("result", "tombstone"):
            ask(store, Sweep(NOON + 1e9))

        assert is_gone(store, Get(forgotten.id))
        assert _claim_callbacks(store, now=NOON + 1e9) == ()

    # --- other queries ---

    # --- requests that are one and the same --------------------------------------------------------------------------

    def test_the_same_request_finds_the_job_that_it_made_before(self, store: Store) -> None:
        first = waiting(store, 1, identity=SAME)

        again = ask(store, Create(a_job(2, identity=SAME), REQUEST))

        assert again == first
        assert is_gone(store, Get(a_job(2).id))

    @pytest.mark.parametrize("make", [running, finished])
    def test_it_finds_the_job_as_it_is_now(self, store: Store, make: Any) -> None:
        first = make(store, 1, identity=SAME)

        assert ask(store, Create(a_job(2, identity=SAME), REQUEST)) == first

    def test_two_of_them_in_one_batch_are_one_job(self, store: Store) -> None:
        creates = [Create(a_job(number, identity=SAME), REQUEST) for number in (1, 2)]

        first, second = store.execute(creates)

        assert first == second == a_job(1, identity=SAME)

    def test_another_request_with_the_same_key_is_refused(self, store: Store) -> None:
        first = waiting(store, 1, identity=SAME)
        other = replace(SAME, fingerprint="another")

        with pytest.raises(KeyReused) as refusal:
            ask(store, Create(a_job(2, identity=other), REQUEST))

        assert refusal.value.args == (first.id,)
        assert is_gone(store, Get(a_job(2).id))

    def test_a_key_is_free_when_its_job_has_expired(self, store: Store) -> None:
        finished(store, 1, identity=SAME)
        later = a_job(2, identity=SAME, created_at=NOON + TTL)

        assert ask(store, Create(later, REQUEST)) == later
        assert ask(store, Create(a_job(3, identity=SAME), REQUEST)) == later

    def test_a_key_is_free_when_its_job_was_purged(self, store: Store) -> None:
        first = finished(store, 1, identity=SAME)
        ask(store, Purge(first.id, first.revision))

        assert waiting(store, 2, identity=SAME) == a_job(2, identity=SAME)

    def test_a_key_for_the_time_of_the_work_is_free_after_it(self, store: Store) -> None:
        brief = replace(SAME, while_unfinished=True)
        first = running(store, 1, identity=brief)
        assert ask(store, Create(a_job(2, identity=brief), REQUEST)) == first

        finish(store, first, b"")

        assert waiting(store, 2, identity=brief) == a_job(2, identity=brief)

    # --- lists -------------------------------------------------------------------------------------------------------

    def test_a_list_has_the_owners_jobs_newest_first(self, store: Store) -> None:
        mine = [waiting(store, number) for number in (1, 2, 3)]
        waiting(store, 4, owner="bob")
        waiting(store, 5, owner=None)
        waiting(store, 6, application="another")

        assert store.read(List("shop", "ada", None, 9, None)) == tuple(reversed(mine))

    def test_a_list_goes_on_behind_a_job_though_others_are_added(self, store: Store) -> None:
        first, second, third = (waiting(store, number) for number in (1, 2, 3))
        page = store.read(List("shop", "ada", None, 2, None))
        waiting(store, 4)

        rest = store.read(List("shop", "ada", None, 2, second.id))

        assert page == (third, second)
        assert rest == (first,)

    def test_a_list_may_be_of_one_status(self, store: Store) -> None:
        waiting(store, 1)
        done = finished(store, 2)
        begun = running(store, 3)

        assert store.read(List("shop", "ada", Status.SUCCEEDED, 9, None)) == (done,)
        assert store.read(List("shop", "ada", Status.RUNNING, 9, None)) == (begun,)

    # --- positions, changes ------------------------------------------------------------------------------------------

    def test_a_list_may_be_of_everybody_and_of_one_route(self, store: Store) -> None:
        first = waiting(store, 1)
        second = waiting(store, 2, owner=None, route="GET /exports")
        third = waiting(store, 3, owner="ben", route="GET /exports")
        waiting(store, 4, application="another")

        everybodys = store.read(List("shop", None, None, 9, None))
        exports = store.read(List("shop", None, None, 1, third.id, "GET /exports"))
        bens = store.read(List("shop", "ben", None, 9, None, "POST /reports"))

        assert (everybodys, exports, bens) == ((third, second, first), (second,), ())

    def test_a_position_counts_the_ready_jobs_in_front_and_all_that_run(self, store: Store) -> None:
        first, second, third = (waiting(store, number) for number in (3, 1, 2))
        early = waiting(store, 4, due_at=NOON + 9)
        aside = waiting(store, 7, queue="export", slots=1)
        waiting(store, 0, application="another")
        begun, done = running(store, 5), finished(store, 6)

        jobs = [first, second, third, early, aside, begun, done]
        ahead = [store.read(Position(job.id)) for job in jobs]

        assert ahead == [Ahead(n, 1) for n in (0, 1, 2, 3, 0, 0, 0)]
        assert [store.read(Position(job.id, 1)).jobs for job in jobs] == [0, 1, 1, 1, 0, 0, 0]  # type: ignore[attr-defined]
        assert store.read(Position("job_nobody")) == Ahead(0, 0)

    def test_a_job_is_due_if_it_could_be_claimed(self, store: Store) -> None:
        running(store, 1)
        waiting(store, 2, application="another")
        assert store.read(Due("shop", NOON)) is False
        waiting(store, 3, due_at=NOON + 9)
        assert store.read(Due("shop", NOON + 8.9)) is False
        assert store.read(Due("shop", NOON + 9)) is True
        waiting(store, 4)
        assert store.read(Due("shop", NOON)) is True

    def test_changes_begin_now(self, store: Store) -> None:
        waiting(store)

        changed = store.read(Changes(-1))

        assert isinstance(changed, Changed)
        assert changed.job_ids == ()
        assert store.read(Changes(changed.cursor)) == changed

    def test_changes_of_an_empty_store_begin_with_the_first(self, store: Store) -> None:
        follow = _Follower(store)

        job = waiting(store)

        assert follow() == {job.id}

    def test_changes_tell_whose_jobs_are_new_other_or_gone(self, store: Store) -> None:
        follow = _Follower(store)
        job, other = waiting(store, 1), running(store, 2)
        assert follow() == {job.id, other.id}
        assert follow() == set()

        _claim(store)
        assert follow() == {job.id}
        ask(store, Report(job.id, 1, NOON, 7, None))
        assert follow() == {job.id}
        done = finish(store, job.claimed(NOON), b"hello")
        assert follow() == {job.id}
        ask(store, Sweep(LEASE))
        assert follow() == {other.id}
        ask(store, Purge(done.id, done.revision))
        assert follow() == {job.id}

    def test_changes_tell_what_expired(self, store: Store) -> None:
        job = finished(store)
        follow = _Follower(store)

        ask(store, Sweep(NOON + TTL))
        assert follow() == {job.id}
        ask(store, Sweep(NOON + TTL + TOMBSTONE))
        assert follow() == {job.id}

    def test_what_changes_nothing_is_not_among_the_changes(self, store: Store) -> None:
        job, done = running(store, 1), finished(store, 2)
        follow = _Follower(store)

        store.execute(
            [
                Renew(((job.id, 1),), LEASE + 15),
                Append(job.id, 1, 0, b"x"),
                Report(job.id, 1, NOON, None, None),
                Report(job.id, 2, NOON, 5, None),
                Cancel(done.id, 1, NOON, "stopped"),
                Purge(done.id, 99),
                Create(a_job(1), REQUEST),
                Sweep(NOON),
            ]
        )

        assert follow() == set()

    def test_a_cursor_from_elsewhere_gets_all_that_is_kept(self, store: Store) -> None:
        job = waiting(store)

        changed = store.read(Changes(10**9))

        assert isinstance(changed, Changed)
        assert changed.job_ids == (job.id,)
        assert changed.cursor < 10**9

    def test_a_store_that_is_read_tells_the_same_version(self, store: Store) -> None:
        job = waiting(store)
        before = store.version()

        store.read(Get(job.id))

        assert store.version() == before


def _job(store: Store, job_id: str) -> Job:
    job = store.read(Get(job_id))
    assert isinstance(job, Job)
    return job


def _claim(
    store: Store, now: float = NOON, limit: int = 9, job_id: str | None = None
) -> tuple[Claimed, ...]:
    claimed: tuple[Claimed, ...] = ask(store, Claim("shop", now, now + 15, limit, job_id))
    return claimed


def _claim_callbacks(store: Store, now: float = NOON, limit: int = 9) -> tuple[Job, ...]:
    jobs: tuple[Job, ...] = ask(store, ClaimCallbacks("shop", now, now + 60, limit))
    return jobs


def _by(command: type[Command], job_id: str, attempt: int) -> Command:
    if command is Report:
        return Report(job_id, attempt, NOON, 50, None)
    if command is Finish:
        return Finish(job_id, attempt, NOON, a_result(), None, b"mine")
    return Release(job_id, attempt, NOON)


class _Follower:
    """Asks a store what has changed since it last asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cursor = -1
        self()

    def __call__(self) -> set[str]:
        changed = self._store.read(Changes(self._cursor))
        assert isinstance(changed, Changed)
        self._cursor = changed.cursor
        return set(changed.job_ids)


JOBS = st.integers(0, 4)
ATTEMPTS = st.sampled_from([0, 0, 0, 0, 1, -1])
"""How far a command's attempt is from the job's."""
BODIES = st.sampled_from([b"", b"hello", LONG])
SPANS = st.sampled_from([0.0, 1.0, 20.0, 4000.0, 90_000.0])
LIMITS = st.sampled_from([1, 2, 200])
IDENTITIES = [
    None,
    SAME,
    replace(SAME, fingerprint="another"),
    replace(SAME, while_unfinished=True),
]


class StoreComparison(RuleBasedStateMachine):
    """Does the same at random to a store and to a `MemoryStore`, and compares all that they say.

    Inherit from it and say how a store is made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.model = MemoryStore()
        self.now = NOON
        self.size = 1
        self.batch: list[Command] = []
        self.followers = _Follower(self.store), _Follower(self.model)

    @abstractmethod
    def make_store(self) -> Store:
        """Return an empty store, opened."""

    def teardown(self) -> None:
        """Execute what is left, and close the store."""
        self._execute()
        self.store.close()

    @rule(seconds=SPANS)
    def let_time_pass(self, seconds: float) -> None:
        self._execute()
        self.now += seconds

    @rule(size=st.integers(1, 6))
    def let_batches_have(self, size: int) -> None:
        self.size = size

    @rule(
        number=JOBS,
        application=st.sampled_from(["shop", "another"]),
        delay=SPANS,
        ttl=SPANS,
        repeatable=st.booleans(),
        callback=st.sampled_from([None, CALLBACK]),
        identity=st.sampled_from(IDENTITIES),
        owner=st.sampled_from(["ada", "ben", None]),
        queue=st.sampled_from(["", "", "export"]),
        retries=st.sampled_from([0, 1]),
        limits=st.sampled_from([None, Limits(2, None), Limits(None, 2)]),
        at_once=st.booleans(),
        request=BODIES,
    )
    def create(  # noqa: PLR0913, PLR0917  what a job begins with
        self,
        number: int,
        delay: float,
        queue: str,
        limits: Limits | None,
        at_once: bool,  # noqa: FBT001
        request: bytes,
        **rest: Any,
    ) -> None:
        slots = 1 if queue else None
        instants = {"created_at": self.now, "due_at": self.now + delay}
        job = a_job(number, queue=queue, slots=slots, **instants, **rest)
        if at_once:
            self._ask(Create(job.claimed(self.now), request, self.now + 15, limits))
        else:
            self._ask(Create(job, request, limits=limits))

    @rule(number=JOBS, off=ATTEMPTS, index=st.integers(0, 3), data=BODIES, early=st.booleans())
    def append(self, number: int, off: int, index: int, data: bytes, early: bool) -> None:  # noqa: FBT001
        attempt = 0 if early else max(1, self._attempt(number) + off)
        self._ask(Append(a_job(number).id, attempt, index, data))

    @rule(application=st.sampled_from(["shop", "another"]), limit=LIMITS)
    def claim(self, application: str, limit: int) -> None:
        self._ask(Claim(application, self.now, self.now + 15, limit))

    @rule(number=JOBS)
    def claim_one(self, number: int) -> None:
        self._ask(Claim("shop", self.now, self.now + 15, 1, a_job(number).id))

    @rule(application=st.sampled_from(["shop", "another"]), limit=LIMITS)
    def dispatch(self, application: str, limit: int) -> None:
        self._ask(Dispatch(application, self.now, self.now + 10, limit))

    @rule(seconds=st.lists(st.floats(0, 9), max_size=3))
    def observe(self, seconds: list[float]) -> None:
        self._ask(Observe("shop", "POST /reports", tuple(seconds)))

    @rule(leases=st.lists(st.tuples(JOBS, ATTEMPTS), max_size=3))
    def renew(self, leases: list[tuple[int, int]]) -> None:
        held = tuple((a_job(number).id, self._attempt(number) + off) for number, off in leases)
        self._ask(Renew(held, self.now + 15))

    @rule(number=JOBS, off=ATTEMPTS, progress=st.sampled_from([None, 0, 50, 100]))
    def report(self, number: int, off: int, progress: int | None) -> None:
        attempt = self._attempt(number) + off
        self._ask(Report(a_job(number).id, attempt, self.now, progress, None))

    @rule(
        number=JOBS,
        off=ATTEMPTS,
        chunks=st.sampled_from([None, 0, 1, 1, 3]),
        body=BODIES,
        delay=st.sampled_from([None, 20.0]),
    )
    def finish(
        self, number: int, off: int, chunks: int | None, body: bytes, delay: float | None
    ) -> None:
        result = None if chunks is None else a_result(chunks)
        error = Failure("handler-exception", "…") if result is None else None
        attempt = self._attempt(number) + off
        retry_at = None if delay is None else self.now + delay
        self._ask(Finish(a_job(number).id, attempt, self.now, result, error, body, retry_at))

    @rule(number=JOBS, off=ATTEMPTS)
    def release(self, number: int, off: int) -> None:
        self._ask(Release(a_job(number).id, self._attempt(number) + off, self.now))

    @rule(number=JOBS, off=ATTEMPTS)
    def cancel(self, number: int, off: int) -> None:
        attempt = self._attempt(number) + off
        self._ask(Cancel(a_job(number).id, attempt, self.now, "asked to stop"))

    @rule(application=st.sampled_from(["shop", "another"]), limit=LIMITS)
    def claim_callbacks(self, application: str, limit: int) -> None:
        self._ask(ClaimCallbacks(application, self.now, self.now + 60, limit))

    @rule(number=JOBS, off=ATTEMPTS, delay=st.sampled_from([None, 0.0, 20.0]))
    def settle_callback(self, number: int, off: int, delay: float | None) -> None:
        job = self._known(number)
        attempts = (job.callback.attempts if job and job.callback else 1) + off
        again_at = None if delay is None else self.now + delay
        self._ask(SettleCallback(a_job(number).id, attempts, again_at))

    @rule(number=JOBS, off=ATTEMPTS)
    def purge(self, number: int, off: int) -> None:
        job = self._known(number)
        self._ask(Purge(a_job(number).id, (job.revision if job else 1) + off))

    @rule(limit=LIMITS)
    def sweep(self, limit: int) -> None:
        self._ask(Sweep(self.now, limit))

    def _known(self, number: int) -> Job | None:
        query = Get(a_job(number).id)
        return None if is_gone(self.model, query) else _job(self.model, query.job_id)

    def _attempt(self, number: int) -> int:
        job = self._known(number)
        return job.attempt if job else 1

    def _ask(self, command: Command) -> None:
        self.batch.append(command)
        if len(self.batch) >= self.size:
            self._execute()

    def _execute(self) -> None:
        batch, self.batch = self.batch, []
        answers = [_comparable(store.execute(batch)) for store in (self.store, self.model)]
        assert answers[0] == answers[1], batch
        for query in self._queries():
            assert _reply(self.store, query) == _reply(self.model, query), query
        changed = [follow() for follow in self.followers]
        assert changed[0] == changed[1], batch

    def _queries(self) -> Iterator[Query]:
        yield List("shop", "ada", None, 3, None)
        yield List("shop", "ada", Status.ACCEPTED, 9, a_job(3).id)
        yield List("shop", None, None, 9, None)
        yield Due("shop", self.now)
        yield History("shop", "POST /reports")
        for number in range(5):
            job = self._known(number)
            yield Get(a_job(number).id)
            if job:
                yield Position(job.id)
            for attempt in range(self._attempt(number) + 1):
                for index in range(4):
                    yield Load(a_job(number).id, attempt, index)


def _comparable(answers: Sequence[object]) -> list[object]:
    return [
        (type(answer), answer.args) if isinstance(answer, Exception) else answer
        for answer in answers
    ]


def _reply(store: Store, query: Query) -> object:
    try:
        return store.read(query)
    except JobNotFound as exc:
        return (type(exc), exc.args)
