"""Which jobs are taken, in which order, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deferit._core.commands import (
    MOST_READY,
    Claim,
    Claimed,
    Create,
    Dispatch,
)
from deferit._core.queries import Get
from deferit.testing.samples import (
    LEASE,
    LONG,
    NOON,
    REQUEST,
    StoreTests,
    a_job,
    ask,
    claim,
    finish,
    finished,
    running,
    waiting,
)

if TYPE_CHECKING:
    from deferit.stores.base import Store


class Claims(StoreTests):
    """Which jobs are taken, in which order, by whom."""

    # --- claim ---

    @pytest.mark.parametrize("request_", [b"", REQUEST, LONG], ids=["empty", "short", "long"])
    def test_a_claim_gives_the_job_running_and_its_request(
        self, store: Store, request_: bytes
    ) -> None:
        job = ask(store, Create(a_job(), request_))

        (claimed,) = claim(store)

        assert claimed == Claimed(job.claimed(NOON), request_)
        assert store.read(Get(job.id)) == claimed.job
        assert claim(store) == ()

    def test_jobs_of_one_owner_are_claimed_in_the_order_in_which_they_became_ready(
        self, store: Store
    ) -> None:
        for number, due_at in ((1, NOON), (4, NOON + 9), (3, NOON + 5), (2, NOON)):
            waiting(store, number, due_at=due_at)

        claimed = claim(store, now=NOON + 9)

        assert [claimed.job.id for claimed in claimed] == [a_job(n).id for n in (1, 2, 3, 4)]

    def test_a_claim_makes_ready_what_has_been_due_longest(self, store: Store) -> None:
        for number in range(MOST_READY + 2):
            waiting(store, number, due_at=NOON + 9 - number / 100, owner=str(number))

        (claimed,) = claim(store, now=NOON + 9, limit=1)
        again = claim(store, now=NOON + 9, limit=MOST_READY)

        first = [a_job(number).id for number in reversed(range(2, MOST_READY + 2))]
        assert claimed.job.id == min(first)  # all of them have the same turn
        assert len(again) == MOST_READY

    @pytest.mark.parametrize("limit", [0, 1, 2, 9])
    def test_a_claim_takes_no_more_than_its_limit(self, store: Store, limit: int) -> None:
        for number in range(3):
            waiting(store, number)

        assert len(claim(store, limit=limit)) == min(limit, 3)
        assert len(claim(store)) == 3 - min(limit, 3)

    def test_a_job_is_claimed_from_the_instant_it_is_due(self, store: Store) -> None:
        waiting(store, due_at=NOON + 60)

        assert claim(store, now=NOON + 59.9) == ()
        assert len(claim(store, now=NOON + 60)) == 1

    def test_an_application_claims_only_its_own(self, store: Store) -> None:
        waiting(store, application="another")

        assert claim(store) == ()
        assert len(ask(store, Claim("another", NOON, LEASE, 9))) == 1

    # --- turns ---

    def test_a_job_is_not_behind_the_thousand_of_another_owner(self, store: Store) -> None:
        store.execute([Create(a_job(number), REQUEST) for number in range(1000)])
        claim(store, limit=5)

        waiting(store, 2000, owner="ben")
        waiting(store, 2001, owner="ben")

        claimed = [claimed.job for claimed in claim(store, limit=4)]
        assert [job.id for job in claimed] == [a_job(n).id for n in (5, 2000, 6, 2001)]

    def test_nobody_counts_as_one_owner(self, store: Store) -> None:
        for number in range(3):
            waiting(store, number, owner=None)
        waiting(store, 3)

        claimed = [claimed.job for claimed in claim(store)]

        assert [job.id for job in claimed] == [a_job(n).id for n in (0, 3, 1, 2)]

    def test_a_job_that_becomes_ready_late_has_its_turn_like_the_others(self, store: Store) -> None:
        waiting(store, 9, owner="ben", due_at=NOON + 5)
        for number in range(3):
            waiting(store, number)

        claimed = [claimed.job for claimed in claim(store, now=NOON + 5)]

        assert [job.id for job in claimed] == [a_job(n).id for n in (0, 9, 1, 2)]

    # --- queues ---

    def test_no_more_jobs_of_a_queue_run_than_it_has_slots(self, store: Store) -> None:
        for number in range(4):
            waiting(store, number, queue="export", slots=2)
        waiting(store, 9, created_at=NOON + 1, due_at=NOON + 1)

        first = claim(store, now=NOON + 1)
        second = claim(store, now=NOON + 1)
        finish(store, first[0].job, b"hello")
        third = claim(store, now=NOON + 1)

        assert [claimed.job.id for claimed in first] == [a_job(n).id for n in (0, 1, 9)]
        assert second == ()
        assert [claimed.job.id for claimed in third] == [a_job(2).id]

    def test_the_longest_due_of_several_queues_is_claimed_first(self, store: Store) -> None:
        for number, queue in enumerate(("", "export", "", "import", "export")):
            at = NOON + number
            waiting(
                store, number, created_at=at, due_at=at, queue=queue, slots=9 if queue else None
            )

        claimed = [claimed.job for claimed in claim(store, now=NOON + 9, limit=4)]

        assert [job.id for job in claimed] == [a_job(n).id for n in range(4)]

    def test_a_queue_is_one_applications_own(self, store: Store) -> None:
        running(store, 1, application="another", queue="export", slots=1)
        waiting(store, 2, queue="export", slots=1)

        assert [claimed.job.id for claimed in claim(store)] == [a_job(2).id]

    # --- one job by its id ---

    def test_a_claim_may_name_the_job(self, store: Store) -> None:
        for number in range(3):
            waiting(store, number)

        (claimed,) = claim(store, job_id=a_job(1).id)

        assert claimed == Claimed(a_job(1).claimed(NOON), REQUEST)
        assert claim(store, job_id=a_job(1).id) == ()
        assert [claimed.job.id for claimed in claim(store)] == [a_job(0).id, a_job(2).id]

    def test_what_does_not_wait_cannot_be_claimed_by_its_name(self, store: Store) -> None:
        begun, early = running(store, 1), waiting(store, 2, due_at=NOON + 9)
        done = finished(store, 3)

        for job_id in (begun.id, early.id, done.id, "job_nobody"):
            assert claim(store, job_id=job_id) == ()

    def test_a_named_job_waits_for_a_slot_of_its_queue(self, store: Store) -> None:
        busy = running(store, 1, queue="export", slots=1)
        waiting(store, 2, queue="export", slots=1)
        ask(store, Dispatch("shop", NOON, NOON + 60, 9))

        assert claim(store, job_id=a_job(2).id) == ()
        finish(store, busy, b"hello")
        assert [job.id for job in ask(store, Dispatch("shop", NOON, NOON + 60, 9))] == [a_job(2).id]
        assert len(claim(store, job_id=a_job(2).id)) == 1
