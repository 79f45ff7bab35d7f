from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from tests.process.parts import PATIENCE, Process, aanswer, answer, eventually

from deferit import JobCanceled, current_job, progress, track
from deferit._core.commands import Report
from deferit._core.job import Status
from deferit._process.runs import REPORT_INTERVAL
from deferit.context import Approach, RunningJob, current
from deferit.executors.event_loop import EventLoopExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._core.job import Job
    from deferit._core.policy import Mark
    from deferit._process.runs import Run


class Noted(RunningJob):
    """A running job that keeps what is reported."""

    id, owner, attempt = "job_noted", "ada", 1

    def __init__(self) -> None:
        self.reports: list[tuple[int | None, str | None]] = []
        self.is_canceled = False

    @property
    def canceled(self) -> bool:
        return self.is_canceled

    def report(self, percent: int | None, message: str | None) -> None:
        self.reports.append((percent, message))

    def has_raised(self, exc: BaseException) -> None:
        raise AssertionError(exc)


@pytest.fixture
def job() -> Iterator[Noted]:
    job = Noted()
    token = current.set(job)
    yield job
    current.reset(token)


# --- outside a job ---------------------------------------------------------------------------------------------------


def test_outside_a_job_nothing_happens() -> None:
    progress(0.5, "half")

    assert current_job() is None
    assert list(track([1, 2])) == [1, 2]


def test_an_ordinary_request_is_no_job() -> None:
    class Passing(Approach):
        def defers(self, mark: Mark) -> bool:
            raise AssertionError(mark)

    token = current.set(Passing())
    try:
        progress(0.5)
        assert current_job() is None
    finally:
        current.reset(token)


# --- inside ----------------------------------------------------------------------------------------------------------


def test_the_running_job_is_there(job: Noted) -> None:
    assert current_job() is job


@pytest.mark.parametrize(
    ("fraction", "percent"),
    [(0, 0), (0.5, 50), (1, 100), (1.5, 100), (-1, 0), (0.994, 99), (float("nan"), 0)],
)
def test_a_fraction_becomes_percent_within_bounds(
    job: Noted, fraction: float, percent: int
) -> None:
    progress(fraction)

    assert job.reports == [(percent, None)]


@pytest.mark.parametrize(
    ("message", "shown"),
    [("half", "half"), (None, None), ("", ""), (7, "7"), (b"x", "b'x'"), ("a\ud800b", "a?b")],
)
def test_a_message_becomes_a_text_that_can_be_stored(
    job: Noted, message: Any, shown: str | None
) -> None:
    progress(0.5, message)

    assert job.reports == [(50, shown)]


def test_track_reports_how_far_it_has_come(job: Noted) -> None:
    assert list(track(["a", "b", "c"])) == ["a", "b", "c"]
    assert job.reports == [(0, None), (33, None), (66, None)]


def test_track_takes_a_total_and_does_without_one(job: Noted) -> None:
    list(track(iter("ab"), total=4))
    list(track(iter("ab"), total=1))
    list(track(iter("ab")))
    list(track([]))

    assert job.reports == [
        (0, None),
        (25, None),
        (0, None),
        (100, None),
        (None, "0 done"),
        (None, "1 done"),
    ]


def test_a_canceled_job_ends_its_handler(job: Noted) -> None:
    job.is_canceled = True

    for step in (
        job.check,
        lambda: progress(0.5),
        lambda: list(track([1])),
        lambda: list(track([])),
    ):
        with pytest.raises(JobCanceled, match="job job_noted was canceled"):
            step()
    assert job.reports == []


def test_a_cancel_ends_track_between_two_items(job: Noted) -> None:
    seen = []

    def handler() -> None:
        for item in track([1, 2, 3]):
            seen.append(item)
            job.is_canceled = item == 2

    with pytest.raises(JobCanceled):
        handler()

    assert seen == [1, 2]


# --- in a real run ---------------------------------------------------------------------------------------------------


def test_many_reports_become_few_commands_and_the_last_one_is_written(process: Process) -> None:
    go_on = threading.Event()

    def handler(run: Run) -> None:
        for row in range(10_000):
            progress(row / 10_000, f"row {row}")
        assert go_on.wait(PATIENCE)
        answer(run)

    process.handlers.handler = handler
    start = time.monotonic()
    job = process.create()
    written = until_reported(process, job, "row 9999")
    go_on.set()
    done = process.end_of(job)

    assert (written.progress, done.progress) == (99, 100)
    assert len(process.store.executed(Report)) <= 3 + (time.monotonic() - start) / REPORT_INTERVAL


def until_reported(process: Process, job: Job, message: str) -> Job:
    """Do the keeper's duty until a message is there."""

    def is_there() -> bool:
        process.upkeep.write_reports()
        return process.ledger.get(job.id).message == message

    eventually(is_there)
    return process.ledger.get(job.id)


def test_a_handler_that_reports_little_has_it_written_at_once(process: Process) -> None:
    def handler(run: Run) -> None:
        progress(0.5, "half")
        answer(run)

    process.handlers.handler = handler
    process.end_of(process.create())

    (report,) = process.store.executed(Report)
    assert (report.progress, report.message) == (50, "half")


@pytest.mark.parametrize("is_async", [False, True])
def test_the_job_is_known_in_threads_and_tasks_of_the_handler(is_async: bool) -> None:
    found: list[str | None] = []

    def look() -> None:
        job = current_job()
        found.append(job.id if job else None)

    async def ahandler(run: Run) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, look)
        look()
        await aanswer(run)

    def handler(run: Run) -> None:
        look()
        answer(run)

    process = Process(EventLoopExecutor() if is_async else None)
    process.handlers.handler, process.handlers.ahandler = handler, ahandler
    job = process.create()
    process.end_of(job)
    process.close()

    assert set(found) == {job.id}
    assert current_job() is None


def test_a_canceled_handler_is_told_when_it_next_reports(process: Process) -> None:
    began, go_on, told = threading.Event(), threading.Event(), threading.Event()

    def handler(_run: Run) -> None:
        began.set()
        assert go_on.wait(PATIENCE)
        try:
            progress(0.5)
        except JobCanceled:
            told.set()
            raise

    process.handlers.handler = handler
    job = process.create()
    assert began.wait(PATIENCE)
    process.worker.stop(job)
    go_on.set()

    assert told.wait(PATIENCE)


@pytest.mark.parametrize("message", [7, "a\ud800b"])
def test_whatever_is_reported_the_job_ends(process: Process, message: Any) -> None:
    def handler(run: Run) -> None:
        progress(0.5, message)
        answer(run)

    process.handlers.handler = handler

    assert process.end_of(process.create()).status is Status.SUCCEEDED
