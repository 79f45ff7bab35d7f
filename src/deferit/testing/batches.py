"""What is executed together, and what a new job is read as."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from deferit._core.commands import (
    Claim,
    Claimed,
    Create,
    Finish,
    Report,
)
from deferit._core.job import Failure, Job
from deferit._core.queries import Get, Load
from deferit.exceptions import JobExists, JobNotFound, LeaseLost
from deferit.testing.samples import (
    CALLBACK,
    LEASE,
    NOON,
    REQUEST,
    StoreTests,
    a_job,
    a_result,
    ask,
    claim,
    finished,
    is_gone,
    running,
    stored,
    waiting,
)

if TYPE_CHECKING:
    from deferit.stores.base import Store


class Batches(StoreTests):
    """What is executed together, and what a new job is read as."""

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
                seen.append(stored(store, job.id).revision)
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
        assert claim(store) == (Claimed(job.claimed(NOON), REQUEST),)

    def test_a_job_that_starts_at_once_is_not_claimed(self, store: Store) -> None:
        running(store)

        assert claim(store) == ()
