"""A job's life as server-sent events (WHATWG HTML §9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deferit._core.document import event
from deferit._core.effects import Foresee, Now, ShuttingDown, Wait
from deferit._core.http import Body
from deferit._core.job import Job  # noqa: TC001  a dataclass's fields are read at run time
from deferit.exceptions import StoreError

if TYPE_CHECKING:
    from collections.abc import Generator

    from deferit._core.document import Site
    from deferit._core.estimate import Outlook

KEEP_ALIVE = 15.0
"""Seconds after which a comment is sent if nothing else is, as the standard's authoring notes advise."""

RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a client that was cut off comes back."""


@dataclass(frozen=True)
class Events(Body):
    """The status document now, unless the client has that revision, then at each change to the end."""

    job: Job
    site: Site
    known: str | None

    length = None

    def steps(self) -> Generator[Any, Any, None]:
        """Send, wait for a change, send; the stream ends with the job, or with the process."""
        yield RETRY
        if self.known != str(self.job.revision):
            yield (yield from self._event(self.job))
        try:
            yield from self._changes(self.job)
        except (ShuttingDown, StoreError):
            return  # the client comes back and is told what is so then

    def _changes(self, job: Job) -> Generator[Any, Any, None]:
        while not job.is_finished:
            after: Job = yield Wait(job, KEEP_ALIVE, job.revision)
            if after.revision == job.revision:
                yield b": waiting\n\n"
            else:
                yield (yield from self._event(after))
            job = after

    def _event(self, job: Job) -> Generator[Any, Any, bytes]:
        if job.is_finished:
            now: float = yield Now()
            return event(job, self.site, now, None)
        outlook: Outlook = yield Foresee(job)
        return event(job, self.site, outlook.now, outlook)
