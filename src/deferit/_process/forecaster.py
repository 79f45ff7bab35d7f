"""Tells when jobs will be finished, from what is known of others like them; writes down how long they took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from deferit._core.commands import Observe
from deferit._core.estimate import Estimate, Known, Outlook, calm, estimate
from deferit._core.job import Job, Status
from deferit._core.pace import Pace, pace
from deferit._core.queries import Ahead, History, Position
from deferit._process.durations import ALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit._core.effects import Foresee, Recall
    from deferit._process.durations import Durations
    from deferit._process.ledger import Ledger

INTERVAL = 1.0
"""Seconds between two looks at the histories of routes that are asked for, and between two writes of what was seen."""

STALE = 60.0
"""Seconds after which a history that nobody has asked for is not believed any more."""

TOLD = 5_000
"""Waiting jobs of which it is remembered what was said."""


class Memory:
    """What is remembered of a route's history."""

    def __init__(self) -> None:
        self.read_at = -STALE
        self.seconds: tuple[float, ...] = ()
        self.pace: Pace | None = None
        self.is_wanted = False

    def learn(self, seconds: tuple[float, ...], now: float) -> None:
        """Take in the history as it was read just now."""
        self.read_at = now
        if seconds != self.seconds:
            self.seconds, self.pace = seconds, pace(seconds)


class Forecaster:
    """Knows the histories of the routes that it is asked for.

    A history is read when it is first asked for, and from then on by a duty of the keeper: requests don't wait for it.
    """

    def __init__(
        self,
        application: str,
        concurrency: int,
        ledger: Ledger,
        durations: Durations,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._application = application
        self._concurrency = concurrency
        self._ledger = ledger
        self._durations = durations
        self._clock = clock
        self._memories: dict[str, Memory] = {}
        self._told: dict[str, Estimate] = {}

    # --- what flows yield --------------------------------------------------------------------------------------------

    def foresee(self, effect: Foresee) -> Outlook:
        """Return what can be told of a job that is not finished.

        Raises:
            StoreUnavailable: what has to be read cannot be.
        """
        ahead = effect.ahead
        if ahead is None and effect.job.status is Status.ACCEPTED:
            ahead = cast("Ahead", self._ledger.read(Position(effect.job.id)))
        self._recall(effect.job)
        return self._outlook(effect.job, ahead)

    async def aforesee(self, effect: Foresee) -> Outlook:
        """Same as `foresee`, but awaits the store."""
        ahead = effect.ahead
        if ahead is None and effect.job.status is Status.ACCEPTED:
            ahead = cast("Ahead", await self._ledger.aread(Position(effect.job.id)))
        for name in self._unknown(effect.job):
            self._learn(name, await self._ledger.aread(History(self._application, name)))
        return self._outlook(effect.job, ahead)

    def recall(self, effect: Recall) -> Known:
        """Return what is known of jobs like this one."""
        self._recall(effect.job)
        return self._known(effect.job)

    async def arecall(self, effect: Recall) -> Known:
        """Same as `recall`, but awaits the store."""
        for name in self._unknown(effect.job):
            self._learn(name, await self._ledger.aread(History(self._application, name)))
        return self._known(effect.job)

    def _recall(self, job: Job) -> None:
        for name in self._unknown(job):
            self._learn(name, self._ledger.read(History(self._application, name)))

    def _unknown(self, job: Job) -> list[str]:
        """Return the names of the histories that have to be read before anything is said of a job."""
        oldest = self._clock() - STALE
        return [name for name in _names(job) if self._memory(name).read_at <= oldest]

    def _memory(self, name: str) -> Memory:
        memory = self._memories.get(name)
        if memory is None:
            memory = self._memories[name] = Memory()
        memory.is_wanted = True
        return memory

    def _learn(self, name: str, history: object) -> None:
        self._memories[name].learn(cast("tuple[float, ...]", history), self._clock())

    def _known(self, job: Job) -> Known:
        paces = [self._memories[name].pace for name in _names(job)]
        return Known(paces[0], paces[-1], self._concurrency)

    def _outlook(self, job: Job, ahead: Ahead | None) -> Outlook:
        now = self._ledger.now()
        found = estimate(job, now, self._known(job), ahead)
        if ahead is None:
            return Outlook(now, None, found)
        return Outlook(now, ahead.jobs, found and self._calmed(job, found, now))

    def _calmed(self, job: Job, found: Estimate, now: float) -> Estimate:
        told = calm(self._told.get(job.id), found, now)
        if len(self._told) >= TOLD:
            self._told.clear()
        self._told[job.id] = told
        return told

    # --- the keeper's duty -------------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Read anew what was asked for, and write down what was seen."""
        for name, memory in list(self._memories.items()):
            if memory.is_wanted:
                memory.is_wanted = False
                self._learn(name, self._ledger.read(History(self._application, name)))
        self.write()

    def write(self) -> None:
        """Write down how long jobs took in this process; what cannot be written is forgotten."""
        for name, seconds in self._durations.take().items():
            self._ledger.submit(Observe(self._application, name, seconds))


def _names(job: Job) -> tuple[str, ...]:
    """Return the names of the histories that speak of a job: its route's, and its queue's if it waits with others."""
    if job.status is not Status.ACCEPTED or job.queue == job.route:
        return (job.route,)
    return (job.route, job.queue or ALL)
