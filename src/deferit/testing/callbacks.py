"""When a callback is due, whose it is, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deferit._core.commands import (
    Cancel,
    ClaimCallbacks,
    Finish,
    Purge,
    Release,
    SettleCallback,
    Sweep,
)
from deferit._core.queries import Get, Load
from deferit.exceptions import JobNotFound
from deferit.testing.samples import (
    CALLBACK,
    LEASE,
    LONG,
    NOON,
    TTL,
    Follower,
    StoreTests,
    a_job,
    a_result,
    ask,
    claim_callbacks,
    finished,
    is_gone,
    running,
    stored,
    waiting,
)

if TYPE_CHECKING:
    from deferit._core.commands import Command
    from deferit.stores.base import Store


class Callbacks(StoreTests):
    """When a callback is due, whose it is, and when it is over."""

    # --- callbacks ---

    def test_a_callback_is_not_due_before_its_job_is_finished(self, store: Store) -> None:
        waiting(store, 1, callback=CALLBACK)
        running(store, 2, callback=CALLBACK)
        finished(store, 3)

        assert claim_callbacks(store, now=NOON + 1e9) == ()

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
        done = stored(store, job.id)

        assert done.is_finished
        assert done.callback == CALLBACK.due(done.updated_at)
        assert claim_callbacks(store, now=done.updated_at - 0.1) == ()
        assert [due.id for due in claim_callbacks(store, now=done.updated_at)] == [job.id]

    def test_a_callback_of_a_job_that_never_started_is_due_when_it_is_canceled(
        self, store: Store
    ) -> None:
        job = waiting(store, callback=CALLBACK)

        ask(store, Cancel(job.id, 0, NOON, "never started"))

        assert [due.id for due in claim_callbacks(store)] == [job.id]

    def test_a_job_that_is_returned_has_nothing_to_say_yet(self, store: Store) -> None:
        job = running(store, callback=CALLBACK, repeatable=True)

        ask(store, Release(job.id, 1, NOON))

        assert claim_callbacks(store, now=NOON + 1e9) == ()
        assert stored(store, job.id).callback == CALLBACK

    def test_a_claimed_callback_is_nobody_elses_until_its_lease_ends(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)

        (claimed,) = claim_callbacks(store)

        assert claimed.callback == CALLBACK.claimed(NOON + 60)
        assert store.read(Get(job.id)) == claimed
        assert claim_callbacks(store, now=NOON + 59.9) == ()
        (again,) = claim_callbacks(store, now=NOON + 60)
        assert again.callback == CALLBACK.claimed(NOON).claimed(NOON + 120)

    def test_what_becomes_of_a_callback_leaves_its_job_alone(self, store: Store) -> None:
        job = finished(store, body=LONG, callback=CALLBACK)
        follow = Follower(store)

        (claimed,) = claim_callbacks(store)
        settled = ask(store, SettleCallback(job.id, 1, NOON + 300))

        for after in (claimed, settled):
            assert (after.revision, after.updated_at) == (job.revision, job.updated_at)
        assert store.read(Load(job.id, 1, 0)) == LONG
        assert follow() == set()

    def test_a_short_body_stays_beside_a_callback(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)

        claim_callbacks(store)
        ask(store, SettleCallback(job.id, 1, None))

        assert store.read(Load(job.id, 1, 0)) == b"hello"

    def test_a_callback_that_failed_is_due_when_it_was_said_to_be(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)
        claim_callbacks(store)

        ask(store, SettleCallback(job.id, 1, NOON + 5))

        assert claim_callbacks(store, now=NOON + 4.9) == ()
        (again,) = claim_callbacks(store, now=NOON + 5)
        assert again.callback == CALLBACK.claimed(NOON).claimed(NOON + 65)

    def test_a_callback_that_is_over_is_never_due_again(self, store: Store) -> None:
        job = finished(store, callback=CALLBACK)
        claim_callbacks(store)

        settled = ask(store, SettleCallback(job.id, 1, None))

        assert settled.callback_at is None
        assert ask(store, SettleCallback(job.id, 1, NOON)) == settled
        assert claim_callbacks(store, now=NOON + TTL - 1) == ()

    @pytest.mark.parametrize("attempts", [0, 1, 3])
    def test_who_comes_with_an_old_claim_of_a_callback_changes_nothing(
        self, store: Store, attempts: int
    ) -> None:
        job = finished(store, callback=CALLBACK)
        claim_callbacks(store)
        (claimed,) = claim_callbacks(store, now=NOON + 60)

        assert ask(store, SettleCallback(job.id, attempts, None)) == claimed
        assert store.read(Get(job.id)) == claimed

    def test_a_job_without_a_callback_has_nothing_to_settle(self, store: Store) -> None:
        job = finished(store)

        assert ask(store, SettleCallback(job.id, 1, NOON)) == job
        assert claim_callbacks(store) == ()
        with pytest.raises(JobNotFound):
            ask(store, SettleCallback("job_nobody", 1, None))

    def test_callbacks_are_claimed_the_longest_due_first_up_to_a_limit_and_by_application(
        self, store: Store
    ) -> None:
        for number, application in ((1, "shop"), (2, "shop"), (3, "another"), (4, "shop")):
            finished(store, number, application=application, callback=CALLBACK)
        claim_callbacks(store)
        for number, again_at in ((1, NOON - 1), (2, NOON - 1), (4, NOON - 2)):
            ask(store, SettleCallback(a_job(number).id, 1, again_at))

        first = claim_callbacks(store, limit=2)

        assert [job.id for job in first] == [a_job(4).id, a_job(1).id]
        assert [job.id for job in claim_callbacks(store)] == [a_job(2).id]
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

        (dropped,) = claim_callbacks(store, now=NOON + TTL)

        assert dropped.id == job.id
        assert dropped.callback == CALLBACK
        assert claim_callbacks(store, now=NOON + TTL) == ()

    def test_a_callback_goes_with_its_job(self, store: Store) -> None:
        purged, forgotten = (finished(store, n, callback=CALLBACK) for n in (1, 2))

        ask(store, Purge(purged.id, purged.revision))
        for _ in ("result", "tombstone"):
            ask(store, Sweep(NOON + 1e9))

        assert is_gone(store, Get(forgotten.id))
        assert claim_callbacks(store, now=NOON + 1e9) == ()
