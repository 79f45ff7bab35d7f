"""Takes jobs that wait, and has this process run them."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, cast

from deferit._core.commands import Claim, Claimed, Release
from deferit._core.job import Status
from deferit._core.queries import Due
from deferit._log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit._process.runs import Run
    from deferit._process.worker import Worker

CLAIM_INTERVAL = 1.0
"""Seconds after which waiting jobs are looked for without being told of any: some become due by the clock alone."""


class Claims:
    """A duty of the keeper: fills the slots that are free with jobs that wait."""

    def __init__(self, worker: Worker, application: str) -> None:
        self._worker = worker
        self._ledger = worker.ledger
        self._application = application
        self._claim_at = 0.0
        self._is_along = False
        self._is_claiming = False
        self._under_way = 0
        self._changed = threading.Condition()

    def close(self) -> None:
        """Wait until what others told this process to claim runs, or does not; no more is claimed while it drains."""
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)

    def look(self) -> None:
        """Look whether jobs wait that could begin, as after a restart."""
        self._is_any_due()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs here, and no job waits that could."""
        # In the order of a job's life, or one could be missed as it passes: it waits, is being claimed, runs.
        return not (self._is_any_due() or self._is_claiming or self._worker.runs)

    def recheck(self) -> None:
        """Look for jobs that wait at the next occasion: another process has changed something."""
        self._claim_at = 0.0

    def claim(self) -> None:
        """Take jobs that wait for the slots that are free."""
        self._is_claiming = True
        try:
            self._claim()
        finally:
            self._is_claiming = False
            self._worker.call_up()  # what was left for those that wait in the store, and they did not take

    def _claim(self) -> None:
        worker, now = self._worker, time.monotonic()
        if worker.makes_way() or not (worker.backlog.is_there or now >= self._claim_at):
            return
        self._claim_at = now + CLAIM_INTERVAL
        slots = worker.slots.take_all() if self._is_any_due() else 0
        if slots:
            for claimed in self._claimed(slots):
                self._begin(claimed)

    def along(self) -> None:
        """Have jobs that wait taken in the next transaction, for the slots that are free; from any thread, at once."""
        worker, now = self._worker, self._ledger.now()
        slots = 0 if self._is_along else worker.slots.take_all()
        if slots:
            self._is_along = True
            claim = Claim(self._application, now, now + worker.lease, slots)
            self._ledger.submit(claim, partial(self._came_along, slots))

    def _came_along(self, slots: int, outcome: object) -> None:
        """Begin what was taken along, in the committer's thread; submitters of new ones have not heard of it yet."""
        worker = self._worker
        self._is_along = False
        claimed = cast("tuple[Claimed, ...]", outcome) if isinstance(outcome, tuple) else ()
        worker.give(slots - len(claimed))
        # Certain, and no look: claims come last in their group, so whoever waits now has come behind it.
        worker.backlog.is_there = claimed is not outcome or len(claimed) == slots
        for each in claimed:
            if each.job.id in worker.new_ones:
                worker.new_ones[each.job.id] = True
                log(each.job, Status.ACCEPTED)
            self._begin(each)

    def claim_one(self, job_id: str, tell: Callable[[int], object]) -> Run | None:
        """Claim a job that this process was told to run, and begin it; None if it does not wait (any more).

        ``tell`` is told the attempt before it begins, for the handler may end the process.
        """
        with self._changed:
            if self._worker.makes_way():
                return None
            self._under_way += 1
        try:
            claimed = self._claimed_one(job_id)
            return self._begin_told(claimed, tell) if claimed else None
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _claimed_one(self, job_id: str) -> Claimed | None:
        worker, now = self._worker, self._ledger.now()
        worker.slots.bring()
        claim = Claim(self._application, now, now + worker.lease, 1, job_id)
        try:
            found = cast("tuple[Claimed, ...]", self._ledger.execute(claim))
        except BaseException:
            worker.give()
            raise
        if not found:
            worker.give()
            return None
        return found[0]

    def _begin_told(self, claimed: Claimed, tell: Callable[[int], object]) -> Run | None:
        job = claimed.job
        try:
            tell(job.attempt)
        except BaseException:
            self._worker.give()
            self._ledger.submit(Release(job.id, job.attempt, self._ledger.now()))
            raise
        return self._begin(claimed)

    def _begin(self, claimed: Claimed) -> Run | None:
        log(claimed.job)
        self._ledger.signals.notify(claimed.job.id, claimed.job)
        run = self._worker.begin(claimed)
        if run:
            self._worker.start(run)
        return run

    def _is_any_due(self) -> bool:
        """Whether a job waits that may begin: only then is it worth to hold slots that a trial could have."""
        backlog = self._worker.backlog
        begun = backlog.begin_look()
        is_due = cast("bool", self._ledger.read(Due(self._application, self._ledger.now())))
        backlog.end_look(begun, found=is_due)
        return is_due

    def _claimed(self, slots: int) -> tuple[Claimed, ...]:
        """Claim jobs for slots that were taken; give back those that are too many."""
        worker, now = self._worker, self._ledger.now()
        begun = worker.backlog.begin_look()
        claim = Claim(self._application, now, now + worker.lease, slots)
        try:
            claimed = cast("tuple[Claimed, ...]", self._ledger.execute(claim))
        except Exception:
            worker.give(slots)
            worker.backlog.grow()
            raise
        worker.give(slots - len(claimed))
        worker.backlog.end_look(begun, found=len(claimed) == slots)
        return claimed
