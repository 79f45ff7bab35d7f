"""Begins jobs before they are stored, and answers their requests or has them stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, cast

from deferit._core.commands import Append
from deferit._core.effects import ShuttingDown
from deferit._core.turns import Place
from deferit._log import log_exception, log_new
from deferit._process.runs import Run
from deferit._process.trials import Trial
from deferit._signals import AsyncSignal, Signal

if TYPE_CHECKING:
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

    def tries(self, effect: Try) -> Response | Job:
        """Begin a job without storing it; return the handler's response if it comes in time, else the stored job.

        Where no slot is free it waits for one, as `Turns` says.

        Raises:
            ShuttingDown: this process takes no more jobs.
            StoreError: it has not begun in time, and could not be stored to wait.
            BaseException: what the handler raised in place of a response.
        """
        signal = Signal()
        run = self._run(effect, signal.set)
        place = self._place(run)
        if place is Place.STORE:
            return cast("Job", self._worker.create(*run.tried.waiting()))
        if place is Place.SLOT:
            self._worker.submit(run)
        deadline = time.monotonic() + effect.seconds
        while not run.tried.is_settled:
            signal.wait(self._time_left(run, deadline))
        return self._answer(run)

    async def atries(self, effect: Try, meanwhile: Meanwhile = nullcontext) -> Response | Job:
        """Same as `tries`, but awaits; a job whose client leaves meanwhile is stored.

        All but the first moment is spent in ``meanwhile``.
        """
        await self._worker.aprepare()
        signal = AsyncSignal()
        run = self._run(effect, signal.set)
        place = self._place(run)
        if place is Place.STORE:
            return cast("Job", await self._worker.acreate(*run.tried.waiting()))
        try:
            if place is Place.SLOT:
                await self._worker.asubmit(run)
            deadline = time.monotonic() + effect.seconds
            await signal.wait(min(MOMENT, effect.seconds))
            if not run.tried.is_settled:
                async with meanwhile():
                    await self._until_settled(run, signal, deadline)
        except BaseException:  # the client has gone, or the task that waits is canceled
            run.keep()
            raise
        return self._answer(run)

    async def _until_settled(self, run: Run, signal: AsyncSignal, deadline: float) -> None:
        while not run.tried.is_settled:
            signal.clear()
            await signal.wait(self._time_left(run, deadline))

    def _run(self, effect: Try, wake: Callable[[], object]) -> Run:
        """Return the run of a job that is not stored."""
        worker = self._worker
        if worker.is_closing:
            raise ShuttingDown
        replica = effect.replica
        run = Run(worker, effect.job, replica.captured, replica.carried, worker.backend)
        run.attempt += 1
        run.trial = Trial(effect, self._keep, wake)
        return run

    def _place(self, run: Run) -> Place:
        """Have a run take a slot, or stand in line for one; or neither, if it cannot begin here and now."""
        worker = self._worker
        if worker.makes_way() or run.job.due_at > self._ledger.now():
            return Place.STORE
        worker.trials.add(run)
        place = worker.slots.line_up(run)
        if place is Place.STORE:
            worker.trials.discard(run)
        elif worker.is_draining:  # since a moment ago
            run.keep()
        return place

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
        trial = run.tried
        answer, aside = trial.answer(), trial.aside
        if aside:
            log_exception(run, run.route, aside)
        return answer

    # --- trials that are stored ---------------------------------------------------------------------------------------

    def _keep(self, run: Run) -> None:
        """Have the job of a trial stored: as one that runs, or if it still stands in line as one that waits."""
        if self._worker.slots.step_out(run):
            self._worker.queue(*run.tried.waiting(), partial(self._queued, run))
            run.over.set()
            self._worker.trials.discard(run)
            return
        create = run.tried.running(self._ledger.now() + self._worker.lease)
        run.job = create.job
        self._ledger.submit(create, partial(self._kept, run))

    def _queued(self, run: Run, outcome: object) -> None:
        """Take note that a trial was stored, or that there is no room for it."""
        run.tried.was_queued(outcome)
        run.tried.wake()

    def _kept(self, run: Run, result: object) -> None:
        """Take note that a trial was stored, and have the store get what was held of its response."""
        if isinstance(result, Exception):
            run.tried.was_not_kept(result)
        else:
            log_new(run.job)
            self._worker.runs[run.id, run.attempt] = run
            end = run.tried.was_kept(run.job, partial(self._append, run))
            if end:
                self._worker.finish(run, end.escaped)
            if run.over.is_set():
                self._worker.runs.pop((run.id, run.attempt), None)
        run.tried.wake()

    def _append(self, run: Run, index: int, piece: bytes) -> None:
        self._ledger.submit(Append(run.id, run.attempt, index, piece))
