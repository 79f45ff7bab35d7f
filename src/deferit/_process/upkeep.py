"""Looks after what runs in this process, and after what other processes have left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from deferit._core.commands import Finish, Renew, Sweep, Swept
from deferit._core.ids import prefix_at
from deferit._core.job import Failure, Status
from deferit._core.queries import Get
from deferit._log import log
from deferit.exceptions import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deferit._core.job import Job
    from deferit._process.runs import Run
    from deferit._process.worker import Worker

NEWBORN = 60.0
"""Seconds in which a new job may not be in the store yet."""


class Upkeep:
    """Duties of the keeper: leases, deadlines, progress, jobs that were canceled elsewhere, and what is left over."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ledger = worker.ledger

    def recheck(self, job_ids: Iterable[str]) -> None:
        """Stop runs whose jobs were canceled, or taken over, by another process."""
        changed = frozenset(job_ids)
        for run in list(self._worker.runs.values()):
            if run.id in changed and not self._still_has(run):
                self._worker.stop_run(run)

    def _still_has(self, run: Run) -> bool:
        try:
            job = cast("Job", self._ledger.read(Get(run.id)))  # others have no use for it
        except JobNotFound:
            return False
        return job.status is Status.RUNNING and job.attempt == run.attempt

    def write_reports(self) -> None:
        """Write what handlers reported while it was too early."""
        for run in list(self._worker.runs.values()):
            run.write_report()

    def renew(self) -> None:
        """Keep the leases of what runs; stop what has lost its own."""
        runs = self._worker.runs
        leases = tuple((run.id, run.attempt) for run in list(runs.values()))
        if not leases:
            return
        lost = self._ledger.execute(Renew(leases, self._ledger.now() + self._worker.lease))
        for lease in cast("tuple[tuple[str, int], ...]", lost):
            self._worker.stop_run(runs.get(lease))

    def expire(self) -> None:
        """End what has run longer than its mark allows; what is only tried is stored for that."""
        for run in [run for run in list(self._worker.trials) if run.is_late]:
            run.keep()
        for run in [run for run in list(self._worker.runs.values()) if run.is_late]:
            error = Failure("deadline-exceeded", f"The handler ran for {run.job.timeout:g} s.")
            self._ledger.submit(Finish(run.id, run.attempt, self._ledger.now(), None, error))
            self._worker.stop_run(run)

    def sweep(self) -> bool:
        """Take jobs from lost workers, and drop what has expired; return whether there is more of it.

        Not before the store knows how jobs of this process ended, or they would be taken for lost after an outage.
        """
        if self._ledger.is_behind:
            return False
        swept = cast("Swept", self._ledger.execute(Sweep(self._ledger.now())))
        for job in swept.jobs:
            log(job)
            self._ledger.signals.notify(job.id, job)
        if any(job.status is Status.ACCEPTED for job in swept.jobs):
            self._worker.backlog.grow()
        self._forget_carried()
        return not swept.is_done

    def _forget_carried(self) -> None:
        carried = self._worker.carried
        for job_id in [job_id for job_id in list(carried) if not self._may_begin(job_id)]:
            carried.pop(job_id, None)

    def _may_begin(self, job_id: str) -> bool:
        """Whether a job waits to be begun, or is being created, so that what is carried for it may be needed."""
        try:
            return self._ledger.get(job_id).status is Status.ACCEPTED
        except JobNotFound:
            return job_id > prefix_at(self._ledger.now() - NEWBORN)
