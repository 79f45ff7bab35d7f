"""One process's access to the store: commands go through the committer, queries past it."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

import anyio.to_thread

from deferit._committer import AwaitableReply, BlockingReply, Callback, Committer, returned
from deferit._core.commands import CHANGES, Finish, Release, Renew, Report
from deferit._core.job import Job
from deferit._core.queries import Get
from deferit._log import log, logger
from deferit._signals import Signals
from deferit.exceptions import JobNotFound, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit.stores.base import Store


KNOWN = 1_000
"""Jobs that are remembered until the store changes: those who wait for one job ask for it all at once."""


class Ledger:
    """Executes commands and reads; logs each transition that it commits and wakes those who wait for the job."""

    def __init__(self, store: Store) -> None:
        self.signals = Signals()
        self.store = store
        self.wake_deliverer: Callable[[], object] = lambda: None
        self._committer = Committer(store.execute, store.url)
        self._unfinished: deque[Finish | Release] = deque()
        self._known: tuple[int, dict[str, Job]] = (-1, {})

    def open(self) -> None:
        """Open the store and start to commit.

        Raises:
            StoreUnavailable: the store cannot be opened; `open` may be called again.
        """
        self.store.open()
        self._committer.start()

    def close(self) -> None:
        """Commit what is waiting, then let go of the store."""
        self.finish_again()
        self._committer.close()
        self.store.close()

    @staticmethod
    def now() -> float:
        """Return the present instant, in seconds since the epoch."""
        return time.time()

    def execute(self, command: Command) -> object:
        """Execute a command in the next group commit; return its result or raise what it met."""
        return returned(self._noted(command, self.outcome(command)))

    async def aexecute(self, command: Command) -> object:
        """Same as `execute`, but awaits the commit."""
        note = partial(self._noted, command)
        return returned(note(await self.aoutcome(command, note)))

    def outcome(self, command: Command) -> object:
        """Execute a command; return what became of it, be it an exception."""
        reply = BlockingReply()
        self._committer.submit(command, reply)
        return reply.outcome()

    async def aoutcome(self, command: Command, otherwise: Callable[[object], object]) -> object:
        """Same as `outcome`, but awaits the commit; ``otherwise`` is told if the task is canceled meanwhile."""
        reply = AwaitableReply(otherwise)
        self._committer.submit(command, reply)
        return await reply.outcome()

    def submit(self, command: Command, note: Callable[[object], object] | None = None) -> None:
        """Execute a command without waiting for it; ``note`` is told of its outcome, in the committer's thread."""
        self._committer.submit(command, Callback(note or partial(self._noted, command)))

    def settle(self) -> None:
        """Return when all that was submitted before is executed."""
        self.execute(Renew((), 0.0))

    def read(self, query: Query) -> object:
        """Answer a query."""
        return self.store.read(query)

    async def aread(self, query: Query) -> object:
        """Same as `read`, but awaits a store that takes its time."""
        if self.store.reads_are_quick:
            return self.store.read(query)
        return await anyio.to_thread.run_sync(self.store.read, query)

    def get(self, job_id: str) -> Job:
        """Return a job by its id.

        Raises:
            JobNotFound: there is none.
        """
        if not self.store.is_shared:
            return cast("Job", self.read(Get(job_id)))
        version = self.store.version()  # before the read: what is read may be later, never earlier
        if version != self._known[0] or len(self._known[1]) >= KNOWN:
            self._known = (version, {})
        known = self._known[1]
        if job_id not in known:
            known[job_id] = cast("Job", self.read(Get(job_id)))
        return known[job_id]

    async def aget(self, job_id: str) -> Job:
        """Same as `get`, but awaits a store that takes its time."""
        if self.store.reads_are_quick:
            return self.get(job_id)
        return await anyio.to_thread.run_sync(self.get, job_id)

    def tell(self, job_ids: Iterable[str]) -> None:
        """Tell those who wait for one of these jobs what became of it: one query a job, however many wait."""
        for job_id in self.signals.watched(job_ids):
            try:
                self.signals.notify(job_id, self.get(job_id))
            except JobNotFound:
                self.signals.notify(job_id, is_gone=True)

    def finish_again(self) -> None:
        """Try once more to store how jobs ended, where the store was not available."""
        for _ in range(len(self._unfinished)):
            self.submit(self._unfinished.popleft())

    @property
    def is_behind(self) -> bool:
        """Whether jobs have ended of which the store does not know yet."""
        return bool(self._unfinished)

    def _noted(self, command: Command, outcome: object) -> object:
        """Take note of what was committed, or could not be; return it."""
        if isinstance(outcome, Job) and isinstance(command, CHANGES):
            if outcome.updated_at == command.now and not isinstance(command, Report):
                log(outcome)
            self.signals.notify(outcome.id, outcome)
            if outcome.callback_at is not None:
                self.wake_deliverer()
        elif isinstance(outcome, StoreUnavailable) and isinstance(command, Finish | Release):
            self._unfinished.append(command)
        elif isinstance(outcome, Exception) and not isinstance(outcome, StoreError):
            logger.error("%s could not be executed", type(command).__name__, exc_info=outcome)
        return outcome
