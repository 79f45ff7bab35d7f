"""What a handler can ask and say while its job runs: `current_job`, `progress` and `track`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from deferit.exceptions import JobCanceled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deferit._core.policy import Mark

T = TypeVar("T")


class RunningJob(ABC):
    """The job whose handler runs: ``id``, ``owner`` (None: nobody's), ``attempt`` (1 for the first)."""

    id: str
    owner: str | None
    attempt: int
    has_reached_mark: bool = False
    """Whether the replay has come to a marked handler."""

    def defers(self, mark: Mark) -> bool:  # noqa: ARG002  whatever it says: now the handler runs
        """Take note that a marked handler was reached, which is not deferred once more."""
        self.has_reached_mark = True
        return False

    @property
    @abstractmethod
    def canceled(self) -> bool:
        """Whether the job was canceled; the handler should come to an end."""

    def check(self) -> None:
        """Do nothing, or end the handler of a job that was canceled.

        Raises:
            JobCanceled: it was canceled.
        """
        if self.canceled:
            raise JobCanceled(self.id)

    @abstractmethod
    def report(self, percent: int | None, message: str | None) -> None:
        """Have the monitor show progress and a message; what comes too fast is coalesced."""

    @abstractmethod
    def has_raised(self, exc: BaseException) -> None:
        """Take note of an exception that the marked handler raised, whatever the application makes of it."""


class Approach(ABC):
    """A request on its way through the application, which may reach a marked handler."""

    @abstractmethod
    def defers(self, mark: Mark) -> bool:
        """Take note that a marked handler was reached; return whether its request is deferred."""


current: ContextVar[RunningJob | Approach | None] = ContextVar("deferit", default=None)
"""Set by the middleware for the time of one pass through the application."""


def current_job() -> RunningJob | None:
    """Return the job whose handler runs here, or None in an ordinary request.

    It is there only in the replay, so code that must not run twice for one request can ask.
    """
    found = current.get()
    return found if isinstance(found, RunningJob) else None


def progress(fraction: float, message: str | None = None) -> None:
    """Report how far the running job has come; nothing happens outside a job.

    May be called as often as one likes: writes are coalesced to a few a second. Tasks of the handler know their job,
    and so do threads that get its context, as with ``asyncio.to_thread`` and ``anyio.to_thread``; start others by
    ``contextvars.copy_context().run``.

    Args:
        fraction: from 0 to 1; what lies outside is cut, and it never goes back.
        message: a short text for people; None leaves the last one.

    Raises:
        JobCanceled: the job was canceled.
    """
    job = current_job()
    if job is None:
        return
    job.check()
    job.report(round(100 * min(1.0, max(0.0, fraction))), _text(message))


def track(iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
    """Yield the items of an iterable and report after each how far the job has come.

    Args:
        iterable: anything that can be iterated over.
        total: how many items there are; None: as many as ``len`` says, and without a length only the count is
            reported, as a message.

    Raises:
        JobCanceled: the job was canceled.
    """
    job = current_job()
    if job is None:
        yield from iterable
        return
    size = total if total is not None else _length(iterable)
    for done, item in enumerate(iterable):
        job.check()
        _report(job, done, size)
        yield item
    job.check()


def _text(message: object) -> str | None:
    """Return a message as a text that can be stored, whatever the handler has passed."""
    return None if message is None else str(message).encode("utf-8", "replace").decode()


def _report(job: RunningJob, done: int, size: int | None) -> None:
    if size:
        job.report(min(100, 100 * done // size), None)
    else:
        job.report(None, f"{done} done")


def _length(iterable: Iterable[object]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  asking is the way to know
    except TypeError:
        return None
