"""What time and owners take away: leases, results, tombstones, orphans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deferit._core.commands import (
    ORPHANED,
    Append,
    Create,
    Purge,
    Renew,
    Sweep,
)
from deferit._core.job import TOMBSTONE
from deferit._core.queries import Get, Load
from deferit.exceptions import JobNotFound
from deferit.testing.samples import (
    LEASE,
    LONG,
    NOON,
    REQUEST,
    TTL,
    StoreTests,
    a_job,
    ask,
    claim,
    finish,
    finished,
    is_gone,
    running,
    stored,
    waiting,
)

if TYPE_CHECKING:
    from deferit.stores.base import Store


class Sweeps(StoreTests):
    """What time and owners take away: leases, results, tombstones, orphans."""

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
        (claimed,) = claim(store, now=LEASE)
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
        assert [stored(store, a_job(n).id).result is None for n in (3, 4, 5)] == [False, True, True]
        rest = ask(store, sweep)
        assert [job.id for job in rest.jobs] == [a_job(0).id]
        assert rest.is_done
        assert stored(store, a_job(3).id).result is None

    def test_pieces_whose_job_never_came_are_dropped(self, store: Store) -> None:
        early, late, created = a_job(0).id, a_job(10).id, a_job(1)
        for job_id in (early, late, created.id):
            ask(store, Append(job_id, 0, 0, b"x"))
        ask(store, Create(created, REQUEST))

        ask(store, Sweep(NOON + 5 + ORPHANED))

        assert is_gone(store, Load(early, 0, 0))
        assert store.read(Load(late, 0, 0)) == b"x"
        assert store.read(Load(created.id, 0, 0)) == b"x"
