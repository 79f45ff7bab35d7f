"""The closed set of questions that a store answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from deferit._core.job import Job, Status

MOST_AHEAD = 1_000
"""Waiting jobs that are counted for a client; a position behind more of them is not told."""


class Get(msgspec.Struct, frozen=True, gc=False):
    """Read a job by its id; raises `JobNotFound`."""

    job_id: str


class Load(msgspec.Struct, frozen=True, gc=False):
    """Read one piece of a body (see `Append`)."""

    job_id: str
    attempt: int
    index: int


class Position(msgspec.Struct, frozen=True, gc=False):
    """Count what is in front of a waiting job, as far as ``most``; the answer is `Ahead`.

    Counting takes a store longer the more there are; beyond some length nobody needs to know.
    """

    job_id: str
    most: int = MOST_AHEAD


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """What is in front of a waiting job.

    ``jobs`` are those of its queue that wait in front of it: the offered ones (`Dispatch`), and then the ready ones
    whose turn is before its own, all of them if it is early; 0 if it does not wait. ``running`` are the running ones of
    its application, in any queue. Both are 0 for a job that is unknown.
    """

    jobs: int
    running: int


class Due(msgspec.Struct, frozen=True, gc=False):
    """Whether a job of an application could be claimed: one is ready, or early or offered and due."""

    application: str
    now: float


class List(msgspec.Struct, frozen=True, gc=False):
    """Read the jobs of an application, newest first; the answer is a tuple of at most ``limit`` jobs.

    ``owner``, ``status`` and ``route`` None mean any; ``before`` is the id of a job, whose successors in that order are
    meant.
    """

    application: str
    owner: str | None
    status: Status | None
    limit: int
    before: str | None
    route: str | None = None

    def includes(self, job: Job) -> bool:
        """Whether a job belongs to what is asked for."""
        return (
            job.application == self.application
            and self.owner in {None, job.owner}
            and self.status in {None, job.status}
            and self.route in {None, job.route}
            and (self.before is None or job.id < self.before)
        )


class History(msgspec.Struct, frozen=True, gc=False):
    """Read how many seconds the handler of a route took, each time, oldest first; the answer is a tuple (`Observe`)."""

    application: str
    route: str


class Changes(msgspec.Struct, frozen=True, gc=False):
    """Which jobs were changed since a cursor, by anybody; the answer is `Changed`. Cursor -1 means: from now on.

    What leaves the job as a client sees it (`Renew`, `Append`, what becomes of its callback, a change that changes
    nothing) does not count. Stores look back on the last thousands of batches; a cursor that is older, or from another
    store, gets all that is kept.
    """

    since: int


class Changed(msgspec.Struct, frozen=True, gc=False):
    """The ids of jobs that were created, changed or purged, and where to go on from."""

    cursor: int
    job_ids: tuple[str, ...]


Query: TypeAlias = Get | Load | Position | Due | List | History | Changes
"""What is read: past the committer, from any thread."""
QUERIES = (Get, Load, Position, Due, List, History, Changes)
