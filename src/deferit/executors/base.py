"""What an executor is: the contract that every one keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from deferit._core.job import Job


class Work(ABC):
    """One attempt of a job: the replay of its request, with all that happens before and after it."""

    backend: str
    """The kind of event loop that its handler was submitted in, ``asyncio`` or ``trio``."""

    @abstractmethod
    def run(self) -> None:
        """Do it all in this thread. Never raises."""

    @abstractmethod
    async def arun(self) -> None:
        """Same as `run`, but in this task; raises only what cancels the task."""


class Executor(ABC):
    """Runs work. How much of it at once is bounded by who submits it.

    Nothing is started before the first work comes, so that a process may fork before it.
    """

    can_stop: ClassVar[bool] = False
    """Whether `stop` may end work that has begun."""

    runs_in_place: ClassVar[bool] = False
    """Whether `submit` returns only when the work is done."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Be told of the server's event loop, for as long as its lifespan lasts; most executors need not know."""
        yield

    def is_ready(self, backend: str) -> bool:  # noqa: ARG002  most are always ready
        """Whether `submit` need not wait for anything with work from an event loop of this kind."""
        return True

    async def aprepare(self, backend: str) -> None:  # noqa: B027  most are always ready
        """Get ready for work from an event loop of a kind, before any is promised."""

    @abstractmethod
    def submit(self, work: Work) -> None:
        """Have work done soon, and return at once; from any thread."""

    async def asubmit(self, work: Work) -> None:
        """Same as `submit`, but from a task."""
        self.submit(work)

    def stop(self, work: Work) -> None:  # noqa: B027  where nothing can be stopped there is nothing to do
        """Ask work that was submitted to end; from any thread, and return at once."""

    def close(self) -> None:  # noqa: B027  not every executor holds something
        """Let go of threads and loops, without waiting for work; idempotent."""


class Lost(Protocol):
    """Takes note that a process ended while it ran an attempt of a job; ``reason`` is a sentence for its client."""

    def __call__(self, job_id: str, attempt: int, reason: str) -> object:
        """Fail the job, or leave it to be run again; from any thread."""


class Dispatcher(ABC):
    """An executor in other processes: it is handed ids of jobs, and has some process claim them and run them.

    What it is handed is an offer. The job stays in the store, accepted, until a process has claimed it by its id
    (`deferit._host.run_job`): an offer that is lost is repeated after a while, and one that comes twice finds
    the job claimed. `dispatch` is called from one thread, which may wait in it; `revoke` from any.
    """

    app: str | None = None
    """What the other processes import, as ``module:name``; None: where this process has it from."""

    again_after: float = 15.0
    """Seconds after which a job that nobody has claimed is offered again."""

    patience: float = 1.0
    """Seconds that `revoke` takes at the most, about."""

    def open(self, lost: Lost, wake: Callable[[], object]) -> None:  # noqa: B027  not every one listens
        """Begin, in this process; ``wake`` is called when there is `capacity` again."""

    @abstractmethod
    def capacity(self, waiting: int) -> int:
        """Return how many more jobs it takes, where ``waiting`` of those that it got have not been claimed yet."""

    @abstractmethod
    def dispatch(self, job: Job) -> None:
        """Offer a job to the other processes; whatever is raised means that they cannot be reached now."""

    @abstractmethod
    def revoke(self, job: Job) -> bool:
        """End the handler of a job, or see to it that it does not begin; return whether it has certainly ended."""

    def close(self, grace: float) -> None:  # noqa: B027  not every one holds something
        """Let go of the other processes, which have ``grace`` seconds to end what they run; idempotent."""
