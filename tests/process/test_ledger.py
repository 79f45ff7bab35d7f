from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from tests.process.parts import PATIENCE, WatchedStore, draft

from deferit._core.commands import Cancel, Create, Finish, Release, Report
from deferit._core.job import Job, Result, Status
from deferit._core.queries import Get, Load
from deferit._process.ledger import Ledger
from deferit.exceptions import JobNotFound, LeaseLost, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULT = Result(200, (), 0, 0, '"tag"')
DOWN = StoreUnavailable("memory://", "disk full")


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def ledger(store: WatchedStore) -> Iterator[Ledger]:
    with opened(store) as ledger:
        yield ledger


@contextmanager
def opened(store: WatchedStore) -> Iterator[Ledger]:
    ledger = Ledger(store)
    ledger.open()
    try:
        yield ledger
    finally:
        ledger.close()


class AskedStore(WatchedStore):
    """A store whose reads take their time; it notes which jobs it is asked for at once, and waits before it answers."""

    reads_are_quick = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[set[str]] = []
        self.entered_read = threading.Event()
        self.gate = threading.Event()

    def get_all(self, job_ids: Sequence[str]) -> list[Job | Exception]:
        self.asked.append(set(job_ids))
        self.entered_read.set()
        assert self.gate.wait(PATIENCE)
        return super().get_all(job_ids)


def running(ledger: Ledger, number: int = 0) -> Job:
    job = draft(number).claimed(ledger.now())
    ledger.execute(Create(job, b"", ledger.now() + 60))
    return job


def finish(job: Job) -> Finish:
    return Finish(job.id, job.attempt, job.updated_at + 1, RESULT, None)


def test_a_command_is_executed_and_answered(ledger: Ledger) -> None:
    job = draft()

    assert ledger.execute(Create(job, b"")) == job
    assert ledger.get(job.id) == ledger.read(Get(job.id)) == job


def test_what_a_command_meets_is_raised(ledger: Ledger) -> None:
    job = running(ledger)

    with pytest.raises(LeaseLost):
        ledger.execute(Report(job.id, 7, ledger.now(), 1, None))
    with pytest.raises(JobNotFound):
        ledger.get("job_nobody")


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_task_does_the_same(store: WatchedStore, backend: str, is_quick: bool) -> None:
    store.reads_are_quick = is_quick
    job = draft()

    async def main() -> None:
        with opened(store) as ledger:
            assert await ledger.aexecute(Create(job, b"")) == job
            assert await ledger.aget(job.id) == await ledger.aread(Get(job.id)) == job
            with pytest.raises(LeaseLost):
                await ledger.aexecute(Report(job.id, 7, ledger.now(), 1, None))
            with pytest.raises(JobNotFound):
                await ledger.aread(Load(job.id, 0, 0))
            with pytest.raises(JobNotFound):
                await ledger.aread(Get("job_nobody"))

    anyio.run(main, backend=backend)


def test_what_tasks_ask_for_jobs_while_a_store_answers_is_one_question(backend: str) -> None:
    store = AskedStore()
    jobs = [draft(number) for number in range(3)]
    found: list[object] = []

    async def ask(ledger: Ledger, job_id: str) -> None:
        found.append(await ledger.aread(Get(job_id)))

    async def main(ledger: Ledger) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, ledger, jobs[0].id)
            await anyio.to_thread.run_sync(store.entered_read.wait, PATIENCE)
            tasks.start_soon(ask, ledger, jobs[1].id)
            tasks.start_soon(ask, ledger, jobs[2].id)
            await anyio.wait_all_tasks_blocked()
            store.gate.set()

    with opened(store) as ledger:
        for job in jobs:
            ledger.execute(Create(job, b""))
        anyio.run(main, ledger, backend=backend)

    assert store.asked == [{jobs[0].id}, {jobs[1].id, jobs[2].id}]
    assert sorted(job.id for job in found if isinstance(job, Job)) == [job.id for job in jobs]


def test_a_store_that_is_gone_answers_no_task(store: WatchedStore, backend: str) -> None:
    store.reads_are_quick = False

    async def main() -> None:
        with opened(store) as ledger:
            store.failure = DOWN
            with pytest.raises(StoreUnavailable):
                await ledger.aread(Get("job_nobody"))
            store.failure = None

    anyio.run(main, backend=backend)


def test_a_change_wakes_those_who_wait_for_the_job(ledger: Ledger) -> None:
    job, woken = running(ledger), threading.Event()

    with ledger.signals.watching(job.id, woken.set):
        ledger.execute(Report(job.id, 1, ledger.now(), 40, None))

    assert woken.is_set()


def test_somebody_is_told_of_a_command_that_nobody_waits_for(ledger: Ledger) -> None:
    job, told = running(ledger), threading.Event()
    outcomes: list[object] = []

    def note(outcome: object) -> None:
        outcomes.append(outcome)
        told.set()

    ledger.submit(Cancel(job.id, 1, job.updated_at + 1, "stopped"), note)

    assert told.wait(PATIENCE)
    assert isinstance(outcomes[0], Job)
    assert outcomes[0].status is Status.CANCELED


def test_a_task_that_is_canceled_does_not_keep_its_command_from_being_noted(
    store: WatchedStore, ledger: Ledger, backend: str
) -> None:
    job, woken = running(ledger), threading.Event()

    async def main() -> None:
        with store.held(), anyio.move_on_after(0):
            await ledger.aexecute(Report(job.id, 1, ledger.now(), 40, None))
        await anyio.to_thread.run_sync(woken.wait, PATIENCE)

    with ledger.signals.watching(job.id, woken.set):
        anyio.run(main, backend=backend)

    assert woken.is_set()
    assert ledger.get(job.id).progress == 40


@pytest.mark.parametrize("kind", [Finish, Release])
def test_how_a_job_ended_is_stored_once_the_store_is_back(
    store: WatchedStore, ledger: Ledger, kind: type[Any]
) -> None:
    job = running(ledger)
    command = finish(job) if kind is Finish else Release(job.id, 1, job.updated_at + 1)
    store.failure = DOWN
    with pytest.raises(StoreUnavailable):
        ledger.execute(command)
    ledger.finish_again()
    with pytest.raises(
        StoreUnavailable
    ):  # when this is through, what was tried again has failed again
        ledger.execute(Report(job.id, 1, ledger.now(), 1, None))

    store.failure = None
    ledger.finish_again()
    settled(ledger)

    assert ledger.get(job.id).is_finished
    assert not ledger._unfinished


def settled(ledger: Ledger) -> None:
    """Wait until all that was submitted is executed."""
    ledger.execute(Create(draft(99), b""))


def test_what_was_not_stored_yet_is_tried_once_more_at_the_end(
    store: WatchedStore, ledger: Ledger
) -> None:
    job = running(ledger)
    store.failure = DOWN
    with pytest.raises(StoreUnavailable):
        ledger.execute(finish(job))
    store.failure = None

    ledger.close()

    assert ledger.get(job.id).status is Status.SUCCEEDED


def test_a_report_is_not_worth_a_second_try(store: WatchedStore, ledger: Ledger) -> None:
    job = running(ledger)
    store.failure = DOWN

    with pytest.raises(StoreUnavailable):
        ledger.execute(Report(job.id, 1, ledger.now(), 40, None))

    assert not ledger._unfinished


def test_a_store_that_cannot_be_opened_can_be_tried_again() -> None:
    class Shy(WatchedStore):
        is_shy = True

        def open(self) -> None:
            if self.is_shy:
                raise DOWN
            super().open()

    store = Shy()
    ledger = Ledger(store)
    with pytest.raises(StoreUnavailable):
        ledger.open()

    store.is_shy = False
    ledger.open()

    assert ledger.execute(Create(draft(), b""))
    ledger.close()
