"""What an executor is: the contract that every one keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Be told of the server's event loop, for as long as its lifespan lasts; most executors need not know."""
        yield

    async def aprepare(self, backend: str) -> None:  # noqa: B027  most are always ready
        """Get ready for work from an event loop of a kind, before any is promised, so that `submit` need not wait."""

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
