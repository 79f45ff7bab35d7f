"""Offers jobs that wait to processes elsewhere, as their executor has room."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from deferit._core.commands import Dispatch, Finish
from deferit._core.job import Failure, Status
from deferit._core.offers import is_given_up, is_untouched
from deferit._core.queries import Due
from deferit._process.keeper import PAUSE, Duty, Keeper
from deferit.exceptions import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deferit._core.job import Job
    from deferit._process.ledger import Ledger
    from deferit.executors.base import Dispatcher

logger = logging.getLogger("deferit")

TICK = 1.0
"""Seconds after which waiting jobs are looked for without being told of any: some become due by the clock alone."""

LARGEST_OFFER = 100
"""Jobs that are taken from the store at a time."""


class Offers:
    """The jobs that were offered to a dispatcher, and the thread that offers them: what is out of reach takes its time.

    The store is the outbox: what could not be dispatched is tried again, and what nobody claims is offered anew.
    """

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, application: str) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._application = application
        self._outbox: deque[Job] = deque()
        self._waiting: dict[str, Job] = {}
        self._overdue_at: dict[str, float] = {}
        self._running: dict[str, Job] = {}
        self._changed: deque[str] = deque()
        self.is_held = False
        """Whether jobs have to wait for the application of this process to have started: they may run in it."""
        self._is_draining = False
        self._is_down = False
        self._retry_at = 0.0
        self._keeper = Keeper(TICK, "deferit-offers")
        self._keeper.duties = [
            Duty(self._look_at_changes, 0),
            Duty(self._look_at_all, 5),
            Duty(self._offer, 0),
        ]

    def start(self) -> None:
        """Begin to offer."""
        self._dispatcher.open(self._lost, self.wake)
        self._keeper.start()

    def wake(self) -> None:
        """Look now for what waits; from any thread."""
        self._keeper.wake()

    def recheck(self, job_ids: Iterable[str]) -> None:
        """Look what became of these jobs, and for new ones: another process has changed something."""
        self._changed.extend(job_ids)
        self._keeper.wake()

    def drain(self) -> None:
        """Offer nothing more."""
        self._is_draining = True

    def close(self, grace: float) -> None:
        """End the thread, and let go of the other processes."""
        self.drain()
        self._keeper.close()
        self._dispatcher.close(grace)

    def revoke(self, job: Job) -> str:
        """End the handler of a running job, if this is possible; return what is guaranteed of it."""
        try:
            return "stopped" if self._dispatcher.revoke(job) else "asked to stop"
        except Exception as exc:  # noqa: BLE001  whatever a broker's client raises, the cancel goes on
            logger.warning("%s: the executor could not be told to stop: %s", job.route, exc)
            return "asked to stop"

    # --- duties of the thread ----------------------------------------------------------------------------------------

    def _offer(self) -> bool:
        """Hand waiting jobs to the dispatcher; return whether there may be more."""
        if self.is_held or self._is_draining or time.monotonic() < self._retry_at:
            return False
        if self._outbox:
            return self._dispatch_all()
        room = self._dispatcher.capacity(len(self._waiting))
        if room <= 0:
            self._outbox.extend(self._overdue())
            return bool(self._outbox) and self._dispatch_all()
        limit = min(room, 1 if self._is_down else LARGEST_OFFER)
        now = self._ledger.now()
        if not self._ledger.read(Due(self._application, now)):
            return False
        offer = Dispatch(self._application, now, now + self._dispatcher.again_after, limit)
        self._outbox.extend(cast("tuple[Job, ...]", self._ledger.execute(offer)))
        return bool(self._outbox) and self._dispatch_all()

    def _overdue(self) -> list[Job]:
        """Return the jobs that nobody has claimed in time: they take up the room, though all offers may be lost."""
        now = time.monotonic()
        return [job for job in self._waiting.values() if self._overdue_at[job.id] <= now]

    def _dispatch_all(self) -> bool:
        while self._outbox and not self._is_draining:
            job = self._outbox[0]
            try:
                self._dispatcher.dispatch(job)
            except Exception as exc:  # noqa: BLE001  a broker's client raises what it likes
                self._is_out_of_reach(exc)
                return False
            self._outbox.popleft()
            self._waiting[job.id] = job
            self._overdue_at[job.id] = time.monotonic() + self._dispatcher.again_after
            self._running.pop(job.id, None)
        if self._is_down:
            self._is_down = False
            logger.info("the executor can be reached again")
        return True

    def _is_out_of_reach(self, exc: Exception) -> None:
        """Wait a moment; say so once, not at every try."""
        if not self._is_down:
            kind = type(exc).__name__
            logger.warning(
                "the executor cannot be reached, jobs wait in the store: %s: %s", kind, exc
            )
        self._is_down = True
        self._retry_at = time.monotonic() + PAUSE

    def _look_at_changes(self) -> None:
        while self._changed:
            self._look_at(self._changed.popleft())

    def _look_at_all(self) -> None:
        """Look at all that was offered: not every change is told, as those that this process made itself."""
        for job_id in [*self._waiting, *self._running]:
            self._look_at(job_id)

    def _look_at(self, job_id: str) -> None:
        """See whether an offered job was claimed, or has ended, and whether its handler has to."""
        offered = self._waiting.get(job_id) or self._running.get(job_id)
        if offered is None:
            return
        try:
            job = self._ledger.get(job_id)
        except JobNotFound:
            self._forget(job_id)
            return
        if is_untouched(offered, job):
            return
        self._forget(job_id)
        if job.status is Status.RUNNING:
            self._running[job_id] = offered
        elif is_given_up(offered, job):
            self.revoke(job)

    def _forget(self, job_id: str) -> None:
        self._waiting.pop(job_id, None)
        self._overdue_at.pop(job_id, None)
        self._running.pop(job_id, None)

    # --- told by the dispatcher --------------------------------------------------------------------------------------

    def _lost(self, job_id: str, attempt: int, reason: str) -> None:
        """Fail the job whose process has ended; one that is safe to repeat is taken over when its lease runs out."""
        try:
            job = self._ledger.get(job_id)
        except JobNotFound:
            return
        if job.status is Status.RUNNING and job.attempt == attempt and not job.repeatable:
            error = Failure("interrupted", reason)
            self._ledger.submit(Finish(job_id, attempt, self._ledger.now(), None, error))
