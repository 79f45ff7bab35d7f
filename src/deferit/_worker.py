"""Runs jobs in this process: begins and ends their runs, keeps their leases, and takes jobs that wait."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, cast

import anyio

from deferit._committer import returned
from deferit._core.commands import (
    Append,
    Claim,
    Claimed,
    Create,
    Finish,
    Release,
    Renew,
    Report,
    Sweep,
    Swept,
)
from deferit._core.effects import ShuttingDown, Try
from deferit._core.ids import prefix_at
from deferit._core.job import Failure, Job, Status
from deferit._core.outcome import outcome
from deferit._core.queries import Due
from deferit._core.retry import retry_at
from deferit._log import log, log_exception, log_new, log_unreadable
from deferit._loops import current_loop
from deferit._records import decode_captured
from deferit._runs import Run
from deferit._signals import AsyncSignal
from deferit._trials import End, Trial
from deferit.exceptions import JobNotFound, LeaseLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from deferit._core.http import Response
    from deferit._ledger import Ledger
    from deferit._runs import Replayer
    from deferit.executors.base import Executor
    from deferit.options import Options

logger = logging.getLogger("deferit")

_random = Random().random  # noqa: S311  jitter is no secret; the shared generator is the application's

CLAIM_INTERVAL = 1.0
"""Seconds after which waiting jobs are looked for without being told of any: some become due by the clock alone."""

STOP_PATIENCE = 1.0
"""Seconds that a cancel waits to see a task end, before it says no more than ``asked to stop``."""


NEWBORN = 60.0
"""Seconds in which a new job may not be in the store yet."""


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
        self.max_result = options.max_result
        self._wake_keeper = wake_keeper
        self._application = options.application
        self._executor = executor
        self._lease = options.lease
        self._grace = options.grace
        self._slots = _Slots(options.concurrency)
        self._runs: dict[tuple[str, int], Run] = {}
        self._trials: set[Run] = set()
        self._carried: dict[str, Mapping[str, Any]] = {}
        self._backend = "asyncio"
        self._has_backlog = True
        self._claim_at = 0.0
        self._is_draining = False
        self._is_closing = False

    def look(self) -> None:
        """Look whether jobs wait that could begin, as after a restart."""
        self._has_backlog = self._is_any_due()

    def drain(self) -> None:
        """Begin nothing more; what comes is left to others, and what was only tried is stored."""
        self._is_draining = True
        for run in list(self._trials):
            self.keep(run, cast("Trial", run.trial))

    def close(self) -> None:
        """Take no more jobs, let runs end within the option ``grace``, and give back the jobs of the others."""
        self._is_closing = True
        self.drain()
        trials = list(self._trials)
        deadline = time.monotonic() + self._grace
        for run in [*trials, *self._runs.values()]:
            run.over.wait(max(0.0, deadline - time.monotonic()))
        self.give_back()

    def give_back(self) -> None:
        """Stop what runs, and give back its jobs."""
        trials = list(self._trials)
        for run in {run for run in [*trials, *self._runs.values()] if not run.over.is_set()}:
            self._stop_run(run)
            self.ledger.submit(Release(run.id, run.attempt, self.ledger.now()))

    # --- a job's life here -------------------------------------------------------------------------------------------

    def create(self, create: Create, carried: Mapping[str, Any]) -> Job:
        """Make a job durable, and begin it if there is a slot.

        ``carried`` is what its captured request has by reference, for as long as the job may begin in this process.

        Raises:
            ShuttingDown: this process takes no more jobs.
            StoreUnavailable: the job could not be made durable, and does not exist.
        """
        return self._commit(self._at_once(create, carried))

    def _commit(self, create: Create) -> Job:
        result = self.ledger.outcome(create)
        run = self._created(create, result)
        if run:
            self._submit(run)
        return cast("Job", returned(result))

    async def acreate(self, create: Create, carried: Mapping[str, Any]) -> Job:
        """Same as `create`, but awaits the commit; the job goes on if the task that waits is canceled."""
        self._backend = current_loop().backend
        await self._executor.aprepare(self._backend)
        return await self._acommit(self._at_once(create, carried))

    async def _acommit(self, create: Create) -> Job:
        result = await self.ledger.aoutcome(create, partial(self._go_on_without, create))
        run = self._created(create, result)
        if run:
            await self._executor.asubmit(run)
        return cast("Job", returned(result))

    def _at_once(
        self, create: Create, carried: Mapping[str, Any], *, is_urgent: bool = False
    ) -> Create:
        """Claim a new job in the same transaction, if there is a free slot and nobody waits in front of it.

        An urgent one, whose client may have the answer at once, passes those that wait. Of a queue with slots only the
        store knows how many there are.
        """
        if self._is_closing:
            raise ShuttingDown
        if carried:
            self._carried[create.job.id] = carried
        now = self.ledger.now()
        has_turn = (is_urgent or not self._has_backlog) and create.job.slots is None
        if self._is_draining or not has_turn or create.job.due_at > now or not self._slots.take():
            return create
        return replace(create, job=create.job.claimed(now), lease_until=now + self._lease)

    def _created(self, create: Create, result: object) -> Run | None:
        """Take note of a new job, or of why there is none; return its run if it begins here and now."""
        is_ours = create.lease_until is not None
        if isinstance(result, Exception):
            self._drop(create)
            return None
        if isinstance(result, Job) and result.id != create.job.id:
            self._drop(create)
            return None
        log_new(create.job)
        if is_ours:
            return self._begin(Claimed(create.job, create.request))
        self._has_backlog = True
        self._wake_keeper()
        return None

    def _drop(self, create: Create) -> None:
        """Forget a job that was not made."""
        self._carried.pop(create.job.id, None)
        self._slots.give(int(create.lease_until is not None))

    def _go_on_without(self, create: Create, result: object) -> None:
        """Begin a job whose submitter has gone while it was committed."""
        run = self._created(create, result)
        if run:
            self._submit(run)

    def _submit(self, run: Run) -> None:
        """Hand a run to the executor; if it does not take it, the job goes back."""
        try:
            self._executor.submit(run)
        except Exception:
            logger.exception("%s: the executor takes no work", run.route)
            self.broken_off(run)

    def _begin(self, claimed: Claimed) -> Run | None:
        """Return the run of a claimed job, for which a slot was taken."""
        job = claimed.job
        carried = self._carried.pop(job.id, {})
        try:
            captured = decode_captured(claimed.request)
        except ValueError as exc:
            self._slots.give()
            log_unreadable(job, exc)
            error = Failure("route-gone", f"The captured request cannot be read: {exc}.")
            self.ledger.submit(Finish(job.id, job.attempt, self.ledger.now(), None, error))
            return None
        run = Run(self, job, captured, carried, self._backend)
        self._runs[job.id, job.attempt] = run
        return run

    def ended(self, run: Run, escaped: BaseException | None) -> None:
        """Finish the job of a run that has come to its end; the run calls it, wherever that is."""
        try:
            if not run.canceled and not isinstance(escaped, LeaseLost):
                ended = outcome(run.recorder, escaped, run.raised)
                end = End(ended, escaped, run.recorder.headers)
                if run.trial is None or not run.trial.holds_end(end):
                    self._finish(run, end)
        except Exception:  # the run must leave, or its lease would be renewed for ever
            logger.exception("%s: the end of a job could not be taken down", run.route)
        finally:
            self._leave(run)

    def _finish(self, run: Run, end: End) -> None:
        result, error = end.outcome.result, end.outcome.error
        now = self.ledger.now()
        if isinstance(end.escaped, ShuttingDown):
            self.ledger.submit(Release(run.id, run.attempt, now))
            return
        again_at = retry_at(run.job, end.outcome, now, _random())
        self.ledger.submit(
            Finish(run.id, run.attempt, now, result, error, end.outcome.body, again_at)
        )
        if error and error.code == "handler-exception":
            log_exception(run, run.route, end.escaped or run.raised)

    def broken_off(self, run: Run) -> None:
        """Give back the job of a run whose task was canceled: by a client, or because its loop ends."""
        if not run.canceled:
            self.ledger.submit(Release(run.id, run.attempt, self.ledger.now()))
        self._leave(run)

    def _leave(self, run: Run) -> None:
        run.over.set()
        if run.trial:
            run.trial.has_left()
        self._runs.pop((run.id, run.attempt), None)
        self._trials.discard(run)
        self._slots.give()
        self.ledger.signals.notify(run.id)
        if self._has_backlog:
            self._wake_keeper()

    def report(self, run: Run, percent: int | None, message: str | None) -> None:
        """Write what a handler reports; one whose job is not its own any more is told to stop."""
        report = Report(run.id, run.attempt, self.ledger.now(), percent, message)
        self.ledger.submit(report, partial(self._reported, run))

    def _reported(self, run: Run, result: object) -> None:
        if isinstance(result, LeaseLost | JobNotFound):
            self._stop_run(run)
        elif isinstance(result, Job):
            self.ledger.signals.notify(result.id, result)

    # --- trying a job before it is stored ----------------------------------------------------------------------------

    def tries(self, effect: Try, carried: Mapping[str, Any]) -> Response | Job:
        """Begin a job without storing it; return the handler's response if it comes in time, else the stored job.

        Raises:
            ShuttingDown: this process takes no more jobs.
            StoreUnavailable: there was no room to begin it, and it could not be made durable to wait.
            BaseException: what the handler raised in place of a response.
        """
        create = Create(effect.job, effect.request, limits=effect.limits)
        create = self._at_once(create, carried, is_urgent=True)
        trial = Trial(create)
        run = self._begin_trial(trial)
        if run is None:
            return self._commit(create)
        signal = threading.Event()
        with self.ledger.signals.watching(run.id, signal.set):
            self._submit(run)
            deadline = time.monotonic() + effect.seconds
            while not trial.is_settled:
                signal.wait(self._time_left(run, trial, deadline))
                signal.clear()
        return self._answer(run, trial)

    async def atries(self, effect: Try, carried: Mapping[str, Any]) -> Response | Job:
        """Same as `tries`, but awaits; a job whose client leaves meanwhile is stored."""
        self._backend = current_loop().backend
        await self._executor.aprepare(self._backend)
        create = Create(effect.job, effect.request, limits=effect.limits)
        create = self._at_once(create, carried, is_urgent=True)
        trial = Trial(create)
        run = self._begin_trial(trial)
        if run is None:
            return await self._acommit(create)
        signal = AsyncSignal()
        with self.ledger.signals.watching(run.id, signal.set), self._kept_at_least(run, trial):
            await self._executor.asubmit(run)
            deadline = time.monotonic() + effect.seconds
            while not trial.is_settled:
                await signal.wait(self._time_left(run, trial, deadline))
                signal.clear()
        return self._answer(run, trial)

    def _answer(self, run: Run, trial: Trial) -> Response | Job:
        answer = trial.answer()
        if trial.aside:
            log_exception(run, run.route, trial.aside)
        return answer

    def _begin_trial(self, trial: Trial) -> Run | None:
        """Return the run of a job that is not stored; None if this process has no room for it now."""
        create = trial.create
        if create.lease_until is None:
            return None
        captured = decode_captured(create.request)
        carried = self._carried.pop(create.job.id, {})
        run = Run(self, create.job, captured, carried, self._backend)
        run.trial = trial
        self._trials.add(run)
        return run

    @contextmanager
    def _kept_at_least(self, run: Run, trial: Trial) -> Iterator[None]:
        """Have a job stored if the task that waits for its end is canceled."""
        try:
            yield
        except BaseException:
            self.keep(run, trial)
            raise

    def _time_left(self, run: Run, trial: Trial, deadline: float) -> float | None:
        """Return how long to wait for a trial; when its time is over, have it stored and wait for that, or the end.

        Without a store there can be no 202, so the end is waited for, as without deferit.
        """
        left = deadline - time.monotonic()
        if left > 0:
            return left
        if trial.failure is None:
            self.keep(run, trial)
        return None

    def keep(self, run: Run, trial: Trial) -> None:
        """Have the job of a trial stored, if that is not under way and its end is not known."""
        if trial.begins_keeping():
            now = self.ledger.now()
            create = replace(trial.create, lease_until=now + self._lease, limits=None)
            self.ledger.submit(create, partial(self._kept, run, trial))

    def _kept(self, run: Run, trial: Trial, result: object) -> None:
        """Take note that a trial was stored, and have the store get what was held of its response."""
        if isinstance(result, Exception):
            trial.was_not_kept(result)
        else:
            log_new(run.job)
            self._runs[run.id, run.attempt] = run
            end = trial.was_kept(partial(self._append, run))
            if end:
                self._finish(run, end)
            if run.over.is_set():
                self._runs.pop((run.id, run.attempt), None)
        self.ledger.signals.notify(run.id)

    def _append(self, run: Run, index: int, piece: bytes) -> None:
        self.ledger.submit(Append(run.id, run.attempt, index, piece))

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
        run = self._runs.get((job.id, job.attempt))
        self._stop_run(run)
        return run if self._executor.can_stop else None

    def _stop_run(self, run: Run | None) -> None:
        if run:
            run.cancel()
            self._executor.stop(run)

    # --- the keeper's duties -----------------------------------------------------------------------------------------

    def recheck(self, job_ids: Iterable[str]) -> None:
        """Stop runs whose jobs were canceled, or taken over, by another process; look for jobs that wait."""
        self._claim_at = 0.0
        changed = frozenset(job_ids)
        for run in list(self._runs.values()):
            if run.id in changed and not self._still_has(run):
                self._stop_run(run)

    def _still_has(self, run: Run) -> bool:
        try:
            job = self.ledger.get(run.id)
        except JobNotFound:
            return False
        return job.status is Status.RUNNING and job.attempt == run.attempt

    def write_reports(self) -> None:
        """Write what handlers reported while it was too early."""
        for run in list(self._runs.values()):
            run.write_report()

    def claim(self) -> None:
        """Take jobs that wait for the slots that are free."""
        now = time.monotonic()
        if self._is_draining or not (self._has_backlog or now >= self._claim_at):
            return
        self._claim_at = now + CLAIM_INTERVAL
        slots = self._slots.take_all() if self._is_any_due() else 0
        if slots:
            for claimed in self._claimed(slots):
                log(claimed.job)
                self.ledger.signals.notify(claimed.job.id, claimed.job)
                run = self._begin(claimed)
                if run:
                    self._submit(run)

    def _is_any_due(self) -> bool:
        """Whether a job waits that may begin: only then is it worth to hold slots that a trial could have."""
        self._has_backlog = False
        is_due = cast("bool", self.ledger.read(Due(self._application, self.ledger.now())))
        self._has_backlog |= is_due
        return is_due

    def _claimed(self, slots: int) -> tuple[Claimed, ...]:
        """Claim jobs for slots that were taken; give back those that are too many."""
        self._has_backlog = False
        now = self.ledger.now()
        claim = Claim(self._application, now, now + self._lease, slots)
        try:
            claimed = cast("tuple[Claimed, ...]", self.ledger.execute(claim))
        except Exception:
            self._slots.give(slots)
            self._has_backlog = True
            raise
        self._slots.give(slots - len(claimed))
        self._has_backlog |= len(claimed) == slots
        return claimed

    def renew(self) -> None:
        """Keep the leases of what runs; stop what has lost its own."""
        leases = tuple((run.id, run.attempt) for run in list(self._runs.values()))
        if not leases:
            return
        lost = self.ledger.execute(Renew(leases, self.ledger.now() + self._lease))
        for lease in cast("tuple[tuple[str, int], ...]", lost):
            self._stop_run(self._runs.get(lease))

    def expire(self) -> None:
        """End what has run longer than its mark allows; what is only tried is stored for that."""
        for run in [run for run in list(self._trials) if run.is_late]:
            self.keep(run, cast("Trial", run.trial))
        for run in [run for run in list(self._runs.values()) if run.is_late]:
            error = Failure("deadline-exceeded", f"The handler ran for {run.job.timeout:g} s.")
            self.ledger.submit(Finish(run.id, run.attempt, self.ledger.now(), None, error))
            self._stop_run(run)

    def sweep(self) -> bool:
        """Take jobs from lost workers, and drop what has expired; return whether there is more of it.

        Not before the store knows how jobs of this process ended, or they would be taken for lost after an outage.
        """
        if self.ledger.is_behind:
            return False
        swept = cast("Swept", self.ledger.execute(Sweep(self.ledger.now())))
        for job in swept.jobs:
            log(job)
            self.ledger.signals.notify(job.id, job)
        self._has_backlog |= any(job.status is Status.ACCEPTED for job in swept.jobs)
        self._forget_carried()
        return not swept.is_done

    def _forget_carried(self) -> None:
        for job_id in [job_id for job_id in list(self._carried) if not self._may_begin(job_id)]:
            self._carried.pop(job_id, None)

    def _may_begin(self, job_id: str) -> bool:
        """Whether a job waits to be begun, or is being created, so that what is carried for it may be needed."""
        try:
            return self.ledger.get(job_id).status is Status.ACCEPTED
        except JobNotFound:
            return job_id > prefix_at(self.ledger.now() - NEWBORN)


class _Slots:
    """How many more jobs may run."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count

    def take(self) -> bool:
        """Take one; False if none is free."""
        with self._lock:
            is_free = self._free > 0
            self._free -= is_free
            return is_free

    def take_all(self) -> int:
        """Take all that are free; return how many."""
        with self._lock:
            taken, self._free = self._free, 0
            return taken

    def give(self, count: int = 1) -> None:
        """Give back what was taken."""
        with self._lock:
            self._free += count


def _guarantee(is_stopped: bool) -> str:  # noqa: FBT001  one question, one answer
    return "stopped" if is_stopped else "asked to stop"
