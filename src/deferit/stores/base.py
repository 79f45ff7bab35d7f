"""What a store is: the contract that every one keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, assert_never, cast

from deferit._core.commands import (
    Append,
    Cancel,
    Claim,
    ClaimCallbacks,
    Create,
    Dispatch,
    Finish,
    Observe,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
)
from deferit._core.queries import Get
from deferit.exceptions import JobNotFound, RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Change, Claimed, Command, Swept
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

        The results: `Create` the job, or the one that has its key, or a `Placed` with it (`JobExists`,
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

        The answers: `Get` the job, `Load` bytes, `Position` an `Ahead`, `List` a tuple of jobs, `Changes` a `Changed`.

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


class Performer(ABC):
    """What does the commands of a batch, each by a method of its own; they raise what is the answer to a command."""

    ends_the_batch: ClassVar[tuple[type[Exception], ...]] = ()
    """What is no answer to a command when it is raised: it concerns all of them."""

    def _answer(self, command: Command) -> object:
        """Do a command; return its result, or the exception that it met."""
        try:
            return self._perform(command)
        except self.ends_the_batch:
            raise
        except Exception as exc:  # noqa: BLE001  it is the answer to whoever asked
            return exc

    def _perform(self, command: Command) -> object:  # noqa: C901, PLR0911  one for each command
        match command:
            case Create():
                return command.answer(self._create(command))
            case Append():
                self._append(command)
                return None
            case Claim():
                return self._claim(command)
            case Dispatch():
                return self._dispatch(command)
            case Renew():
                return tuple(
                    lease for lease in command.leases if not self._renew(lease, command.lease_until)
                )
            case Purge():
                return self._purge(command)
            case Sweep():
                return self._sweep(command)
            case Observe():
                self._observe(command)
                return None
            case ClaimCallbacks():
                return self._claim_callbacks(command)
            case SettleCallback():
                return self._settle_callback(command)
            case Report() | Finish() | Release() | Cancel():
                return self._change(command)
        assert_never(command)

    @abstractmethod
    def _create(self, command: Create) -> Job:
        """Make a job, or return the one that has its key."""

    @abstractmethod
    def _append(self, command: Append) -> None:
        """Keep a piece of a body."""

    @abstractmethod
    def _claim(self, command: Claim) -> tuple[Claimed, ...]:
        """Take jobs that wait."""

    @abstractmethod
    def _dispatch(self, command: Dispatch) -> tuple[Job, ...]:
        """Choose jobs to be offered."""

    @abstractmethod
    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        """Renew a lease; return whether it was held."""

    @abstractmethod
    def _purge(self, command: Purge) -> bool:
        """Forget a finished job; return whether it is gone."""

    @abstractmethod
    def _sweep(self, command: Sweep) -> Swept:
        """Do what is due."""

    @abstractmethod
    def _observe(self, command: Observe) -> None:
        """Remember how long jobs took."""

    @abstractmethod
    def _claim_callbacks(self, command: ClaimCallbacks) -> tuple[Job, ...]:
        """Take finished jobs whose client is to be called."""

    @abstractmethod
    def _settle_callback(self, command: SettleCallback) -> Job:
        """Take down what became of a call."""

    @abstractmethod
    def _change(self, command: Change) -> Job:
        """Apply a change to a job."""
