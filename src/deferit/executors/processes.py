"""Runs handlers in child processes, which can be killed and may crash.

Each child has its own pipe and runs one job at a time, so it is always certain whose handler a signal ends: pools that
share one queue among their processes cannot say so, and a kill may hit the next job.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from deferit._host import close_hosts, host_of, run_job
from deferit.executors.base import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import (
        ForkServerContext,
        ForkServerProcess,
        SpawnContext,
        SpawnProcess,
    )
    from types import FrameType

    from deferit._core.job import Job
    from deferit.executors.base import Lost

    _Process: TypeAlias = ForkServerProcess | SpawnProcess

logger = logging.getLogger("deferit")

REST = 5.0
"""Seconds for which no child is started after one could not start: the next one would not fare better."""

START: ForkServerContext | SpawnContext = multiprocessing.get_context("spawn")
"""How children are started: with nothing of this process but its environment."""

GIVING_BACK = 2.0
"""Seconds that a child has, besides its grace, to give back its job before it is killed."""

LOOK = 1.0
"""Seconds between two looks of a child without parent whether its handler was told to stop."""


class ProcessExecutor(Dispatcher):
    """Runs handlers in child processes of the web process, one at a time in each: for handlers that compute.

    A cancel and a timeout kill the child, and what the handler has started and left in the child's process group; a
    child that crashes fails its job, and no other. Children are started by ``spawn`` when there is work, import ``app``
    once, and are kept. ``workers`` is how many there are at the most;
    None: as many as this process has processors. Every web process has its own.
    """

    def __init__(self, app: str | None = None, *, workers: int | None = None) -> None:
        self.app = app
        self._workers = workers or len(os.sched_getaffinity(0))
        self._children: list[_Child] = []
        self._pid = 0

    def open(self, lost: Lost, wake: Callable[[], object]) -> None:
        assert self.app is not None
        self._pid = os.getpid()
        self._children = [_Child(self.app, lost, wake) for _ in range(self._workers)]
        atexit.register(
            self.close, 0.0
        )  # before the one of multiprocessing, which waits for children

    def capacity(self, waiting: int) -> int:  # noqa: ARG002  an idle child begins at once
        return sum(child.is_idle for child in self._children)

    def dispatch(self, job: Job) -> None:
        child = self._child_of(job)
        if child is not None and not child.is_stale(job):
            return
        if child is not None:
            child.kill(job, self.patience)
        idle = next((child for child in self._children if child.is_idle), None)
        if idle is not None:
            idle.give(job)  # else it is offered again

    def revoke(self, job: Job) -> bool:
        child = self._child_of(job)
        return child is not None and child.kill(job, self.patience)

    def close(self, grace: float) -> None:
        children, self._children = self._children, []
        if self._pid != os.getpid():
            return  # they are another process's
        for child in children:
            child.terminate()
        deadline = time.monotonic() + grace + GIVING_BACK
        for child in children:
            child.join(deadline)

    def _child_of(self, job: Job) -> _Child | None:
        return next((child for child in self._children if child.has(job)), None)


class _Child:
    """A process that runs one job after the other, and the thread that waits for it."""

    def __init__(self, app: str, lost: Lost, wake: Callable[[], object]) -> None:
        self._app = app
        self._lost = lost
        self._wake = wake
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._job: Job | None = None
        self._process: _Process | None = None
        self._pipe: Connection | None = None
        self._end: Connection | int = 0
        self._lock = threading.Lock()
        self._is_killed = False
        self._is_closed = False
        self._rests_until = 0.0
        self._thread = threading.Thread(target=self._work, name="deferit-child", daemon=True)
        self._thread.start()

    # --- from any thread ---------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether it may be given a job."""
        return self._job is None and time.monotonic() >= self._rests_until

    def has(self, job: Job) -> bool:
        """Whether it runs the job, or is about to."""
        current = self._job
        return current is not None and current.id == job.id

    def is_stale(self, job: Job) -> bool:
        """Whether what it runs of the job is an attempt that was taken for lost."""
        current = self._job
        return current is not None and current.attempt != job.attempt

    def give(self, job: Job) -> None:
        """Have it run a job."""
        self._job = job
        self._jobs.put(job)

    def kill(self, job: Job, patience: float) -> bool:
        """End the process if it runs the job; return whether it has ended."""
        with self._lock:
            process, end = self._process, self._end
            if not self.has(job) or process is None:
                return False
            self._is_killed = True
            _kill(process)
        # Not `join`: two threads that reap one child take its exit from each other, and one then sees it alive.
        return bool(wait([end], patience))

    def terminate(self) -> None:
        """Ask it to end: to let its job end within the grace, or give it back."""
        with self._lock:
            self._is_closed = True
            if self._process is not None and self._process.is_alive():
                self._process.terminate()
        self._jobs.put(None)

    def join(self, deadline: float) -> None:
        """Wait for its end, and put an end to it when the time is over."""
        process = self._process
        if process is None:
            return
        if not wait([self._end], max(0.0, deadline - time.monotonic())):
            _kill(process)
        process.join()

    # --- in its thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._is_closed:
            try:
                self._run(job)
            except Exception:
                logger.exception("%s: the child process could not be given its job", job.route)
                self._rests_until = time.monotonic() + REST
            with self._lock:
                self._job = None
                if (
                    self._is_killed
                ):  # it may live on for a moment, and would take the next job with it
                    self._process = None
                self._is_killed = False
            self._wake()

    def _run(self, job: Job) -> None:
        """Have the process run a job, and wait for the end of it, or of the process."""
        process, pipe, end = self._started()
        attempt = None
        try:
            pipe.send(job.id)
            while (told := _received(pipe, end)) is not None:
                attempt = told
        except (EOFError, OSError):
            self._has_died(job, process, attempt)

    def _started(self) -> tuple[_Process, Connection, Connection | int]:
        """Return the process, its pipe, and what tells its end; a new one if there was none, or it has died."""
        with self._lock:
            if self._is_closed:
                raise EOFError
            if self._process is None or self._pipe is None or not self._process.is_alive():
                self._pipe, theirs = multiprocessing.Pipe()
                self._process = START.Process(
                    target=_serve, args=(self._app, theirs), name="deferit-child"
                )
                self._process.start()
                self._end = _end_of(self._process)
                theirs.close()
            return self._process, self._pipe, self._end

    def _has_died(self, job: Job, process: _Process, attempt: int | None) -> None:
        with self._lock:
            self._process = None
            is_wanted = self._is_killed or self._is_closed
        _kill(process)  # what it has started, before its number may be another's
        process.join()
        if is_wanted:
            return
        reason = _reason(process.exitcode)
        if attempt is None:
            self._rests_until = time.monotonic() + REST
            logger.error("%s could not be started to run jobs: %s", self._app, reason)
            return
        logger.error("%s: %s", job.route, reason, extra={"job_id": job.id, "attempt": attempt})
        self._lost(job.id, attempt, reason)


def _end_of(process: _Process) -> Connection | int:
    """Return what can be read from when a process has ended.

    Its own sentinel is a pipe that whatever it forks has, too: that would tell only when all of these have ended.
    """
    assert process.pid is not None
    try:
        return Connection(os.pidfd_open(process.pid), writable=False)  # closes itself
    except (AttributeError, OSError):  # only Linux has it
        return process.sentinel


def _received(pipe: Connection, end: Connection | int) -> int | None:
    """Return what a process says next.

    Raises:
        EOFError: it has ended; what it has forked may hold the pipe open.
    """
    if pipe not in wait([pipe, end]):
        raise EOFError
    told: int | None = pipe.recv()
    return told


def _kill(process: _Process) -> None:
    """End a process that was not reaped, and all of its group, which is its own once it has begun to serve."""
    assert process.pid is not None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"The process that ran the handler ended by signal {-code}."
    return f"The process that ran the handler ended with exit code {code}."


def _serve(app: str, pipe: Connection) -> None:
    """Be a child: run jobs until told to end, or the parent is gone."""
    os.setpgid(0, 0)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends it to the parent too, who decides
    signal.signal(signal.SIGTERM, _exit)
    try:
        host_of(app)
        over: Future[None] = Future()
        threading.Thread(target=_outlive, args=(app,), name="deferit-parent", daemon=True).start()
        threading.Thread(
            target=_run_jobs, args=(app, pipe, over), name="deferit-jobs", daemon=True
        ).start()
        over.result()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        close_hosts()


def _run_jobs(app: str, pipe: Connection, over: Future[None]) -> None:
    """Run the jobs whose ids come, and say of each first the attempt, then None when it is over.

    Not in the main thread: there a signal could come between the claim of a job and its run.
    """
    try:
        while True:
            run_job(app, pipe.recv(), pipe.send)
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        over.set_result(None)  # the parent is gone
    except BaseException as exc:  # noqa: BLE001  the main thread raises it
        over.set_exception(exc)


def _outlive(app: str) -> None:
    """Once the parent is gone, which would kill this process with a handler that was told to stop, do so oneself."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    while not host_of(app).hosted.has_unwanted:
        time.sleep(LOOK)
    os.killpg(os.getpid(), signal.SIGKILL)


def _exit(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
