"""What waits in a SQLite file: how much of it, whose turn it is, and where a new job stands."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from deferit._core.commands import MOST_READY, Dispatch
from deferit._core.job import Status
from deferit._core.queries import MOST_AHEAD, Ahead
from deferit._core.rules import in_order, next_turn, room
from deferit.exceptions import JobExists, QueueFull, TooManyJobs
from deferit.stores import _sqlite_statements as sql

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from deferit._core.commands import Claim, Create
    from deferit._core.job import Job


class Queues:
    """The queues as one transaction sees them.

    What is asked for new jobs is remembered from one to the next, until something else changes what waits: then
    `forget`.
    """

    def __init__(
        self, execute: Callable[..., sqlite3.Cursor], decoded: Callable[[str, bytes], Job]
    ) -> None:
        """Ask through ``execute``; ``decoded`` makes a job of its id and its record."""
        self._execute = execute
        self._decoded = decoded
        self._new: list[Job] = []
        self.forget()

    def forget(self) -> None:
        """Look again at what waits."""
        self._counts: dict[tuple[str, int], int] = {}
        self._heads: dict[tuple[str, str], int | None] = {}
        self._lasts: dict[tuple[str, str, str | None], int | None] = {}

    # --- new jobs ----------------------------------------------------------------------------------------------------

    def admit(self, create: Create) -> None:
        """Do nothing if there is room for a new job.

        Raises:
            JobExists: it is there already, and has taken the room itself.
            TooManyJobs: its owner has too many.
            QueueFull: too many wait.
        """
        job = create.job
        try:
            create.admit(partial(self._count, job.application), partial(self._count_owned, job))
        except (QueueFull, TooManyJobs):
            if self._execute(sql.GET, (job.id,)).fetchone():
                raise JobExists(job.id) from None
            raise

    def _count(self, application: str, most: int) -> int:
        asked = application, most
        if asked not in self._counts:
            (self._counts[asked],) = self._execute(sql.COUNT_WAITING, asked).fetchone()
        return self._counts[asked]

    def _count_owned(self, job: Job, most: int) -> int:
        (count,) = self._execute(sql.COUNT_OWNED, (job.application, job.owner, most)).fetchone()
        return int(count)

    def enter(self, create: Create) -> int | None:
        """Take note of a new job; return its turn, None if it is early or does not wait."""
        job = create.job
        if job.status is not Status.ACCEPTED:
            return None
        for application, most in self._counts:
            self._counts[application, most] += application == job.application
        if create.asks_place:
            self._new.append(job)
        return self._next_turn(job.application, job.queue, job.owner) if create.is_ready else None

    def places(self) -> dict[str, Ahead]:
        """Return what is in front of the new jobs that asked for it, by their ids."""
        lanes: dict[tuple[str, str, str | None], list[str]] = {}
        for job in self._new:
            lanes.setdefault((job.application, job.queue, job.owner), []).append(job.id)
        places: dict[str, Ahead] = {}
        for (application, queue, _), ids in lanes.items():
            places |= self._places(application, queue, ids)
        return places

    def _places(self, application: str, queue: str, ids: list[str]) -> dict[str, Ahead]:
        """Return the same for jobs of one owner, of which each that is ready stands behind those before it."""
        places: dict[str, Ahead] = {}
        for job_id in ids:
            if job_id in places:
                continue
            first = places[job_id] = position(self._execute, job_id)
            most = max(1, MOST_AHEAD - first.jobs)
            line = self._execute(sql.LINE, (application, queue, job_id, most)).fetchall()
            for place, (other,) in enumerate(line, first.jobs):
                places[other] = Ahead(place, first.running)
            if len(line) == most:
                far = Ahead(MOST_AHEAD, first.running)
                return {other: places.get(other, far) for other in ids}
        return places

    # --- whose turn it is --------------------------------------------------------------------------------------------

    def next(self, command: Claim | Dispatch) -> list[Job]:
        """Return the jobs whose turn it is; offers that were lost come first."""
        again = self._again(command)
        limit = command.limit - len(again)
        queues = self._execute(sql.QUEUES, (command.application,)).fetchall()
        candidates = [self._candidates(command.application, queue, limit) for (queue,) in queues]
        return again + in_order(candidates, limit)

    def has_room(self, job: Job) -> bool:
        """Whether a job that waits may be taken; if not it becomes ready."""
        if self._room(job, 1):
            return True
        self._make_ready(job.id, job.application, job.queue, job.owner)
        return False

    def _again(self, command: Claim | Dispatch) -> list[Job]:
        """Make ready what is due, less the offers that are to be repeated, which are returned."""
        lost = []
        early = (command.application, command.now, MOST_READY)
        for job_id, queue, owner, offered in self._execute(sql.EARLY, early).fetchall():
            if offered is not None and isinstance(command, Dispatch):
                lost.append(job_id)
            else:
                self._make_ready(job_id, command.application, queue, owner)
        rows = (self._execute(sql.GET, (job_id,)).fetchone() for job_id in lost)
        jobs = (job for row in rows if not (job := self._decoded(*row)).is_finished)
        return list(islice(jobs, max(command.limit, 0)))

    def _candidates(self, application: str, queue: str, limit: int) -> list[Job]:
        jobs = self._ready(application, queue, max(limit, 0))
        return jobs[: self._room(jobs[0], limit)] if jobs else []

    def _ready(self, *ready: object) -> list[Job]:
        """Return the first ready jobs of a queue; where some are set aside, others move up."""
        while True:
            rows = self._execute(sql.READY, ready).fetchall()
            jobs = [self._decoded(*row) for row in rows]
            if not any(job.is_finished for job in jobs):
                return jobs

    def _room(self, job: Job, limit: int) -> int:
        if job.slots is None:
            return room(None, 0, limit)
        (running,) = self._execute(sql.COUNT_RUNNING, (job.application, job.queue)).fetchone()
        return room(job.slots, running, limit)

    def _make_ready(self, job_id: str, application: str, queue: str, owner: str | None) -> None:
        """Give an early job its turn; a ready one has its own."""
        turn = self._next_turn(application, queue, owner)
        self._execute(sql.MAKE_READY, (turn, job_id))

    def _next_turn(self, application: str, queue: str, owner: str | None) -> int:
        """Return the turn of a job that becomes ready, and take note that it has it."""
        of_queue, of_owner = (application, queue), (application, queue, owner)
        if of_queue not in self._heads:
            (self._heads[of_queue],) = self._execute(sql.HEAD, of_queue).fetchone()
        if of_owner not in self._lasts:
            (self._lasts[of_owner],) = self._execute(sql.LAST, of_owner).fetchone()
        head = self._heads[of_queue]
        turn = self._lasts[of_owner] = next_turn(head, self._lasts[of_owner])
        self._heads[of_queue] = turn if head is None else head
        return turn


def position(execute: Callable[..., sqlite3.Cursor], job_id: str, most: int = MOST_AHEAD) -> Ahead:
    """Count what is in front of a job, as far as ``most``."""
    row = execute(sql.POSITION, (job_id, most)).fetchone()
    return Ahead(*row) if row else Ahead(0, 0)
