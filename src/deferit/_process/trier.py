"""Begins jobs before they are stored, and answers their requests or has them stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from deferit._core.commands import Append, Create
from deferit._log import log_exception, log_new
from deferit._process.runs import Run
from deferit._process.trials import Trial
from deferit._records import decode_captured
from deferit._signals import AsyncSignal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deferit._core.effects import Try
    from deferit._core.http import Response
    from deferit._core.job import Job
    from deferit._process.worker import Worker

Meanwhile = Callable[[], AbstractAsyncContextManager[None]]

MOMENT = 0.05
"""Seconds after which it is worth to watch whether the client is still there."""


class Trier:
    """Has a worker's runs begin as trials."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ledger = worker.ledger

    def tries(self, effect: Try, carried: Mapping[str, Any]) -> Response | Job:
        """Begin a job without storing it; return the handler's response if it comes in time, else the stored job.

        Raises:
            ShuttingDown: this process takes no more jobs.
            StoreUnavailable: there was no room to begin it, and it could not be made durable to wait.
            BaseException: what the handler raised in place of a response.
        """
        create = self._create(effect, carried)
        run = self._begin(create)
        if run is None:
            return self._worker.commit(create)
        signal = threading.Event()
        with self._ledger.signals.watching(run.id, signal.set):
            self._worker.start(run)
            deadline = time.monotonic() + effect.seconds
            while not run.tried.is_settled:
                signal.wait(self._time_left(run, deadline))
                signal.clear()
        return self._answer(run)

    async def atries(
        self,
        effect: Try,
        carried: Mapping[str, Any],
        meanwhile: Meanwhile = nullcontext,
    ) -> Response | Job:
        """Same as `tries`, but awaits; a job whose client leaves meanwhile is stored.

        All but the first moment is spent in ``meanwhile``.
        """
        await self._worker.aprepare()
        create = self._create(effect, carried)
        run = self._begin(create)
        if run is None:
            return await self._worker.acommit(create)
        signal = AsyncSignal()
        with self._ledger.signals.watching(run.id, signal.set):
            with self._kept_at_least(run):
                await self._worker.astart(run)
                deadline = time.monotonic() + effect.seconds
                await signal.wait(min(MOMENT, effect.seconds))
            if not run.tried.is_settled:
                async with meanwhile():
                    with self._kept_at_least(run):
                        await self._until_settled(run, signal, deadline)
        return self._answer(run)

    async def _until_settled(self, run: Run, signal: AsyncSignal, deadline: float) -> None:
        while not run.tried.is_settled:
            signal.clear()
            await signal.wait(self._time_left(run, deadline))

    def _create(self, effect: Try, carried: Mapping[str, Any]) -> Create:
        create = Create(effect.job, effect.request, limits=effect.limits)
        return self._worker.at_once(create, carried, is_urgent=True)

    def _begin(self, create: Create) -> Run | None:
        """Return the run of a job that is not stored; None if this process has no room for it now."""
        if create.lease_until is None:
            return None
        worker = self._worker
        captured = decode_captured(create.request)
        carried = worker.carried.pop(create.job.id, {})
        run = Run(worker, create.job, captured, carried, worker.backend)
        run.trial = Trial(create, self._keep)
        worker.trials.add(run)
        return run

    @contextmanager
    def _kept_at_least(self, run: Run) -> Iterator[None]:
        """Have a job stored if the task that waits for its end is canceled."""
        try:
            yield
        except BaseException:
            run.keep()
            raise

    def _time_left(self, run: Run, deadline: float) -> float | None:
        """Return how long to wait for a trial; when its time is over, have it stored and wait for that, or the end.

        Without a store there can be no 202, so the end is waited for, as without deferit.
        """
        left = deadline - time.monotonic()
        if left > 0:
            return left
        if run.tried.failure is None:
            run.keep()
        return None

    @staticmethod
    def _answer(run: Run) -> Response | Job:
        answer = run.tried.answer()
        if run.tried.aside:
            log_exception(run, run.route, run.tried.aside)
        return answer

    def _keep(self, run: Run) -> None:
        """Have the job of a trial stored."""
        until = self._ledger.now() + self._worker.lease
        create = replace(run.tried.create, lease_until=until, limits=None)
        self._ledger.submit(create, partial(self._kept, run))

    def _kept(self, run: Run, result: object) -> None:
        """Take note that a trial was stored, and have the store get what was held of its response."""
        if isinstance(result, Exception):
            run.tried.was_not_kept(result)
        else:
            log_new(run.job)
            self._worker.runs[run.id, run.attempt] = run
            end = run.tried.was_kept(partial(self._append, run))
            if end:
                self._worker.finish(run, end)
            if run.over.is_set():
                self._worker.runs.pop((run.id, run.attempt), None)
        self._ledger.signals.notify(run.id)

    def _append(self, run: Run, index: int, piece: bytes) -> None:
        self._ledger.submit(Append(run.id, run.attempt, index, piece))
