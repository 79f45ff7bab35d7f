"""Which jobs are not made: too many of them, or the same request again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from deferit._core.commands import (
    Claim,
    Create,
    Limits,
    Purge,
)
from deferit._core.job import Job, Status
from deferit._core.queries import Get
from deferit.exceptions import JobExists, KeyReused, QueueFull, TooManyJobs
from deferit.testing.samples import (
    LEASE,
    NOON,
    REQUEST,
    SAME,
    TTL,
    StoreTests,
    a_job,
    ask,
    claim,
    finish,
    finished,
    is_gone,
    running,
    waiting,
)

if TYPE_CHECKING:
    from deferit.stores.base import Store


class Admission(StoreTests):
    """Which jobs are not made: too many of them, or the same request again."""

    # --- limits ---

    def test_a_full_queue_refuses_what_would_have_to_wait(self, store: Store) -> None:
        waiting(store, 1)
        waiting(store, 2, due_at=NOON + 60)
        waiting(store, 3, application="another")
        limits = Limits(max_queue=2)

        with pytest.raises(QueueFull, match="2 jobs"):
            ask(store, Create(a_job(4), REQUEST, limits=limits))
        begun = ask(store, Create(a_job(5).claimed(NOON), REQUEST, LEASE, limits))
        claim(store)

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

    def test_room_that_a_batch_makes_is_there_for_what_follows(self, store: Store) -> None:
        limits = Limits(max_queue=2)
        creates = [Create(a_job(number), REQUEST, limits=limits) for number in range(5)]

        answers = store.execute([*creates[:3], Claim("shop", NOON, LEASE, 1), *creates[3:]])

        assert [type(answer) for answer in answers] == [Job, Job, QueueFull, tuple, Job, QueueFull]

    def test_a_job_that_is_there_is_not_refused_for_the_room_that_it_has(
        self, store: Store
    ) -> None:
        create = Create(a_job(1), REQUEST, limits=Limits(max_queue=1))

        first, again, other = store.execute(
            [create, create, Create(a_job(2), REQUEST, limits=Limits(max_queue=1))]
        )

        assert [type(first), type(again), type(other)] == [Job, JobExists, QueueFull]

    def test_limits_do_not_keep_the_same_request_from_its_job(self, store: Store) -> None:
        job = waiting(store, 1, identity=SAME)

        twin = Create(a_job(2, identity=SAME), REQUEST, limits=Limits(1, 1))

        assert ask(store, twin) == job

    # --- requests that are one and the same ---

    def test_the_same_request_finds_the_job_that_it_made_before(self, store: Store) -> None:
        first = waiting(store, 1, identity=SAME)

        again = ask(store, Create(a_job(2, identity=SAME), REQUEST))

        assert again == first
        assert is_gone(store, Get(a_job(2).id))

    @pytest.mark.parametrize("make", [running, finished])
    def test_it_finds_the_job_as_it_is_now(self, store: Store, make: Any) -> None:
        first = make(store, 1, identity=SAME)
        again = a_job(2, identity=SAME)

        assert ask(store, Create(again, REQUEST)) == first
        assert ask(store, Create(again, REQUEST, asks_place=True)).job == first

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
