"""Which jobs are offered to another process, and what becomes of those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deferit._core.commands import Cancel, Claimed, Create, Dispatch, Limits, Release
from deferit._core.queries import Ahead, Due, Get, Position
from deferit.exceptions import QueueFull
from deferit.testing.samples import (
    NOON,
    REQUEST,
    StoreTests,
    a_job,
    ask,
    claim,
    finish,
    running,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deferit._core.job import Job
    from deferit.stores.base import Store


class Offers(StoreTests):
    """Which jobs are offered to another process, and what becomes of those that were."""

    def test_a_job_is_offered_once_until_the_offer_is_lost(self, store: Store) -> None:
        job = waiting(store, 1)

        assert offer(store) == (job,)
        assert offer(store) == ()
        assert claim(store) == ()
        assert store.read(Get(job.id)) == job
        assert store.read(Due("shop", NOON + 59)) is False
        assert store.read(Due("shop", NOON + 60)) is True
        assert offer(store, NOON + 60) == (job,)

    def test_an_offered_job_is_claimed_by_its_name(self, store: Store) -> None:
        job = waiting(store, 1)
        offer(store)

        (claimed,) = claim(store, job_id=job.id)

        assert claimed == Claimed(job.claimed(NOON), REQUEST)
        assert offer(store, NOON + 60) == ()

    def test_jobs_are_offered_in_the_order_of_claims(self, store: Store) -> None:
        for number in range(3):
            waiting(store, number)
        waiting(store, 3, owner="ben")

        first = offer(store, limit=2)
        second = offer(store)

        assert [job.id for job in first] == [a_job(0).id, a_job(3).id]
        assert [job.id for job in second] == [a_job(1).id, a_job(2).id]

    def test_an_offered_job_can_be_canceled(self, store: Store) -> None:
        job = waiting(store, 1)
        offer(store)

        ask(store, Cancel(job.id, 0, NOON, "never started"))

        assert claim(store, job_id=job.id) == ()
        assert offer(store, NOON + 60) == ()

    def test_an_offered_job_waits_as_limits_count(self, store: Store) -> None:
        waiting(store, 1)
        waiting(store, 2)
        offer(store, limit=1)

        with pytest.raises(QueueFull, match="2 jobs"):
            ask(store, Create(a_job(3), REQUEST, limits=Limits(max_queue=2)))

    # --- positions ---

    def test_offered_jobs_are_in_front_of_those_that_are_ready_or_early(self, store: Store) -> None:
        first, second = waiting(store, 2), waiting(store, 3)
        offer(store)
        third = waiting(store, 1, owner="ben")
        early = waiting(store, 0, due_at=NOON + 9)
        aside = waiting(store, 7, queue="export", slots=1)
        running(store, 8)

        assert ahead(store, [first, second, third, early, aside]) == [0, 1, 2, 3, 0]
        assert store.read(Position(third.id)) == Ahead(2, 1)
        assert store.read(Position(third.id, 1)) == Ahead(1, 1)

    def test_offered_jobs_keep_the_order_in_which_they_were_offered(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        bens = waiting(store, 3, owner="ben")

        offer(store, NOON, limit=1)
        offer(store, NOON + 1)

        assert ahead(store, [jobs[0], bens, *jobs[1:]]) == [0, 1, 2, 3]

    def test_offered_jobs_of_each_queue_are_counted_for_themselves(self, store: Store) -> None:
        plain, aside = waiting(store, 1), waiting(store, 2, queue="export", slots=2)
        elsewhere = waiting(store, 3, application="another")
        offer(store)
        behind = waiting(store, 4, queue="export", slots=2)

        assert ahead(store, [plain, aside, elsewhere, behind]) == [0, 0, 0, 1]

    def test_an_offered_job_that_has_begun_or_ended_is_in_front_of_none(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(4)]
        offer(store, limit=3)
        assert ahead(store, jobs) == [0, 1, 2, 3]

        claim(store, job_id=jobs[1].id)
        assert ahead(store, jobs) == [0, 0, 1, 2]
        ask(store, Cancel(jobs[0].id, 0, NOON, "never started"))
        assert ahead(store, jobs) == [0, 0, 0, 1]

    def test_a_job_that_was_offered_and_is_given_back_comes_last(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        offer(store, limit=2)
        claim(store, job_id=jobs[0].id)
        ask(store, Release(jobs[0].id, 1, NOON, has_begun=False))
        assert ahead(store, jobs) == [2, 0, 1]

        again = offer(store, NOON + 1)

        assert [job.id for job in again] == [jobs[2].id, jobs[0].id]
        assert ahead(store, jobs) == [2, 0, 1]

    # --- offers that were lost ---

    def test_offers_are_repeated_first_and_in_their_old_places(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(4)]
        offer(store, NOON, limit=1)
        offer(store, NOON + 1, limit=1)

        again = offer(store, NOON + 60, limit=2)
        later = offer(store, NOON + 61, limit=2)

        assert again == (jobs[0], jobs[2])
        assert later == (jobs[1], jobs[3])
        assert ahead(store, jobs) == [0, 1, 2, 3]

    def test_no_more_offers_are_repeated_than_asked_for(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(4)]
        offer(store, limit=3)

        first = offer(store, NOON + 60, limit=2)
        second = offer(store, NOON + 60, limit=2)

        assert (first, second) == (tuple(jobs[:2]), tuple(jobs[2:]))
        assert ahead(store, jobs) == [0, 1, 2, 3]

    def test_a_lost_offer_becomes_ready_for_who_claims_without_a_name(self, store: Store) -> None:
        jobs = [waiting(store, number) for number in range(3)]
        offer(store, limit=2)
        waiting(store, 3)

        (first,) = claim(store, NOON + 60, limit=1)
        in_front = ahead(store, [a_job(3), *jobs[:2]])
        rest = claim(store, NOON + 60)

        assert first.job.id == jobs[2].id
        assert in_front == [0, 1, 2]
        assert [claimed.job.id for claimed in rest] == [a_job(n).id for n in (3, 0, 1)]

    def test_an_offered_job_without_a_slot_is_ready_again(self, store: Store) -> None:
        first, second = (waiting(store, number, queue="export", slots=1) for number in (1, 2))
        offer(store, limit=1)
        busy = ask(store, Create(a_job(3, queue="export", slots=1).claimed(NOON), REQUEST, NOON))

        assert claim(store, job_id=first.id) == ()
        assert ahead(store, [second, first]) == [0, 1]
        finish(store, busy, b"hello")
        assert offer(store) == (second,)


def offer(store: Store, now: float = NOON, limit: int = 9) -> tuple[Job, ...]:
    """Offer jobs of the shop for a minute."""
    jobs: tuple[Job, ...] = ask(store, Dispatch("shop", now, now + 60, limit))
    return jobs


def ahead(store: Store, jobs: Iterable[Job]) -> list[int]:
    """Return how many jobs are in front of each."""
    found = [store.read(Position(job.id)) for job in jobs]
    return [each.jobs for each in found if isinstance(each, Ahead)]
