"""Runs jobs in this process: begins their runs, ends them, and stops them."""

from __future__ import annotations

import logging
import time
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
from msgspec.structs import replace

from deferit._core.commands import Claimed, Create, Finish, Placed, Release, Report
from deferit._core.effects import ShuttingDown
from deferit._core.job import Failure, Job, Status
from deferit._core.outcome import outcome
from deferit._core.retry import retry_at
from deferit._log import log_exception, log_new, log_unreadable
from deferit._loops import current_loop
from deferit._process.backlog import Backlog
from deferit._process.committer import returned
from deferit._process.durations import Durations
from deferit._process.runs import Run
from deferit._process.server import is_stopping
from deferit._process.slots import Slots
from deferit._records import decode_captured
from deferit._signals import AsyncSignal
from deferit.exceptions import JobNotFound, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from deferit._process.ledger import Ledger
    from deferit._process.runs import Replayer
    from deferit.executors.base import Executor
    from deferit.options import Options

logger = logging.getLogger("deferit")

_random = Random().random  # noqa: S311  jitter is no secret; the shared generator is the application's

STOP_PATIENCE = 1.0
"""Seconds that a cancel waits to see a task end, before it says no more than ``asked to stop``."""


class Worker:
    """Has the jobs of one application run by an executor, so many at once."""

    def __init__(
        self,
        options: Options,
        ledger: Ledger,
        executor: Executor,
        replayer: Replayer,
        wake_keeper: Callable[[], object],
    ) -> None:
        self.ledger = ledger
        self.replayer = replayer
        self.durations = Durations()
        self.max_result = options.max_result
        self._wake_keeper = wake_keeper
        self.executor = executor
        self.lease = options.lease
        self._grace = options.grace
        self.slots: Slots[Run] = Slots(options.concurrency)
        self.runs: dict[tuple[str, int], Run] = {}
        self.trials: set[Run] = set()
        self.carried: dict[str, Mapping[str, Any]] = {}
        self.claim_along: Callable[[], object] | None = None
        self.new_ones: dict[str, bool] = {}
        """Jobs that are to wait, while they are created, each with whether it was taken in the same transaction."""
        self.backend = "asyncio"
        self.backlog = Backlog()
        self.is_held = False
        """Whether jobs have to wait for the application to have started."""
        self.is_draining = False
        self.is_closing = False

    def drain(self) -> None:
        """Begin nothing more; what comes is left to others, and what was only tried is stored."""
        self.is_draining = True
        for run in list(self.trials):
            run.keep()

    def close(self) -> None:
        """Take no more jobs, let runs end within the option ``grace``, and give back the jobs of the others."""
        self.is_closing = True
        self.drain()
        trials = list(self.trials)
        deadline = time.monotonic() + self._grace
        for run in [*trials, *self.runs.values()]:
            run.over.wait(max(0.0, deadline - time.monotonic()))
        self.give_back()

    def give_back(self) -> None:
        """Stop what runs, and give back its jobs."""
        trials = list(self.trials)
        for run in {run for run in [*trials, *self.runs.values()] if not run.over.is_set()}:
            self.stop_run(run)
            self._release(run)

    def _release(self, run: Run) -> None:
        """Have the store give the job of a run back."""
        release = Release(run.id, run.attempt, self.ledger.now(), has_begun=run.has_begun)
        self.ledger.submit(release, partial(self._released, release))

    def _released(self, release: Release, outcome: object) -> None:
        """Take note that a job waits again; in the committer's thread."""
        self.ledger.noted(release, outcome)
        if isinstance(outcome, Job) and outcome.status is Status.ACCEPTED:
            self.backlog.grow()
            self._wake_keeper()

    def give_back_late(self) -> None:
        """Give back jobs that were taken ahead, and still wait for what takes longer than was to be expected."""
        for run in self.slots.withdraw():
            self._release(run)
            self._leave(run)

    # --- a job's life here -------------------------------------------------------------------------------------------

    def create(self, create: Create, carried: Mapping[str, Any]) -> object:
        """Make a job durable, and begin it if there is a slot; return what the store answers.

        ``carried`` is what its captured request has by reference, for as long as the job may begin in this process.

        Raises:
            ShuttingDown: this process takes no more jobs.
            StoreUnavailable: the job could not be made durable, and does not exist.
        """
        return self.commit(self.at_once(create, carried))

    async def aprepare(self) -> None:
        """Have the executor ready before a job is promised to begin."""
        self.backend = current_loop().backend
        if not self.executor.is_ready(self.backend):
            await self.executor.aprepare(self.backend)

    def commit(self, create: Create) -> object:
        """Make a job durable, and begin it if it is claimed."""
        result = self.ledger.outcome(create, self._along_with(create))
        run = self._created(create, result)
        if run:
            self.start(run)
        return returned(result)

    def acreate(self, create: Create, carried: Mapping[str, Any]) -> Coroutine[Any, Any, object]:
        """Same as `create`, but awaits the commit; the job goes on if the task that waits is canceled."""
        self.backend = current_loop().backend
        if self.executor.is_ready(self.backend):
            return self.acommit(self.at_once(create, carried))
        return self._acreate_first(create, carried)

    async def _acreate_first(self, create: Create, carried: Mapping[str, Any]) -> object:
        """Create a job when the executor is ready for it."""
        await self.aprepare()
        return await self.acommit(self.at_once(create, carried))

    async def acommit(self, create: Create) -> object:
        """Same as `commit`, but awaits it."""
        otherwise = partial(self._go_on_without, create)
        result = await self.ledger.aoutcome(create, otherwise, self._along_with(create))
        run = self._created(create, result)
        if run:
            await self.astart(run)
        return returned(result)

    def at_once(self, create: Create, carried: Mapping[str, Any]) -> Create:
        """Claim a new job in the same transaction, if there is a free slot and nobody waits in front of it.

        Of a queue with slots only the store knows how many there are.
        """
        if self.is_closing:
            raise ShuttingDown
        if carried:
            self.carried[create.job.id] = carried
        now = self.ledger.now()
        if (
            self.backlog.is_there
            or create.job.slots is not None
            or create.job.due_at > now
            or self.makes_way()
            or not self.slots.take()
        ):
            return create
        return replace(create, job=create.job.claimed(now), lease_until=now + self.lease)

    def makes_way(self) -> bool:
        """Whether no job begins here now; the keeper hears of a server that stops a moment after it was told."""
        return self.is_held or self.is_draining or is_stopping()

    def _along_with(self, create: Create) -> Callable[[], object] | None:
        """Return what has waiting jobs taken in the transaction that creates this one, if it has to wait with them."""
        if create.lease_until is not None or not create.is_ready or self.makes_way():
            return None
        self.new_ones[create.job.id] = False
        return self.claim_along

    def _created(self, create: Create, result: object) -> Run | None:
        """Take note of a new job, or of why there is none; return its run if it begins here and now."""
        if self.new_ones.pop(create.job.id, False):
            return None
        is_ours = create.lease_until is not None
        if isinstance(result, Exception):
            self._drop(create)
            return None
        job = result.job if isinstance(result, Placed) else result
        if isinstance(job, Job) and job.id != create.job.id:
            self._drop(create)
            return None
        log_new(create.job)
        if is_ours:
            return self.begin(Claimed(create.job, create.request))
        self.backlog.grow()
        self._wake_keeper()
        return None

    def _drop(self, create: Create) -> None:
        """Forget a job that was not made."""
        self.carried.pop(create.job.id, None)
        self.give(int(create.lease_until is not None))

    def _go_on_without(self, create: Create, result: object) -> None:
        """Begin a job whose submitter has gone while it was committed."""
        run = self._created(create, result)
        if run:
            self.start(run)

    def start(self, run: Run) -> None:
        """Hand a run to the executor, as soon as another has left if it was taken ahead."""
        if self.slots.enter(run):
            self.submit(run)

    async def astart(self, run: Run) -> None:
        """Same as `start`, but from a task."""
        if self.slots.enter(run):
            await self.asubmit(run)

    async def asubmit(self, run: Run) -> None:
        """Same as `submit`, but from a task."""
        run.begin()
        await self.executor.asubmit(run)

    def submit(self, run: Run) -> None:
        """Have the executor do it; if it does not take it, the job goes back."""
        run.begin()
        try:
            self.executor.submit(run)
        except Exception:
            logger.exception("%s: the executor takes no work", run.route)
            self.broken_off(run)

    def begin(self, claimed: Claimed) -> Run | None:
        """Return the run of a claimed job, for which a slot was taken."""
        job = claimed.job
        carried = self.carried.pop(job.id, {})
        try:
            captured = decode_captured(claimed.request)
        except ValueError as exc:
            self.give()
            log_unreadable(job, exc)
            error = Failure("route-gone", f"The captured request cannot be read: {exc}.")
            self.ledger.submit(Finish(job.id, job.attempt, self.ledger.now(), None, error))
            return None
        run = Run(self, job, captured, carried, self.backend)
        self.runs[job.id, job.attempt] = run
        return run

    def is_running(self, job: Job) -> bool:
        """Whether the attempt that a job is at runs here."""
        return (job.id, job.attempt) in self.runs

    def ended(self, run: Run, escaped: BaseException | None) -> None:
        """Finish the job of a run that has come to its end; the run calls it, wherever that is."""
        try:
            if run.canceled or isinstance(escaped, LeaseLost):
                return
            if run.trial is None or not run.trial.holds_end(run.end(escaped)):
                self.finish(run, escaped)
        except Exception:  # the run must leave, or its lease would be renewed for ever
            logger.exception("%s: the end of a job could not be taken down", run.route)
        finally:
            self._leave(run)

    def finish(self, run: Run, escaped: BaseException | None) -> None:
        """Have the store take down how a run has ended; ``escaped`` is what came out of the application."""
        now = self.ledger.now()
        if run.is_cut_off or isinstance(escaped, ShuttingDown):
            self.ledger.submit(Release(run.id, run.attempt, now))
            return
        misses = run.captured.is_marked and not run.has_reached_mark
        ended = outcome(run.recorder, escaped, run.raised, misses_handler=misses)
        result, error = ended.result, ended.error
        self.durations.add(run.job, now, error)
        again_at = retry_at(run.job, ended, now, _random()) if error else None
        self.ledger.submit(Finish(run.id, run.attempt, now, result, error, ended.body, again_at))
        if error and error.code == "handler-exception":
            log_exception(run, run.route, escaped or run.raised)

    def broken_off(self, run: Run) -> None:
        """Give back the job of a run whose task was canceled: by a client, or because its loop ends."""
        if not run.canceled:
            self._release(run)
        self._leave(run)

    def _leave(self, run: Run) -> None:
        run.over.set()
        if run.trial:
            run.trial.has_left()
            self.trials.discard(run)
        self.runs.pop((run.id, run.attempt), None)
        following = self.slots.leave(run, has_backlog=self.backlog.is_there)
        if following:
            self.submit(following)
        if run.trial:
            run.trial.wake()
        self.ledger.signals.notify(run.id)
        if self.backlog.is_there:
            self._wake_keeper()

    def give(self, count: int = 1) -> None:
        """Give back slots for which no job was found; those in line may have them."""
        self.slots.give(count)
        self.call_up()

    def call_up(self) -> None:
        """Begin what stands in line, where slots are free that were left to jobs in the store."""
        if not self.is_draining:
            for run in self.slots.call_up():
                self.submit(run)

    def queue(
        self, create: Create, carried: Mapping[str, Any], told: Callable[[object], object]
    ) -> None:
        """Have a job stored that waits, without waiting for that; ``told`` is told of the outcome, in any thread."""
        if carried:
            self.carried[create.job.id] = carried
        then = self._along_with(create)
        self.ledger.submit(create, partial(self._queued, create, told))
        if then:
            then()

    def _queued(self, create: Create, told: Callable[[object], object], result: object) -> None:
        self._created(create, result)
        told(result)

    def report(self, run: Run, percent: int | None, message: str | None) -> None:
        """Write what a handler reports; one whose job is not its own any more is told to stop."""
        report = Report(run.id, run.attempt, self.ledger.now(), percent, message)
        self.ledger.submit(report, partial(self._reported, run))

    def _reported(self, run: Run, result: object) -> None:
        if isinstance(result, LeaseLost | JobNotFound):
            self.stop_run(run)
        elif isinstance(result, Job):
            self.ledger.signals.notify(result.id, result)

    # --- stopping ----------------------------------------------------------------------------------------------------

    def stop(self, job: Job) -> str:
        """Tell a running job to stop; return what is guaranteed of it: ``stopped`` or ``asked to stop``."""
        run = self._stoppable(job)
        return _guarantee(run is not None and run.over.wait(STOP_PATIENCE))

    async def astop(self, job: Job) -> str:
        """Same as `stop`, but awaits the end of the run."""
        signal = AsyncSignal()
        with self.ledger.signals.watching(job.id, signal.set):
            run = self._stoppable(job)
            with anyio.move_on_after(STOP_PATIENCE):
                while run and not run.over.is_set():
                    await signal.wait()
                    signal.clear()
        return _guarantee(run is not None and run.over.is_set())

    def _stoppable(self, job: Job) -> Run | None:
        """Tell the run of a job to stop; return it if it runs here and can be stopped."""
        run = self.runs.get((job.id, job.attempt))
        self.stop_run(run)
        return run if self.executor.can_stop else None

    def stop_run(self, run: Run | None) -> None:
        """Tell a run to stop, if there is one."""
        if run:
            run.cancel()
            self.executor.stop(run)


def _guarantee(is_stopped: bool) -> str:  # noqa: FBT001  one question, one answer
    return "stopped" if is_stopped else "asked to stop"
