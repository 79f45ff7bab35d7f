"""What becomes of a job whose record is damaged, and of those beside it."""

from __future__ import annotations

import logging
from abc import abstractmethod
from os import urandom
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from deferit._core.commands import (
    Cancel,
    ClaimCallbacks,
    Create,
    Dispatch,
    Finish,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
)
from deferit._core.idempotency import Identity
from deferit._core.ids import RANDOM_BYTES, make_id, prefix_at
from deferit._core.job import TOMBSTONE, Status
from deferit._core.queries import Ahead, Due, Get, List, Load, Position
from deferit._core.remains import DAMAGED, DAY
from deferit.exceptions import KeyReused, LeaseLost
from deferit.testing.samples import (
    CALLBACK,
    LEASE,
    LONG,
    NOON,
    REQUEST,
    SAME,
    StoreTests,
    a_job,
    ask,
    claim,
    finished,
    is_gone,
    running,
    stored,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit._core.job import Job
    from deferit.stores.base import Store

COALESCED = Identity("~a key", "a fingerprint", while_unfinished=True)


Change: TypeAlias = "Callable[[bytes], bytes]"

WAYS: dict[str, Change] = {
    "garbage": lambda _: b"\xc1 this is no record",
    "nothing": lambda _: b"",
    "half": lambda record: record[: len(record) // 2],
    "another kind": lambda _: b"\x93\x01\x02\x03",
}
garbage = WAYS["garbage"]


def one_bit(number: int) -> Change:
    """Return what flips one bit of a record, another one for each number."""

    def flipped(record: bytes) -> bytes:
        at = 37 * number % len(record)
        return record[:at] + bytes([record[at] ^ 1 << number % 8]) + record[at + 1 :]

    return flipped


def claimed(store: Store, limit: int = 10) -> list[Job]:
    """Return the jobs of the shop whose turn it is, as they were claimed."""
    return [item.job for item in claim(store, NOON + 1, limit)]


def listed(store: Store, query: List) -> tuple[Job, ...]:
    """Return a list of jobs."""
    jobs: Any = store.read(query)
    return tuple(jobs)


class DamagedRecords(StoreTests):
    """Tests a store whose records are bytes; inherit from it beside `StoreContract`."""

    @abstractmethod
    def damage(self, store: Store, job_id: str, change: Change) -> None:
        """Change the record of a job, behind the store's back."""

    @pytest.mark.parametrize("change", WAYS.values(), ids=WAYS)
    @pytest.mark.parametrize("limit", [1, 10])
    def test_the_others_are_claimed(self, store: Store, change: Change, limit: int) -> None:
        jobs = [waiting(store, number) for number in range(5)]
        for job in (jobs[0], jobs[1], jobs[3]):
            self.damage(store, job.id, change)

        first, second = claimed(store, limit), claimed(store, limit)

        assert {job.id for job in first + second} == {jobs[2].id, jobs[4].id}
        assert not store.read(Due("shop", NOON + 1))
        assert [stored(store, job.id).status for job in (jobs[0], jobs[1], jobs[3])] == [
            Status.FAILED
        ] * 3

    def test_whichever_bit_has_fallen_over_the_others_are_claimed(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(201)]
        for number, job in enumerate(jobs[:-1]):
            self.damage(store, job.id, one_bit(number))

        found = claimed(store, 300)

        assert [job.id for job in found] == [jobs[-1].id]
        assert all(stored(store, job.id).error == DAMAGED for job in jobs[:-1])

    def test_the_others_of_a_limited_queue_are_claimed(self, store: Store) -> None:
        jobs = [waiting(store, number, queue="reports", slots=1) for number in range(3)]
        plain = waiting(store, 3)
        self.damage(store, jobs[0].id, garbage)

        first, second = claimed(store), claimed(store)

        assert {job.id for job in first} == {jobs[1].id, plain.id}
        assert second == []

    def test_the_others_are_offered(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        self.damage(store, jobs[0].id, garbage)

        found = ask(store, Dispatch("shop", NOON + 1, NOON + 60, 1))

        assert [job.id for job in found] == [jobs[1].id]

    def test_the_others_are_offered_again(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        ask(store, Dispatch("shop", NOON + 1, NOON + 60, 2))
        self.damage(store, jobs[0].id, garbage)

        found = ask(store, Dispatch("shop", NOON + 60, NOON + 120, 1))

        assert [job.id for job in found] == [jobs[1].id]
        assert store.read(Position(jobs[2].id)) == Ahead(1, 0)

    def test_the_others_that_were_early_are_claimed(self, store: Store) -> None:
        jobs = [waiting(store, number, due_at=NOON + 0.5) for number in range(3)]
        self.damage(store, jobs[0].id, garbage)

        found = claimed(store)

        assert [job.id for job in found] == [jobs[1].id, jobs[2].id]
        assert stored(store, jobs[0].id).status is Status.FAILED

    @pytest.mark.parametrize("make", [waiting, running, finished])
    def test_it_reads_as_a_job_of_its_owner_that_has_failed(
        self, store: Store, make: Callable[[Store], Job]
    ) -> None:
        before = make(store)
        self.damage(store, before.id, garbage)

        job = stored(store, before.id)

        assert (job.id, job.application, job.owner) == (before.id, "shop", "ada")
        assert (job.status, job.error, job.result) == (Status.FAILED, DAMAGED, None)
        assert job.attempt == before.attempt
        assert job.created_at == job.finished_at == NOON
        assert (
            job.expires_at
            == {
                Status.ACCEPTED: NOON + DAY,
                Status.RUNNING: LEASE + DAY,
                Status.SUCCEEDED: before.expires_at,
            }[before.status]
        )
        assert job.revision > before.revision

    def test_it_reads_the_same_together_with_the_others(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        self.damage(store, jobs[1].id, garbage)

        found = store.get_all([job.id for job in jobs])

        assert found == [jobs[0], store.read(Get(jobs[1].id)), jobs[2]]

    def test_it_is_the_same_before_and_after_it_was_set_aside(self, store: Store) -> None:
        job = waiting(store)
        self.damage(store, job.id, garbage)
        before = stored(store, job.id)

        claimed(store)

        assert stored(store, job.id) == before
        assert store.read(Position(job.id)) == Ahead(0, 0)

    def test_it_is_in_lists_with_the_others(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        self.damage(store, jobs[1].id, garbage)

        found = listed(store, List("shop", "ada", None, 10, None))
        everybodys = listed(store, List("shop", None, None, 10, None))
        accepted = listed(store, List("shop", "ada", Status.ACCEPTED, 10, None))

        assert [job.id for job in found] == [jobs[2].id, jobs[1].id, jobs[0].id]
        assert everybodys == found
        assert [job.id for job in accepted] == [jobs[2].id, jobs[0].id]

    def test_it_does_not_count_as_waiting_once_it_was_met(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(2)]
        self.damage(store, jobs[0].id, garbage)

        ask(store, Cancel(jobs[0].id, 0, NOON + 1, "never started"))

        assert store.read(Position(jobs[1].id)) == Ahead(0, 0)

    def test_its_request_is_dropped(self, store: Store) -> None:
        job = ask(store, Create(a_job(), LONG))
        self.damage(store, job.id, garbage)

        claimed(store)

        assert is_gone(store, Load(job.id, 0, -1))

    def test_what_its_attempt_says_is_refused(self, store: Store) -> None:
        jobs = [running(store, number) for number in range(4)]
        for job in jobs:
            self.damage(store, job.id, garbage)

        answers = store.execute(
            [
                Report(jobs[0].id, 1, NOON + 1, 5, None),
                Finish(jobs[1].id, 1, NOON + 1, None, DAMAGED),
                Release(jobs[2].id, 1, NOON + 1),
                Renew(((jobs[0].id, 1),), LEASE + 15),
                Cancel(jobs[3].id, 1, NOON + 1, "stopped"),
            ]
        )

        assert [type(answer) for answer in answers[:3]] == [LeaseLost] * 3
        assert answers[3] == ((jobs[0].id, 1),)
        assert answers[4] == stored(store, jobs[3].id)
        assert [stored(store, job.id).error for job in jobs] == [DAMAGED] * 4

    def test_it_is_taken_from_a_lost_worker_with_the_others(self, store: Store) -> None:
        jobs = [running(store, number, repeatable=True) for number in range(3)]
        self.damage(store, jobs[0].id, garbage)

        swept = ask(store, Sweep(LEASE + 1))

        assert {job.id for job in swept.jobs} == {jobs[1].id, jobs[2].id}
        assert stored(store, jobs[0].id).error == DAMAGED
        assert ask(store, Sweep(LEASE + 1)).jobs == ()

    def test_it_is_swept_with_the_others(self, store: Store) -> None:
        jobs = [finished(store, number) for number in range(3)]
        self.damage(store, jobs[0].id, garbage)
        assert jobs[0].expires_at is not None

        ask(store, Sweep(jobs[0].expires_at + 1))

        assert is_gone(store, Get(jobs[0].id))
        assert [stored(store, job.id).result for job in jobs[1:]] == [None, None]

    def test_what_was_set_aside_is_forgotten_in_its_time(self, store: Store) -> None:
        job = waiting(store)
        self.damage(store, job.id, garbage)
        claimed(store)

        ask(store, Sweep(NOON + DAY + TOMBSTONE - 1))
        was_there = not is_gone(store, Get(job.id))
        ask(store, Sweep(NOON + DAY + TOMBSTONE + 1))

        assert was_there
        assert is_gone(store, Get(job.id))

    def test_it_can_be_purged(self, store: Store) -> None:
        job = waiting(store)
        self.damage(store, job.id, garbage)

        is_purged = ask(store, Purge(job.id, stored(store, job.id).revision))

        assert is_purged
        assert is_gone(store, Get(job.id))
        assert claimed(store) == []

    def test_the_callbacks_of_the_others_are_claimed(self, store: Store) -> None:
        jobs = [finished(store, number, callback=CALLBACK) for number in range(2)]
        self.damage(store, jobs[0].id, garbage)

        found = ask(store, ClaimCallbacks("shop", NOON + 1, LEASE, 10))
        settled = ask(store, SettleCallback(jobs[0].id, 1, None))
        again = ask(store, ClaimCallbacks("shop", LEASE + 1, LEASE + 15, 10))

        assert [job.id for job in found] == [jobs[1].id]
        assert settled.error == DAMAGED
        assert [job.id for job in again] == [jobs[1].id]

    def test_its_key_finds_it(self, store: Store) -> None:
        """Its client has sent that very request, or another one: who knows; it must not run twice."""
        job = waiting(store, identity=SAME)
        self.damage(store, job.id, garbage)

        found = [ask(store, Create(a_job(number, identity=SAME), REQUEST)) for number in (1, 2)]

        assert found == [stored(store, job.id)] * 2
        assert found[0].error == DAMAGED

    def test_identical_requests_do_not_find_it(self, store: Store) -> None:
        job = waiting(store, identity=COALESCED)
        self.damage(store, job.id, garbage)
        claimed(store)

        found = ask(store, Create(a_job(1, identity=COALESCED), REQUEST))

        assert found.id == a_job(1).id

    def test_the_key_of_another_request_is_still_another(self, store: Store) -> None:
        waiting(store, identity=SAME)

        with pytest.raises(KeyReused):
            ask(store, Create(a_job(1, identity=Identity(SAME.key, "another")), REQUEST))

    def test_it_is_logged_once_without_what_keeps_its_id_secret(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        job = waiting(store, id=make_id(NOON, urandom(RANDOM_BYTES)))
        made, secret = job.id[: len(prefix_at(NOON))], job.id[len(prefix_at(NOON)) :]
        self.damage(store, job.id, garbage)
        caplog.set_level(logging.WARNING, "deferit")
        caplog.clear()

        store.read(Get(job.id))
        store.read(List("shop", "ada", None, 10, None))
        claimed(store)
        store.read(Get(job.id))

        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert "record in the store is damaged" in record.message
        assert made in record.message
        assert secret not in record.message
        assert record.__dict__["job_id"] == job.id
