"""What becomes of a job that runs: reports, results, release, cancel; and who may not change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deferit._core.commands import (
    Append,
    Cancel,
    Claimed,
    Create,
    Finish,
    Release,
    Renew,
    Report,
    Sweep,
)
from deferit._core.job import Failure, Status
from deferit._core.queries import Get, Load
from deferit.exceptions import JobNotFound, LeaseLost
from deferit.testing.samples import (
    LEASE,
    LONG,
    NOON,
    REQUEST,
    TTL,
    StoreTests,
    a_job,
    a_result,
    ask,
    by,
    claim,
    finish,
    finished,
    is_gone,
    running,
    stored,
    waiting,
)

if TYPE_CHECKING:
    from deferit._core.commands import Command
    from deferit.stores.base import Store


class JobChanges(StoreTests):
    """What becomes of a job that runs: reports, results, release, cancel; and who may not change it."""

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
            ask(store, by(command, job.id, attempt))

        assert store.read(Get(job.id)) == job

    @pytest.mark.parametrize("command", [Report, Finish, Release])
    def test_a_change_after_the_end_is_refused(self, store: Store, command: type[Command]) -> None:
        job = finished(store)

        with pytest.raises(LeaseLost):
            ask(store, by(command, job.id, job.attempt))

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
        (claimed,) = claim(store)
        end: dict[str, Command] = {
            "finish": Finish(job.id, 1, NOON, a_result(), None, b"hello"),
            "cancel": Cancel(job.id, 1, NOON, "asked to stop"),
            "sweep": Sweep(LEASE),
            "release": Release(job.id, 1, NOON),
        }

        ask(store, end[how])

        assert claimed.request == LONG
        assert stored(store, job.id).is_finished
        assert is_gone(store, Load(job.id, 0, 0))

    def test_a_job_that_is_released_waits_again_with_its_request(self, store: Store) -> None:
        job = running(store, repeatable=True)
        ask(store, Append(job.id, 1, 0, b"half of it"))

        back = ask(store, Release(job.id, 1, NOON + 5))

        assert back == job.released(NOON + 5)
        assert is_gone(store, Load(job.id, 1, 0))
        assert claim(store, now=NOON + 4) == ()
        assert claim(store, now=NOON + 5) == (Claimed(back.claimed(NOON + 5), REQUEST),)

    def test_a_release_fails_what_is_unsafe_to_repeat(self, store: Store) -> None:
        job = running(store)

        ended = ask(store, Release(job.id, 1, NOON))

        assert ended == job.released(NOON)
        assert ended.error.code == "interrupted"
        assert claim(store) == ()

    @pytest.mark.parametrize("make", [waiting, running])
    def test_a_canceled_job_is_final(self, store: Store, make: Any) -> None:
        job = make(store)

        canceled = ask(store, Cancel(job.id, job.attempt, NOON, "asked to stop"))

        assert canceled == job.canceled(NOON, "asked to stop")
        assert store.read(Get(job.id)) == canceled
        assert claim(store) == ()
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
        assert claim(store, now=NOON + 29) == ()
        (claimed,) = claim(store, now=NOON + 30)
        assert (claimed.job.attempt, claimed.job.tries, claimed.request) == (2, 1, REQUEST)
        ended = ask(store, Finish(job.id, 2, NOON + 31, a_result(), error, b"page!", NOON + 60))
        assert ended.status is Status.FAILED
        assert store.read(Load(job.id, 2, 0)) == b"page!"
