"""One process's access to the store: commands go through the committer, queries past it."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, cast

import anyio.to_thread

from deferit._core.commands import CHANGES, Finish, Release, Renew, Report
from deferit._core.job import Job
from deferit._core.queries import Get
from deferit._core.sealed import token_of
from deferit._log import log, logger
from deferit._process.committer import (
    AwaitableReply,
    BlockingReply,
    Callback,
    Committer,
    returned,
    unexpected,
)
from deferit._process.pauses import Pauses
from deferit._signals import Signals
from deferit.exceptions import JobNotFound, RecordDamaged, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit.stores.base import Store


KNOWN = 1_000
"""Jobs that are remembered until the store changes: those who wait for one job ask for it all at once."""

_COMPLAINTS = (StoreUnavailable, RecordDamaged)

SILENCE = 10.0
"""Seconds in which the same complaint of the store is not logged once more: each request would."""

_SEALED = (
    "%s: a result cannot be decrypted, and is answered with 503 until it can: put the key that sealed it into "
    "encrypt=, behind the others (this is said once)"
)


class Ledger:
    """Executes commands and reads; logs each transition that it commits and wakes those who wait for the job."""

    def __init__(self, store: Store) -> None:
        self.signals = Signals()
        self.store = store
        self.wake_deliverer: Callable[[], object] = lambda: None
        self._committer = Committer(store.execute, store.url, pauses=Pauses())
        self._reader: Committer | None = None
        if not store.reads_are_quick:
            self._reader = Committer(self._get_all, store.url, "deferit-reader")
        self._unfinished: deque[Finish | Release] = deque()
        self._known: tuple[int, dict[str, Job]] = (-1, {})
        self._has_met_sealed = False
        self.is_open = False
        self._complaint = ("", 0.0)

    def open(self) -> None:
        """Open the store and start to commit; nothing happens if that is done.

        Raises:
            StoreUnavailable: the store cannot be opened; `open` may be called again.
        """
        if self.is_open:
            return
        try:
            self.store.open()
        except StoreError as exc:
            self._complained(exc)
            raise
        except Exception as exc:
            raise self._unexpected(exc) from exc
        self._committer.start()
        if self._reader:
            self._reader.start()
        self.is_open = True

    def close(self) -> None:
        """Commit what is waiting, then let go of the store."""
        self.finish_again()
        self._committer.close()
        if self._reader:
            self._reader.close()
        self.store.close()
        self.is_open = False

    now = staticmethod(time.time)
    """Return the present instant, in seconds since the epoch."""

    def execute(self, command: Command) -> object:
        """Execute a command in the next group commit; return its result or raise what it met."""
        return returned(self.noted(command, self.outcome(command)))

    async def aexecute(self, command: Command) -> object:
        """Same as `execute`, but awaits the commit."""
        note = partial(self.noted, command)
        return returned(note(await self.aoutcome(command, note)))

    def outcome(self, command: Command, then: Callable[[], object] | None = None) -> object:
        """Execute a command; return what became of it, be it an exception; ``then`` submits what is to go with it."""
        reply = BlockingReply()
        self._committer.submit(command, reply)
        if then:
            then()
        return self._complained(reply.outcome())

    async def aoutcome(
        self,
        command: Command,
        otherwise: Callable[[object], object],
        then: Callable[[], object] | None = None,
    ) -> object:
        """Same as `outcome`, but awaits the commit; ``otherwise`` is told if the task is canceled meanwhile."""
        reply = AwaitableReply(otherwise)
        self._committer.submit(command, reply)
        if then:
            then()
        return self._complained(await reply.outcome())

    def submit(self, command: Command, note: Callable[[object], object] | None = None) -> None:
        """Execute a command without waiting for it; ``note`` is told of its outcome, in the committer's thread."""
        self._committer.submit(command, Callback(note or partial(self.noted, command)))

    def settle(self) -> None:
        """Return when all that was submitted before is executed, or cannot be; whoever submitted it was told."""
        reply = BlockingReply()
        self._committer.submit(Renew((), 0.0), reply)
        reply.outcome()

    def read(self, query: Query) -> object:
        """Answer a query.

        Raises:
            StoreError: whatever the store met; what it should not have raised is made `StoreUnavailable`.
        """
        try:
            return self._legible(self.store.read(query))
        except StoreError as exc:
            self._complained(exc)
            raise
        except Exception as exc:
            raise self._unexpected(exc) from exc

    async def aread(self, query: Query) -> object:
        """Same as `read`, but awaits a store that takes its time; what tasks ask for jobs meanwhile is one question."""
        if self._reader is None:
            return self.read(query)
        if isinstance(query, Get):
            reply = AwaitableReply()
            self._reader.submit(query, reply)
            return self._legible(returned(self._complained(await reply.outcome())))
        return await anyio.to_thread.run_sync(self.read, query)

    def _get_all(self, queries: Sequence[Get]) -> Sequence[object]:
        return self.store.get_all([query.job_id for query in queries])

    def get(self, job_id: str) -> Job:
        """Return a job by its id.

        Raises:
            JobNotFound: there is none.
        """
        known = self._known_now()
        if job_id not in known:
            known[job_id] = cast("Job", self.read(Get(job_id)))
        return known[job_id]

    def _known_now(self) -> dict[str, Job]:
        """Return the jobs that are known, and will be: as long as nothing is heard of a change."""
        if not self.store.is_shared:
            return {}
        version = self._version()  # before the read: what is read may be later, never earlier
        if version != self._known[0] or len(self._known[1]) >= KNOWN:
            self._known = (version, {})
        return self._known[1]

    def forget(self) -> None:
        """Remember no job: the store may show a change before it is heard that there was one."""
        self._known = (
            self._known[0],
            {},
        )  # another one: who reads just now keeps what is found in the old one

    def _version(self) -> int:
        try:
            return self.store.version()
        except StoreError as exc:
            self._complained(exc)
            raise
        except Exception as exc:
            raise self._unexpected(exc) from exc

    async def aget(self, job_id: str) -> Job:
        """Same as `get`, but awaits a store that takes its time."""
        if self._reader is None:
            return self.get(job_id)
        known = self._known_now()
        if job_id not in known:
            known[job_id] = cast("Job", await self.aread(Get(job_id)))
        return known[job_id]

    def tell(self, job_ids: Iterable[str]) -> None:
        """Tell those who wait for one of these jobs what became of it: one query a job, however many wait."""
        for job_id in self.signals.watched(job_ids):
            try:
                self.signals.notify(job_id, self.get(job_id))
            except JobNotFound:
                self.signals.notify(job_id, is_gone=True)
            except RecordDamaged as exc:
                logger.error("%s", exc, extra={"job_id": job_id})

    def finish_again(self) -> None:
        """Try once more to store how jobs ended, where the store was not available."""
        for _ in range(len(self._unfinished)):
            self.submit(self._unfinished.popleft())

    def _legible(self, answer: object) -> object:
        """Log once if a result is met that cannot be decrypted; return what was read."""
        if isinstance(answer, Job) and not self._has_met_sealed and token_of(answer.result):
            self._has_met_sealed = True
            logger.error(_SEALED, answer.route, extra={"job_id": answer.id})
        return answer

    def _unexpected(self, exc: Exception) -> StoreUnavailable:
        """Return what the store should have raised, and log it."""
        failure = unexpected(self.store.url, exc)
        self._complained(failure)
        return failure

    def _complained(self, outcome: object) -> object:
        """Log what is wrong with the store, if that is the outcome, but the same not again and again; return it."""
        if isinstance(outcome, _COMPLAINTS):
            now, (text, until) = time.monotonic(), self._complaint
            if str(outcome) != text or now >= until:
                self._complaint = (str(outcome), now + SILENCE)
                logger.error("%s", outcome)
        return outcome

    @property
    def is_behind(self) -> bool:
        """Whether jobs have ended of which the store does not know yet."""
        return bool(self._unfinished)

    def noted(self, command: Command, outcome: object) -> object:
        """Take note of what was committed, or could not be, as `submit` does without a ``note``; return it."""
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
        elif isinstance(outcome, RecordDamaged):
            logger.error("%s could not be executed: %s", type(command).__name__, outcome)
        return outcome
