"""What a store is: the contract that every one keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

from deferit._core.queries import Get
from deferit.exceptions import JobNotFound, RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Command
    from deferit._core.job import Job
    from deferit._core.queries import Query


class Store(ABC):
    """Keeps jobs, captured requests and results; the truth about all of them.

    Written once, synchronous and batch-first: one thread of a process, its committer, calls `execute` with all that
    is waiting; any thread may call `read`. Several processes may use one store at once.

    * **One batch, one transaction.** When `execute` returns, everything in it is durable (for the stores that say so)
      and visible to every `read` of every process. Commands of a batch are executed in their order; each sees what
      those before it did.
    * **One answer a command**, in the same order: its result, or the exception that it met. A command that meets an
      exception has changed nothing; the others of its batch are executed all the same.
    * **If the batch as a whole cannot be done** (disk full, file locked, server gone) `execute` raises
      `StoreUnavailable` and nothing of it is kept. The store goes on trying at the next call: it needs no restart.
    * **Decisions are not the store's.** A *change* is applied by its own ``apply``; what is due is decided by
      ``wake_at`` and ``swept``; the store selects, loads and saves.
    * **A captured request** (`Create.request` and the pieces appended as attempt 0) is deleted in the transaction that
      finishes its job. Pieces of a result go with the attempt that lost the job (see ``keeps``).
    * **A record that cannot be read** concerns its job alone. It is answered as `salvaged` has it, and written so by
      the first command that comes upon it: the job has failed, and is not selected any more. It is logged once.
    * **Bodies**: a result's last piece comes as `Finish.body` and has the index ``result.chunks - 1``; a result with
      ``chunks == 0`` has none. They stay until the job is swept or purged.
    """

    url: str
    """What the user named it by, without secrets; for messages."""

    reads_are_quick: bool = False
    """Whether `read` takes microseconds and never waits for a network, so that an event loop may call it itself."""

    is_shared: bool = True
    """Whether other processes may change what is in it."""

    def check(self) -> None:  # noqa: B027  most stores can say something early, none must
        """Say early what can be known without opening anything; called when the middleware is constructed.

        Raises:
            OptionError: the store cannot work as it is configured; the text says what to do.
        """

    @abstractmethod
    def open(self) -> None:
        """Open or make the store, once in each process, before any other call; again after `close`.

        Raises:
            StoreUnavailable: with the reason.
        """

    @abstractmethod
    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Execute commands in one transaction; return a result or an exception for each, in their order.

        The results: `Create` the job, or the one that has its key (`JobExists`,
        `KeyReused`); `Append` None (`LeaseLost`, `JobNotFound`, `JobExists`); `Claim` a
        tuple of `Claimed`; `Renew` a tuple of the lost leases; a change the job as it is now (`JobNotFound`, and what
        ``apply`` raises); `Purge` whether it is gone (`JobNotFound`); `Sweep` and `ClaimCallbacks` a tuple of
        jobs; `SettleCallback` the job (`JobNotFound`).

        Raises:
            StoreUnavailable: nothing of the batch was kept.
        """

    @abstractmethod
    def read(self, query: Query) -> object:
        """Answer one query.

        The answers: `Get` the job, `Load` bytes, `Position` an integer, `List` a tuple of jobs, `Changes` a `Changed`.

        Raises:
            JobNotFound: there is no such job, or no such piece of a body.
            StoreUnavailable: it cannot be read now.
        """

    def get_all(self, job_ids: Sequence[str]) -> list[Job | Exception]:
        """Answer a `Get` for each of these ids, in their order: by the job, or by the exception that it met.

        A store that is across a network takes one round trip for all of them.

        Raises:
            StoreUnavailable: none can be read now.
        """
        return [self._got(job_id) for job_id in job_ids]

    def _got(self, job_id: str) -> Job | Exception:
        try:
            return cast("Job", self.read(Get(job_id)))
        except (JobNotFound, RecordDamaged) as exc:
            return exc

    def version(self) -> int:
        """Return a number that differs after another process may have committed; microseconds, no transaction.

        For a store that is not shared it never changes.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return 0

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; idempotent. What was executed stays."""
