"""A run: one attempt of a job in this process."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from deferit._core.commands import Append
from deferit._core.queries import Load
from deferit._core.recorder import Recorder, ResultTooLarge
from deferit._loops import is_canceled
from deferit._process.trials import End
from deferit.context import RunningJob, current
from deferit.exceptions import StoreUnavailable
from deferit.executors.base import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from deferit._core.job import Job
    from deferit._process.trials import Trial
    from deferit._process.worker import Worker
    from deferit._records import Captured

REPORT_INTERVAL = 0.25
"""Seconds between two writes of a job's progress."""

REST = 0.25
"""Seconds after which a store that could not be reached is asked again for a part of a body, or given one."""

PATIENCE = 60.0
"""Seconds for which this goes on."""


class Replayer(ABC):
    """Plays a captured request to the wrapped application and has the run take down the response."""

    @abstractmethod
    def replay(self, run: Run) -> None:
        """Play it in this thread; what the application raises comes through."""

    @abstractmethod
    async def areplay(self, run: Run) -> None:
        """Same as `replay`, but in this task."""


class Over:
    """Whether a run is over: each run has one, and hardly one is waited for, so whoever waits brings an event."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[threading.Event] = []

    def set(self) -> None:
        """Wake whoever waits; idempotent."""
        self._is_set = True
        for event in self._waiting:
            event.set()

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, at most so long; return whether it is."""
        event = threading.Event()
        self._waiting.append(event)
        if not self._is_set:  # whoever sets it looks afterwards who waits
            event.wait(seconds)
        return self._is_set


class Run(RunningJob, Work):
    """One attempt of a job: what its handler sees as `current_job()` and an executor as work."""

    def __init__(
        self, worker: Worker, job: Job, captured: Captured, carried: Mapping[str, Any], backend: str
    ) -> None:
        self.job = job
        self.id = job.id
        self.owner = job.owner
        self.attempt = job.attempt
        self.route = job.route
        self.captured = captured
        self.carried = carried
        self.backend = backend
        self.recorder = Recorder(captured.url, worker.max_result)
        self.raised: BaseException | None = None
        self.trial: Trial | None = None
        self.over = Over()
        self.has_begun = False
        self.is_cut_off = False
        self._deadline: float | None = None
        self._worker = worker
        self._canceled = False
        self._report: tuple[int | None, str | None] | None = None
        self._report_lock = threading.Lock()
        self._reported_at = 0.0

    # --- for the handler ---------------------------------------------------------------------------------------------

    @property
    def canceled(self) -> bool:
        return self._canceled

    def report(self, percent: int | None, message: str | None) -> None:
        with self._report_lock:
            before = self._report or (None, None)
            self._report = (
                before[0] if percent is None else percent,
                before[1] if message is None else message,
            )
        self.write_report()

    def has_raised(self, exc: BaseException) -> None:
        self.raised = exc

    # --- for the worker ----------------------------------------------------------------------------------------------

    @property
    def is_late(self) -> bool:
        """Whether it has run longer than its mark allows, and was not told to end yet."""
        return (
            self._deadline is not None and not self._canceled and time.monotonic() >= self._deadline
        )

    @property
    def tried(self) -> Trial:
        """The trial that it is, as is known of it."""
        assert self.trial is not None
        return self.trial

    def end(self, escaped: BaseException | None) -> End:
        """Return how it has ended, for its trial; ``escaped`` is what came out of the application."""
        recorder = self.recorder
        if recorder.is_too_large:
            return End(None, ResultTooLarge())  # whatever the application made of that
        return End(recorder.response() if recorder.is_whole else None, escaped)

    def begin(self) -> None:
        """Take note that it begins now: it may have waited until others were over."""
        self.has_begun = True
        if self.job.timeout is not None:
            self._deadline = time.monotonic() + self.job.timeout
        if self.trial:
            self.trial.begun_at = self._worker.ledger.now()

    def keep(self) -> None:
        """Have its job stored, if it is only tried and its end is not known."""
        if self.trial:
            self.trial.keep(self)

    def cancel(self) -> None:
        """Have the handler told, when it next asks, and its answer thrown away."""
        self._canceled = True

    def write_report(self) -> None:
        """Write what was reported last, unless something was written a moment ago, or there is no job to write to."""
        if self.trial and not self.trial.is_kept:
            return
        with self._report_lock:
            now = time.monotonic()
            if self._report is None or now - self._reported_at < REPORT_INTERVAL:
                return
            (percent, message), self._report = self._report, None
            self._reported_at = now
        self._worker.report(self, percent, message)

    # --- for the executor --------------------------------------------------------------------------------------------

    def run(self) -> None:
        token = current.set(self)
        escaped: BaseException | None = None
        try:
            if not self._canceled:
                self._worker.replayer.replay(self)
        except BaseException as exc:  # noqa: BLE001  a handler may raise anything, even SystemExit
            escaped = exc
        finally:
            current.reset(token)
        self._worker.ended(self, escaped)

    async def arun(self) -> None:
        token = current.set(self)
        escaped: BaseException | None = None
        try:
            if not self._canceled:
                await self._worker.replayer.areplay(self)
        except anyio.get_cancelled_exc_class() as exc:
            if is_canceled():
                self._worker.broken_off(self)
                raise
            escaped = exc
        except BaseException as exc:  # noqa: BLE001  a handler may raise anything, even SystemExit
            escaped = exc
        finally:
            current.reset(token)
        self._worker.ended(self, escaped)

    # --- for the adapter that replays --------------------------------------------------------------------------------

    def body(self) -> Iterator[bytes]:
        """Yield the captured request's body in pieces."""
        for index in range(self.captured.chunks):
            yield self._bytes(
                self._patiently(partial(self._worker.ledger.read, Load(self.id, 0, index)))
            )
        yield self.captured.body

    async def apiece(self, index: int) -> bytes:
        """Return one of the pieces that `body` yields."""
        if index == self.captured.chunks:
            return self.captured.body
        load = Load(self.id, 0, index)
        return self._bytes(await self._apatiently(partial(self._worker.ledger.aread, load)))

    def write(self, data: bytes) -> None:
        """Take a part of the response's body; store what is enough of it.

        Raises:
            JobCanceled: nobody wants it any more.
            LeaseLost: somebody else has the job.
        """
        self.check()
        for index, piece in self.recorder.write(data):
            if not self._holds(piece):
                append = Append(self.id, self.attempt, index, piece)
                self._patiently(partial(self._worker.ledger.execute, append))

    async def awrite(self, data: bytes) -> None:
        """Same as `write`, but awaits the store."""
        self.check()
        for index, piece in self.recorder.write(data):
            if not self._holds(piece):
                append = Append(self.id, self.attempt, index, piece)
                await self._apatiently(partial(self._worker.ledger.aexecute, append))

    def _patiently(self, ask: Callable[[], object]) -> object:
        """Return what the store answers, as soon as it can be reached: that it cannot is not the handler's failure.

        Raises:
            JobCanceled: nobody wants it any more.
            StoreUnavailable: it has not come back for `PATIENCE` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except StoreUnavailable:
                if time.monotonic() >= deadline:
                    self.is_cut_off = True
                    raise
            self.over.wait(REST)
            self.check()

    async def _apatiently(self, ask: Callable[[], Awaitable[object]]) -> object:
        """Same as `_patiently`, but awaits."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                if time.monotonic() >= deadline:
                    self.is_cut_off = True
                    raise
            await anyio.sleep(REST)
            self.check()

    def _holds(self, piece: bytes) -> bool:
        """Whether a piece stays in memory, because the job is only tried."""
        if self.trial is None or not self.trial.holds(piece):
            return False
        if self.trial.is_full:
            self.keep()
        return True

    @staticmethod
    def _bytes(piece: object) -> bytes:
        assert isinstance(piece, bytes)
        return piece
