from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from tests.process.parts import PATIENCE, Process, aanswer, answer, captured, draft, eventually

from deferit._core.commands import (
    Append,
    Cancel,
    Claim,
    Claimed,
    Create,
    Finish,
    Release,
    Renew,
    Report,
)
from deferit._core.effects import ShuttingDown
from deferit._core.job import Job, Status
from deferit._core.queries import Due, Load
from deferit._core.recorder import PIECE
from deferit._process.slots import ENOUGH, SOON
from deferit.exceptions import JobExists, StoreUnavailable
from deferit.executors.base import Executor, Work
from deferit.executors.event_loop import EventLoopExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._core.queries import Query
    from deferit._process.runs import Run

DOWN = StoreUnavailable("memory://", "disk full")


class Held:
    """A handler that begins, and waits to be let go."""

    def __init__(self, process: Process) -> None:
        self.began = threading.Semaphore(0)
        self.gate = threading.Event()
        self.runs: list[Run] = []
        process.handlers.handler = self.handle
        process.handlers.ahandler = self.ahandle

    def handle(self, run: Run) -> None:
        self.runs.append(run)
        self.began.release()
        assert self.gate.wait(PATIENCE)
        answer(run)

    async def ahandle(self, run: Run) -> None:
        self.runs.append(run)
        self.began.release()
        await anyio.to_thread.run_sync(self.gate.wait, PATIENCE, abandon_on_cancel=True)
        await aanswer(run)

    def await_begin(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.began.acquire(timeout=PATIENCE)


@pytest.fixture
def held(process: Process) -> Iterator[Held]:
    held = Held(process)
    yield held
    held.gate.set()


def await_over(run: Run) -> None:
    assert run.over.wait(PATIENCE)


# --- beginning -------------------------------------------------------------------------------------------------------


def test_a_job_begins_at_once_in_the_transaction_that_creates_it(
    process: Process, held: Held
) -> None:
    job = process.create()
    held.await_begin()

    assert (job.status, job.attempt) == (Status.RUNNING, 1)
    assert process.store.executed(Claim) == []
    assert process.free == 1


def test_more_than_there_are_slots_wait_and_the_keeper_is_woken(
    process: Process, held: Held
) -> None:
    jobs = [process.create(number) for number in range(4)]
    held.await_begin(2)
    statuses = [job.status for job in jobs]
    wakes = process.wakes
    held.gate.set()
    for run in list(held.runs):
        await_over(run)
    process.until_free(2)
    process.claims.claim()
    done = [process.end_of(job) for job in jobs]

    assert statuses == [Status.RUNNING] * 2 + [Status.ACCEPTED] * 2
    assert wakes == 2
    assert [job.status for job in done] == [Status.SUCCEEDED] * 4
    process.until_free(2)


def test_nobody_overtakes_those_who_wait(process: Process, held: Held) -> None:
    first = [process.create(number) for number in range(3)]
    held.gate.set()
    for job in first[:2]:
        process.end_of(job)
    process.until_free(2)

    late = process.create(3)

    assert (first[2].status, late.status) == (Status.ACCEPTED, Status.ACCEPTED)
    process.claims.claim()
    assert process.end_of(late).status is Status.SUCCEEDED
    assert process.end_of(first[2]).status is Status.SUCCEEDED


def test_nobody_overtakes_what_was_taken_ahead_and_given_back(process: Process, held: Held) -> None:
    slots = process.worker.slots
    slots._seen, slots._count, slots._free = ENOUGH, 1, 1
    first, ahead = process.create(1), process.create(2)
    held.await_begin()
    slots._clock = lambda: time.monotonic() + 2 * SOON

    process.worker.give_back_late()
    process.settle()
    wakes = process.wakes
    held.gate.set()
    process.end_of(first)
    process.until_free(1)
    late = process.create(3)

    assert (ahead.status, late.status) == (Status.RUNNING, Status.ACCEPTED)
    assert wakes == 1
    process.claims.claim()
    assert [process.end_of(job).status for job in (ahead, late)] == [Status.SUCCEEDED] * 2


def test_nobody_overtakes_them_while_they_are_looked_for(
    process: Process, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [process.create(number) for number in range(3)]
    held.gate.set()
    for job in first[:2]:
        process.end_of(job)
    process.until_free(2)
    read, late = process.store.read, list[Job]()

    def looked(query: Query) -> object:
        found = read(query)
        if isinstance(query, Due) and not late:
            late.append(process.create(3))
        return found

    monkeypatch.setattr(process.store, "read", looked)

    process.claims.claim()

    assert late[0].status is Status.ACCEPTED
    assert process.end_of(first[2]).status is Status.SUCCEEDED
    assert process.end_of(late[0]).status is Status.SUCCEEDED


@contextmanager
def committing(process: Process) -> Iterator[None]:
    """Have the committer at work for the time of the context, so that what is submitted is one batch afterwards."""
    while process.store.entered.acquire(blocking=False):
        pass
    with process.store.held():
        process.ledger.submit(Renew((), 0.0))
        process.store.await_entry()
        yield


def test_those_who_wait_are_taken_in_the_transaction_that_creates_the_next(
    process: Process, held: Held
) -> None:
    has_asked = threading.Event()

    def along() -> None:
        process.claims.along()
        has_asked.set()

    process.worker.claim_along = process.claims.along
    first = [process.create(number) for number in range(3)]
    held.gate.set()
    for job in first[:2]:
        process.end_of(job)
    process.until_free(2)
    process.worker.slots.give()  # one more than there are jobs
    process.worker.claim_along = along
    made: list[Job] = []
    with committing(process):
        thread = threading.Thread(target=lambda: made.append(process.create(3)))
        thread.start()
        assert has_asked.wait(PATIENCE)
        assert process.free == 0
    thread.join()

    kinds = [[type(command) for command in batch] for batch in process.store.batches]
    assert [Create, Claim] in kinds
    assert made[0].status is Status.ACCEPTED
    assert process.end_of(made[0]).status is Status.SUCCEEDED
    assert process.end_of(first[2]).status is Status.SUCCEEDED
    assert process.create(4).status is Status.RUNNING
    assert process.worker.new_ones == {}
    process.until_free(3)


def test_nobody_is_taken_along_by_a_store_that_is_away(process: Process) -> None:
    process.worker.claim_along = process.claims.along
    process.worker.backlog.grow()
    process.store.failure = DOWN

    with pytest.raises(StoreUnavailable):
        process.create()

    eventually(lambda: process.free == 2)
    assert process.worker.backlog.is_there
    assert process.worker.new_ones == {}
    process.store.failure = None
    process.claims.claim()
    assert process.end_of(process.create(1)).status is Status.SUCCEEDED


def test_what_is_carried_reaches_the_handler_whenever_it_begins(
    process: Process, held: Held
) -> None:
    things = [object() for _ in range(3)]
    jobs = [process.create(number, {"thing": things[number]}) for number in range(3)]
    held.await_begin(2)
    held.gate.set()
    for run in list(held.runs):
        await_over(run)
    process.until_free(2)
    process.claims.claim()
    for job in jobs:
        process.end_of(job)

    assert [run.carried["thing"] for run in sorted(held.runs, key=lambda run: run.id)] == things
    assert process.worker.carried == {}


def test_what_is_carried_for_a_job_that_is_canceled_first_is_let_go(
    process: Process, held: Held
) -> None:
    for number in range(2):
        process.create(number)
    job = process.create(2, {"thing": object()})

    process.ledger.execute(Cancel(job.id, 0, process.ledger.now(), "never started"))
    process.upkeep.recheck([job.id])
    process.upkeep.sweep()

    assert process.worker.carried == {}


# --- slots, on every path --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [DOWN, ValueError("a bug")])
def test_a_job_that_cannot_be_created_gives_its_slot_back(
    process: Process, failure: Exception
) -> None:
    process.store.failure = failure

    for number in range(3):
        with pytest.raises(StoreUnavailable):
            process.create(number, {"thing": object()})
    process.store.failure = None

    assert process.free == 2
    assert process.worker.carried == {}
    assert process.end_of(process.create()).status is Status.SUCCEEDED


def test_so_does_one_that_there_is_already(process: Process) -> None:
    create = Create(draft(), captured())
    process.worker.create(create, {})
    process.end_of(create.job)

    with pytest.raises(JobExists):
        process.worker.create(create, {})

    process.until_free(2)


@pytest.mark.parametrize("answer", [DOWN, ValueError("an unreadable record")])
def test_a_claim_that_fails_gives_the_slots_back(process: Process, answer: Exception) -> None:
    waiting = draft()
    process.ledger.execute(Create(waiting, captured()))
    process.worker.backlog.grow()
    process.store.answer = answer

    with pytest.raises(type(answer)):
        process.claims.claim()

    assert process.free == 2
    process.claims.claim()
    assert process.end_of(waiting).status is Status.SUCCEEDED


def test_a_request_that_cannot_be_read_gives_its_slot_back(process: Process) -> None:
    create = Create(draft(), b"garbage")

    process.worker.create(create, {})
    job = process.end_of(create.job)

    assert job.error is not None
    assert job.error.code == "route-gone"
    process.until_free(2)


def test_a_run_gives_its_slot_back_whatever_its_end(process: Process) -> None:
    def fail(_run: Run) -> None:
        raise ValueError("a bug")

    def say_nothing(_run: Run) -> None:
        pass

    def lose(run: Run) -> None:
        process.ledger.execute(Release(run.id, run.attempt, process.ledger.now()))
        run.recorder.start(200, ())
        run.write(bytes(PIECE + 1))

    for number, handler in enumerate([fail, say_nothing, lose, answer]):
        process.handlers.handler = handler
        process.end_of(process.create(number))
        process.until_free(2)

    assert process.worker.runs == {}


class Full(Executor):
    """An executor that takes nothing."""

    def submit(self, work: Work) -> None:
        raise RuntimeError(f"no thread for {type(work).__name__}")


def test_an_executor_that_takes_nothing_keeps_no_slot_and_no_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process = Process(Full())

    at_once = process.end_of(process.create())
    process.worker.backlog.grow()
    waiting = process.create(1)
    process.claims.claim()
    claimed = process.end_of(waiting)

    process.until_free(2)
    assert process.worker.runs == {}
    assert [job.error and job.error.code for job in (at_once, claimed)] == ["interrupted"] * 2
    assert "the executor takes no work" in caplog.text
    process.close()


def test_an_end_that_cannot_be_taken_down_keeps_no_slot_and_no_lease(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(Exception):
        def __bool__(self) -> bool:
            raise ValueError("neither true nor false")

    def handler(_run: Run) -> None:
        raise Odd

    process.handlers.handler = handler
    process.create()

    process.until_free(2)
    process.settle()
    assert process.worker.runs == {}
    assert "could not be taken down" in caplog.text


# --- submitters that go away -----------------------------------------------------------------------------------------


def test_what_a_job_will_run_in_is_there_before_it_is_promised(backend: str) -> None:
    process = Process(EventLoopExecutor())
    process.store.failure = DOWN
    before = threading.enumerate()

    async def main() -> None:
        with pytest.raises(StoreUnavailable):
            await process.worker.acreate(Create(draft(), captured()), {})

    anyio.run(main, backend=backend)

    names = {thread.name for thread in threading.enumerate() if thread not in before}
    assert f"deferit-{backend}" in names
    process.store.failure = None
    process.close()


def test_a_job_goes_on_though_its_submitter_was_canceled(backend: str) -> None:
    executor = EventLoopExecutor()
    process = Process(executor)
    create = Create(draft(), captured())

    async def main() -> None:
        await executor.aprepare(backend)
        with process.store.held(), anyio.move_on_after(0):
            await process.worker.acreate(create, {})
        await anyio.to_thread.run_sync(process.settle)
        await anyio.to_thread.run_sync(process.end_of, create.job)

    anyio.run(main, backend=backend)

    assert process.ledger.get(create.job.id).status is Status.SUCCEEDED
    process.until_free(2)
    process.close()


def test_a_job_goes_on_though_its_submitters_loop_has_ended(backend: str) -> None:
    process = Process(EventLoopExecutor())
    create = Create(draft(), captured())

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(process.worker.acreate, create, {})
            await anyio.to_thread.run_sync(process.store.await_entry)
            group.cancel_scope.cancel()

    while process.store.entered.acquire(blocking=False):
        pass
    with process.store.held():
        anyio.run(main, backend=backend)

    process.settle()
    assert process.end_of(create.job).status is Status.SUCCEEDED
    process.until_free(2)
    process.close()


def test_a_task_creates_and_begins_a_job(backend: str) -> None:
    process = Process(EventLoopExecutor())
    create = Create(draft(), captured())

    job = anyio.run(process.worker.acreate, create, {}, backend=backend)

    assert isinstance(job, Job)
    assert job.status is Status.RUNNING
    assert process.end_of(job).status is Status.SUCCEEDED
    process.close()


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.fixture
def looping() -> Iterator[Process]:
    process = Process(EventLoopExecutor())
    yield process
    process.close()


def test_a_thread_is_asked_to_stop_and_its_answer_is_thrown_away(
    process: Process, held: Held
) -> None:
    job = process.create()
    held.await_begin()

    guarantee = process.worker.stop(job)
    held.gate.set()
    await_over(held.runs[0])
    process.settle()

    assert guarantee == "asked to stop"
    assert process.store.executed(Finish) == []
    assert held.runs[0].canceled


def test_a_task_is_stopped(looping: Process) -> None:
    held = Held(looping)
    job = looping.create()
    held.await_begin()

    assert looping.worker.stop(job) == "stopped"
    assert held.runs[0].over.is_set()
    looping.until_free(2)
    assert looping.store.executed(Release) == []


def test_a_task_stops_another_however_much_is_reported_meanwhile(
    looping: Process, backend: str
) -> None:
    held, go_on = Held(looping), threading.Event()

    async def slow_to_end(run: Run) -> None:
        held.runs.append(run)
        held.began.release()
        try:
            await anyio.sleep_forever()
        finally:
            for _ in range(3):
                looping.ledger.signals.notify(run.id)
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(go_on.wait, PATIENCE)

    async def stop(guarantees: list[str]) -> None:
        guarantees.append(await looping.worker.astop(job))

    async def main() -> str:
        guarantees: list[str] = []
        async with anyio.create_task_group() as group:
            group.start_soon(stop, guarantees)
            for _ in range(5):
                looping.ledger.signals.notify(job.id)
                await anyio.lowlevel.checkpoint()
            go_on.set()
        return guarantees[0]

    looping.handlers.ahandler = slow_to_end
    job = looping.create()
    held.await_begin()

    assert anyio.run(main, backend=backend) == "stopped"


def test_what_does_not_run_here_is_asked_to_stop(process: Process) -> None:
    elsewhere = draft().claimed(0.0)

    assert process.worker.stop(elsewhere) == "asked to stop"
    assert anyio.run(process.worker.astop, elsewhere) == "asked to stop"


def test_another_attempt_is_not_stopped(looping: Process) -> None:
    held = Held(looping)
    job = looping.create(repeatable=True)
    held.await_begin()
    later = job.released(0.0).claimed(0.0)

    assert looping.worker.stop(later) == "asked to stop"

    assert not held.runs[0].canceled


def test_a_task_whose_loop_ends_gives_its_job_back(looping: Process) -> None:
    held = Held(looping)
    job = looping.create(repeatable=True)
    held.await_begin()

    looping.executor.close()
    await_over(held.runs[0])
    looping.settle()

    assert looping.ledger.get(job.id).status is Status.ACCEPTED
    looping.until_free(2)


# --- leases ----------------------------------------------------------------------------------------------------------


def test_leases_of_what_runs_are_renewed(process: Process, held: Held) -> None:
    process.upkeep.renew()
    renewed_nothing = process.store.executed(Renew)
    job = process.create()
    held.await_begin()

    process.upkeep.renew()

    assert renewed_nothing == []
    (renew,) = process.store.executed(Renew)
    assert renew.leases == ((job.id, 1),)
    assert renew.lease_until > process.ledger.now() + 10


@pytest.mark.parametrize("duty", ["renew", "recheck", "report"])
@pytest.mark.parametrize("fate", ["canceled", "taken over", "purged"])
def test_a_run_that_has_lost_its_job_is_told_to_stop(
    process: Process, held: Held, duty: str, fate: str
) -> None:
    job = process.create(repeatable=True)
    held.await_begin()
    lose(process, job, fate)

    if duty == "renew":
        process.upkeep.renew()
    elif duty == "recheck":
        process.upkeep.recheck(["job_other", job.id])
    else:
        held.runs[0].report(50, None)
        process.settle()

    assert held.runs[0].canceled
    held.gate.set()
    await_over(held.runs[0])


def lose(process: Process, job: Job, fate: str) -> None:
    """Do to a job what another process might."""
    now = process.ledger.now()
    if fate == "taken over":
        process.ledger.execute(Release(job.id, job.attempt, now))
        process.ledger.execute(Claim("default", now + 1, now + 60, 1))
        return
    process.ledger.execute(Cancel(job.id, job.attempt, now, "asked to stop"))
    if fate == "purged":
        with process.store._lock:
            process.store._forget(process.store._rows[job.id])


def test_what_still_has_its_job_goes_on(process: Process, held: Held) -> None:
    job = process.create()
    held.await_begin()

    process.upkeep.recheck([job.id])
    process.upkeep.renew()

    assert not held.runs[0].canceled


def test_two_attempts_of_a_job_in_one_process_do_not_mix(process: Process, held: Held) -> None:
    job = process.create(repeatable=True)
    held.await_begin()
    process.ledger.execute(Release(job.id, 1, process.ledger.now()))
    process.worker.backlog.grow()
    process.claims.claim()
    held.await_begin()
    first, second = held.runs

    process.upkeep.renew()
    process.worker.ended(first, None)
    process.upkeep.renew()

    assert (first.canceled, second.canceled) == (True, False)
    assert process.store.executed(Renew)[-1].leases == ((job.id, 2),)
    assert process.worker.slots.take() is True
    process.worker.slots.give()


def test_lost_jobs_are_swept_and_taken_again(process: Process) -> None:
    job = draft(repeatable=True).claimed(process.ledger.now() - 60)
    process.ledger.execute(Create(job, captured(), process.ledger.now() - 30))

    process.upkeep.sweep()
    process.claims.claim()

    done = process.end_of(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)


def test_waiting_jobs_of_other_processes_are_looked_for_now_and_then(process: Process) -> None:
    job = draft()
    process.ledger.execute(Create(job, captured()))

    process.claims.claim()
    before = process.ledger.get(job.id).status
    process.claims.recheck()
    process.claims.claim()

    assert before is Status.ACCEPTED
    assert process.end_of(job).status is Status.SUCCEEDED


def test_another_applications_jobs_are_not_taken(process: Process) -> None:
    job = draft(application="other")
    process.ledger.execute(Create(job, captured()))

    process.worker.backlog.grow()
    process.claims.claim()

    assert process.ledger.get(job.id).status is Status.ACCEPTED
    assert process.free == 2


# --- the end ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_closes_takes_no_more(process: Process) -> None:
    process.worker.close()

    with pytest.raises(ShuttingDown):
        process.create(0, {"thing": object()})
    process.ledger.execute(Create(draft(), captured()))
    process.worker.backlog.grow()
    process.claims.claim()

    assert process.worker.carried == {}
    assert process.store.executed(Claim) == []


@pytest.mark.parametrize(
    ("is_repeatable", "status"), [(True, Status.ACCEPTED), (False, Status.FAILED)]
)
def test_what_does_not_end_within_the_grace_is_given_back(
    process: Process, held: Held, is_repeatable: bool, status: Status
) -> None:
    job = process.create(repeatable=is_repeatable)
    held.await_begin()

    process.worker.close()
    process.settle()

    assert process.ledger.get(job.id).status is status
    held.gate.set()
    await_over(held.runs[0])
    process.settle()
    assert process.ledger.get(job.id).status is status


def test_what_ends_within_the_grace_is_finished() -> None:
    process = Process(grace=PATIENCE)
    held = Held(process)
    job = process.create()
    held.await_begin()
    closer = threading.Thread(target=process.worker.close)
    closer.start()
    held.gate.set()
    closer.join(PATIENCE)
    process.settle()

    assert process.ledger.get(job.id).status is Status.SUCCEEDED
    process.close()


def test_pieces_of_a_result_are_stored_while_it_is_written(process: Process) -> None:
    process.handlers.handler = lambda run: answer(run, bytes(2 * PIECE + 1))

    job = process.end_of(process.create())

    assert job.result is not None
    assert (job.result.length, job.result.chunks) == (2 * PIECE + 1, 3)
    assert len(process.store.executed(Append)) == 2
    assert process.ledger.read(Load(job.id, 1, 2)) == b"\0"


def test_progress_of_a_job_wakes_those_who_wait_for_it(process: Process) -> None:
    woken = threading.Event()

    def handler(run: Run) -> None:
        run.report(40, None)
        assert woken.wait(PATIENCE)
        answer(run)

    process.handlers.handler = handler
    job = draft()
    with process.ledger.signals.watching(job.id, woken.set):
        process.worker.create(Create(job, captured()), {})
        process.end_of(job)

    assert len(process.store.executed(Report)) == 1


def test_a_claim_is_answered_with_what_was_claimed(process: Process) -> None:
    job = draft()
    process.ledger.execute(Create(job, captured()))
    now = process.ledger.now()

    claimed: Any = process.ledger.execute(Claim("default", now, now + 15, 1))

    assert claimed == (Claimed(job.claimed(now), captured()),)


def test_nothing_is_swept_before_the_store_knows_how_jobs_ended_here(process: Process) -> None:
    job = draft().claimed(process.ledger.now() - 60)
    process.ledger.execute(Create(job, captured(), process.ledger.now() - 30))
    process.store.failure = DOWN
    process.ledger.submit(Finish(job.id, 1, process.ledger.now(), None, None))
    eventually(lambda: process.ledger.is_behind)
    process.store.failure = None

    process.upkeep.sweep()
    before = process.ledger.get(job.id).status
    process.ledger.finish_again()

    assert before is Status.RUNNING
    assert process.end_of(job).status is Status.SUCCEEDED
