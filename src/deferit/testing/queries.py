"""What a store can be asked without changing it."""

from __future__ import annotations

from hashlib import shake_128
from typing import TYPE_CHECKING

from deferit._core.commands import (
    Append,
    Cancel,
    Claim,
    Create,
    Limits,
    Observe,
    Placed,
    Purge,
    Renew,
    Report,
    Sweep,
)
from deferit._core.job import TOMBSTONE, Status
from deferit._core.queries import Ahead, Changed, Changes, Due, Get, History, List, Position
from deferit._core.rules import REMEMBERED
from deferit.exceptions import JobNotFound, TooManyJobs
from deferit.testing.samples import (
    LEASE,
    NOON,
    REQUEST,
    TTL,
    Follower,
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


class Queries(StoreTests):
    """What a store can be asked without changing it."""

    # --- jobs ---

    def test_jobs_are_found_by_their_ids_together_as_each_alone(self, store: Store) -> None:
        first, second = waiting(store, 1), running(store, 2)

        found = store.get_all([second.id, "job_nobody", first.id, second.id])

        assert [found[0], *found[2:]] == [second, first, second]
        assert isinstance(found[1], JobNotFound)
        assert store.get_all([]) == []

    def test_a_job_is_found_with_its_result_together_as_alone(self, store: Store) -> None:
        job = finished(store)

        assert store.get_all([job.id]) == [store.read(Get(job.id))]

    # --- lists ---

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

    # --- positions, changes ---

    def test_a_list_may_be_of_everybody_and_of_one_route(self, store: Store) -> None:
        first = waiting(store, 1)
        second = waiting(store, 2, owner=None, route="GET /exports")
        third = waiting(store, 3, owner="ben", route="GET /exports")
        waiting(store, 4, application="another")

        everybodys = store.read(List("shop", None, None, 9, None))
        exports = store.read(List("shop", None, None, 1, third.id, "GET /exports"))
        bens = store.read(List("shop", "ben", None, 9, None, "POST /reports"))

        assert (everybodys, exports, bens) == ((third, second, first), (second,), ())

    def test_an_owner_may_be_as_long_as_a_token(self, store: Store) -> None:
        long = shake_128().hexdigest(4_000)
        limits = Limits(max_per_owner=1)

        first = ask(store, Create(a_job(1, owner=long), REQUEST, limits=limits))
        again = store.execute([Create(a_job(2, owner=long), REQUEST, limits=limits)])
        other = ask(store, Create(a_job(3, owner=long + "0"), REQUEST, limits=limits))

        assert [type(answer) for answer in again] == [TooManyJobs]
        assert store.read(List("shop", long, None, 9, None)) == (first,)
        assert store.read(List("shop", long + "0", None, 9, None)) == (other,)
        assert [one.job.owner for one in claim(store)] == [long, long + "0"]

    def test_nothing_is_listed_of_a_name_that_nobody_can_have(self, store: Store) -> None:
        waiting(store)

        assert store.read(List("shop", "ada\0", None, 9, None)) == ()
        assert store.read(List("shop", "ada", None, 9, None, "POST /reports\0")) == ()

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

    def test_what_is_in_front_of_a_new_job_is_told_as_it_is_after_its_batch(
        self, store: Store
    ) -> None:
        for number in range(3):
            waiting(store, number)
        running(store, 3)
        jobs = [
            *(a_job(number) for number in range(4, 7)),
            a_job(7, owner="ben"),
            a_job(8, due_at=NOON + 9),
            a_job(9, queue="export", slots=1),
            a_job(10, owner="ben"),
            a_job(11, application="another"),
            a_job(12),
        ]
        first, *rest = [Create(job, REQUEST, asks_place=True) for job in jobs]
        begun = Create(a_job(13).claimed(NOON), REQUEST, LEASE, asks_place=True)

        answers = store.execute([first, Claim("shop", NOON, LEASE, 5), *rest, begun])

        placed = [answer for answer in answers if isinstance(answer, Placed)]
        assert [each.job for each in placed] == [*jobs, begun.job]
        for each in placed[:-1]:
            assert each.ahead in {None, store.read(Position(each.job.id))}, each.job

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
        follow = Follower(store)

        job = waiting(store)

        assert follow() == {job.id}

    def test_changes_tell_whose_jobs_are_new_other_or_gone(self, store: Store) -> None:
        follow = Follower(store)
        job, other = waiting(store, 1), running(store, 2)
        assert follow() == {job.id, other.id}
        assert follow() == set()

        claim(store)
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
        follow = Follower(store)

        ask(store, Sweep(NOON + TTL))
        assert follow() == {job.id}
        ask(store, Sweep(NOON + TTL + TOMBSTONE))
        assert follow() == {job.id}

    def test_what_changes_nothing_is_not_among_the_changes(self, store: Store) -> None:
        job, done = running(store, 1), finished(store, 2)
        follow = Follower(store)

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
