from __future__ import annotations

import asyncio
import threading
from math import inf
from typing import TYPE_CHECKING

import anyio
import pytest
from tests.process.parts import (
    PATIENCE,
    Process,
    WatchedStore,
    aanswer,
    answer,
    captured,
    draft,
    eventually,
)

from deferit import JobCanceled, current_job
from deferit._core.commands import Append, Create, Finish, Release, Report
from deferit._core.job import Status
from deferit._core.queries import Load
from deferit._core.recorder import PIECE
from deferit._process.runs import Run
from deferit._records import decode_captured
from deferit.exceptions import LeaseLost, StoreUnavailable
from deferit.executors.event_loop import EventLoopExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deferit._core.job import Job

BODY = bytes(range(256)) * 4096  # four pieces


@pytest.fixture(params=[False, True])
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    """Run in threads and in an event loop."""
    process = Process(EventLoopExecutor() if request.param else None)
    yield process
    process.close()


def a_run(process: Process, run_class: type[Run] = Run) -> Run:
    """Return a run that nobody runs yet, of a job that is running."""
    job = draft().claimed(process.ledger.now())
    process.ledger.execute(Create(job, captured(), process.ledger.now() + 60))
    return run_class(process.worker, job, decode_captured(captured()), {}, "asyncio")


def test_a_job_is_what_its_handler_sees(process: Process) -> None:
    seen: list[object] = []

    def look(run: Run) -> None:
        seen.extend([current_job() is run, run.owner, run.attempt, run.canceled, run.carried])

    def handler(run: Run) -> None:
        look(run)
        answer(run)

    async def ahandler(run: Run) -> None:
        look(run)
        await aanswer(run)

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    process.end_of(process.create(carried={"db": "here"}, owner="ada"))

    assert seen == [True, "ada", 1, False, {"db": "here"}]
    assert current_job() is None


def test_a_long_body_goes_in_and_out_in_pieces(process: Process) -> None:
    def handler(run: Run) -> None:
        answer(run, b"".join(run.body()))

    async def ahandler(run: Run) -> None:
        indexes = range(run.captured.chunks + 1)
        await aanswer(run, b"".join([await run.apiece(index) for index in indexes]))

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    job = draft()
    pieces = [BODY[start : start + PIECE] for start in range(0, len(BODY), PIECE)]
    for index, piece in enumerate(pieces):
        process.ledger.execute(Append(job.id, 0, index, piece))
    process.worker.create(Create(job, captured(b"tail", len(pieces))), {})
    done = process.end_of(job)

    assert done.result is not None
    stored = [process.ledger.read(Load(job.id, 1, i)) for i in range(done.result.chunks)]
    assert b"".join(piece for piece in stored if isinstance(piece, bytes)) == BODY + b"tail"


def test_a_store_that_goes_away_for_a_while_is_not_the_handlers_failure(process: Process) -> None:
    """It goes away twice: before a piece of the request is read, and before one of the result is written."""
    went, came_back = threading.Event(), [threading.Event(), threading.Event()]

    def go_away() -> None:
        process.store.failure = StoreUnavailable("memory://", "it restarts")
        went.set()

    def handler(run: Run) -> None:
        go_away()
        body = b"".join(run.body())
        assert came_back[0].is_set()
        go_away()
        answer(run, body)
        assert came_back[1].is_set()

    async def ahandler(run: Run) -> None:
        go_away()
        body = await run.apiece(0)
        assert came_back[0].is_set()
        go_away()
        await aanswer(run, body)
        assert came_back[1].is_set()

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    job = draft()
    process.ledger.execute(Append(job.id, 0, 0, BODY))
    process.worker.create(Create(job, captured(chunks=1)), {})
    for event in came_back:
        assert went.wait(PATIENCE)
        went.clear()
        await_failure(process.store)
        event.set()
        process.store.failure = None
    done = process.end_of(job)

    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert done.result is not None
    assert done.result.length == len(BODY)


def await_failure(store: WatchedStore) -> None:
    before = store.failures
    eventually(lambda: store.failures > before)


def test_who_waits_for_the_store_hears_that_the_job_was_canceled(process: Process) -> None:
    ended: list[BaseException] = []
    waits = threading.Event()

    def wait_for_store() -> None:
        process.store.failure = StoreUnavailable("memory://", "it is gone")
        waits.set()

    def handler(run: Run) -> None:
        wait_for_store()
        try:
            answer(run, BODY)
        except JobCanceled as exc:
            ended.append(exc)
            raise

    async def ahandler(run: Run) -> None:
        wait_for_store()
        try:
            await aanswer(run, BODY)
        except JobCanceled as exc:
            ended.append(exc)
            raise

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    process.create()
    assert waits.wait(PATIENCE)
    eventually(lambda: process.store.failures)
    (run,) = process.worker.runs.values()
    run.cancel()

    process.until_free(2)
    process.store.failure = None
    assert len(ended) == 1


def test_a_store_that_does_not_come_back_ends_the_run(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferit._process.runs.PATIENCE", 0.0)

    def handler(run: Run) -> None:
        process.store.failure = StoreUnavailable("memory://", "it is gone")
        answer(run, BODY)

    async def ahandler(run: Run) -> None:
        process.store.failure = StoreUnavailable("memory://", "it is gone")
        await aanswer(run, BODY)

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    job = process.create()
    process.until_free(2)
    eventually(lambda: process.ledger.is_behind)
    process.store.failure = None
    process.ledger.finish_again()

    assert process.end_of(job).status is Status.FAILED


@pytest.mark.parametrize("exc", [ValueError("a bug"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_handler_raises_is_how_its_job_ends(
    process: Process, exc: BaseException
) -> None:
    def handler(_run: Run) -> None:
        raise exc

    async def ahandler(_run: Run) -> None:
        raise exc

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    done = process.end_of(process.create())
    after = process.create(1)

    assert done.error is not None
    assert done.error.message == f"The handler raised {type(exc).__name__}."
    assert process.end_of(after).is_finished
    process.until_free(2)


def test_an_answer_of_nonsense_ends_its_job_and_no_other(process: Process) -> None:
    headers = (("Location", "http://[nonsense"),)

    def handler(run: Run) -> None:
        run.recorder.start(302, headers)
        run.recorder.end()

    async def ahandler(run: Run) -> None:
        handler(run)

    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    jobs = [process.end_of(process.create(number)) for number in range(4)]

    assert [job.status for job in jobs] == [Status.SUCCEEDED] * 4
    process.until_free(2)


def test_a_cancellation_of_the_handlers_own_making_is_its_failure() -> None:
    process = Process(EventLoopExecutor())

    async def ahandler(_run: Run) -> None:
        raise asyncio.CancelledError

    process.handlers.ahandler = ahandler
    first = process.end_of(process.create(repeatable=True))
    process.handlers.ahandler = aanswer
    second = process.end_of(process.create(1))
    process.close()

    assert (first.status, first.attempt) == (Status.FAILED, 1)
    assert first.error is not None
    assert first.error.code == "handler-exception"
    assert second.status is Status.SUCCEEDED


def test_a_canceled_run_is_not_begun(process: Process) -> None:
    run = a_run(process)
    process.worker.slots.take()

    run.cancel()
    run.run()

    assert run.over.is_set()
    assert process.store.executed(Finish) == []


def test_a_canceled_run_takes_no_more_of_the_response(process: Process) -> None:
    run = a_run(process)
    run.recorder.start(200, ())

    run.cancel()

    with pytest.raises(JobCanceled):
        run.write(b"x")
    with pytest.raises(JobCanceled):
        anyio.run(run.awrite, b"x")


def test_a_run_that_has_lost_its_lease_cannot_write(process: Process) -> None:
    run = a_run(process)
    run.recorder.start(200, ())
    process.ledger.execute(Release(run.id, 1, process.ledger.now()))

    with pytest.raises(LeaseLost):
        run.write(bytes(PIECE + 1))
    with pytest.raises(LeaseLost):
        anyio.run(run.awrite, bytes(PIECE + 1))


def test_reports_are_put_together(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deferit._process.runs.REPORT_INTERVAL", 3600.0)
    run = a_run(process)
    run._reported_at = -inf

    run.report(10, None)
    run.report(20, "a")
    run.report(None, "b")
    run.report(30, None)
    written = process.store.executed(Report)
    run._reported_at = -inf
    run.write_report()
    job = settled(process, run)

    assert len(written) <= 1
    assert (job.progress, job.message) == (30, "b")
    assert len(process.store.executed(Report)) == 2


def settled(process: Process, run: Run) -> Job:
    """Wait until what was submitted is executed; return the job."""
    process.settle()
    return process.ledger.get(run.id)


def test_two_threads_may_write_one_report(process: Process) -> None:
    class Interrupted(Run):
        """A run in which another thread does the keeper's duty in the middle of a report."""

        is_interrupted = False

        @property
        def _reported_at(self) -> float:
            if self._report and not self.is_interrupted:
                self.is_interrupted = True
                interrupt(self.write_report)
            return 0.0

        @_reported_at.setter
        def _reported_at(self, _value: float) -> None:
            pass

    run = a_run(process, Interrupted)

    run.report(10, "a")

    assert settled(process, run).progress == 10


def interrupt(step: Callable[[], None]) -> None:
    """Let another thread do something as far as it gets without this one."""
    thread = threading.Thread(target=step)
    thread.start()
    thread.join(0.05)
