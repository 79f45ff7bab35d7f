"""What many requests ask of a SQLite file at the same time, done by one statement for all of them.

Python lets go of its lock for each statement, and has to wait for it again while an event loop is busy; so what counts
is how many statements a batch takes. Most of a batch are new jobs, jobs that begin, and ends of those.

Bytes are bound as a `bytearray`, and NULL by leaving a column out: of other types than that, `str`, `int` and `float`
Python's sqlite3 asks, for each value, whether somebody adapts it, which takes longer than to copy a record.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from deferit._core.commands import Create, Finish
from deferit._core.job import Job, Status
from deferit._core.rules import wake_at
from deferit._records import encode_job
from deferit.exceptions import DeferitError, JobExists, QueueFull
from deferit.stores import _sqlite_statements as sql

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from deferit._core.commands import Command
    from deferit.stores._sqlite_queues import Queues

INLINE = 8_192
"""Bytes of a request or a result that lie in the job's row, which is rewritten with each change; longer ones don't."""

LARGEST = 32
"""Rows that one statement writes at the most: for each number of them it is prepared once, and kept."""

MOST_HELD = 4_096
"""Running jobs that are remembered."""


class Surprise(Exception):
    """The file is not what a group takes it to be: its commands have to be done one by one."""


class Held:
    """Running jobs as this process has written them last, each with its record.

    Whoever ends one need not read it before; that nobody else has changed it since, the statement that writes it looks.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Job, bytes]] = {}

    def keep(self, job: Job, record: bytes) -> None:
        """Remember a job that runs; forget one that doesn't."""
        if job.status is not Status.RUNNING:
            self._jobs.pop(job.id, None)
            return
        if len(self._jobs) >= MOST_HELD:
            self._jobs.clear()  # those that others have ended were never forgotten
        self._jobs[job.id] = (job, record)

    def get(self, job_id: str) -> tuple[Job, bytes] | None:
        """Return a job and its record, if it is known."""
        return self._jobs.get(job_id)

    def clear(self) -> None:
        """Forget all of them: what was written last was not committed."""
        self._jobs.clear()


class Group:
    """New jobs, and ends of jobs that are held: none of them looks at another."""

    def __init__(
        self,
        execute: Callable[..., sqlite3.Cursor],
        held: Held,
        queues: Queues,
        changed: list[str],
    ) -> None:
        """Write through ``execute``; ``changed`` gets the ids of all that is written."""
        self._execute = execute
        self._held = held
        self._queues = queues
        self._changed = changed

    def takes(self, command: Command) -> bool:
        """Whether a command can be done together with others."""
        if isinstance(command, Create):
            return (
                command.job.identity is None
                and len(command.request) <= INLINE
                and not command.counts_owned
                and (command.is_ready or command.lease_until is not None)
            )
        if isinstance(command, Finish):
            return (
                command.retry_at is None
                and (command.result is None or command.result.chunks <= 1)
                and len(command.body) <= INLINE
                and self._is_plain(command.job_id)
            )
        return False

    def _is_plain(self, job_id: str) -> bool:
        """Whether a job is held, and its end changes no columns but those of every end."""
        held = self._held.get(job_id)
        if held is None or held[0].callback is not None:
            return False
        identity = held[0].identity
        return identity is None or not identity.while_unfinished

    def do(self, commands: Sequence[Command]) -> list[object]:
        """Execute commands, each of which it takes; return their answers.

        Raises:
            Surprise: they have to be done one by one, in another transaction.
        """
        creates = [command for command in commands if isinstance(command, Create)]
        finishes = [command for command in commands if isinstance(command, Finish)]
        created, ended = self._create(creates), self._finish(finishes)
        return [next(created if isinstance(command, Create) else ended) for command in commands]

    def _create(self, creates: list[Create]) -> Iterator[object]:
        if len({create.job.id for create in creates}) < len(creates):
            raise Surprise
        try:
            begun = [self._new(create) for create in creates if create.lease_until is not None]
            self._write(_create_statement, begun)
            waiting = [create for create in creates if create.lease_until is None]
            refused = self._line_up(waiting) if waiting else {}
        except UnicodeEncodeError as exc:  # of one of them
            raise Surprise from exc
        return (refused.get(create.job.id) or create.answer(create.job) for create in creates)

    def _line_up(self, creates: list[Create]) -> dict[str, Exception]:
        """Write jobs that wait; return why there is no room for the others, by their ids."""
        refused: dict[str, Exception] = {}
        rows = []
        for create in creates:
            try:
                self._queues.admit(create)
            except (QueueFull, JobExists) as exc:
                refused[create.job.id] = exc
            else:
                rows.append((*self._new(create), self._queues.enter(create)))
        self._write(_create_waiting_statement, rows)
        return refused

    def _new(self, create: Create) -> tuple[object, ...]:
        job, record = create.job, encode_job(create.job)
        self._held.keep(job, record)
        self._changed.append(job.id)
        return (
            job.id,
            job.application,
            job.owner,
            job.status.value,
            job.attempt,
            wake_at(job, create.lease_until),
            job.queue,
            bytearray(record),
            bytearray(create.request),
        )

    def claim(self, jobs: list[Job], lease_until: float) -> dict[str, bytes | None]:
        """Take down jobs that have been claimed; return their captured requests, None for those that are long."""
        requests: dict[str, bytes | None] = {}
        for some in _groups([self._claimed(job, lease_until) for job in jobs]):
            requests.update(self._execute(_claim_statement(len(some)), [*chain(*some)]).fetchall())
        return requests

    def _claimed(self, job: Job, lease_until: float) -> tuple[object, ...]:
        record = encode_job(job)
        self._held.keep(job, record)
        self._changed.append(job.id)
        return (job.id, job.attempt, wake_at(job, lease_until), bytearray(record))

    def _finish(self, finishes: list[Finish]) -> Iterator[Job]:
        jobs, rows = [], []
        for finish in finishes:
            held = self._held.get(finish.job_id)
            if held is None:
                raise Surprise
            try:
                job = finish.apply(held[0])
            except DeferitError as exc:
                raise Surprise from exc
            jobs.append(job)
            self._changed.append(job.id)
            rows.append(self._ended(job, finish.body, held[1]))
        self._write(_finish_statement, rows)
        for some in _groups([(job.id,) for job in jobs]):
            self._execute(_drop_statement(len(some)), [*chain(*some)])
        return iter(jobs)

    def _ended(self, job: Job, body: bytes, before: bytes) -> tuple[object, ...]:
        record = encode_job(job)
        self._held.keep(job, record)
        has_body = job.result is not None and job.result.chunks
        return (
            job.id,
            bytearray(before),
            job.status.value,
            wake_at(job, None),
            bytearray(record),
            bytearray(body) if has_body else None,
        )

    def _write(self, statement: Callable[[int], str], rows: list[tuple[object, ...]]) -> None:
        for some in _groups(rows):
            if self._execute(statement(len(some)), [*chain(*some)]).rowcount != len(some):
                raise Surprise


def _groups(rows: list[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    """Yield rows in groups of which a statement takes one."""
    for start in range(0, len(rows), LARGEST):
        yield rows[start : start + LARGEST]


@lru_cache
def _create_statement(count: int) -> str:
    return sql.CREATE_MANY.format(rows=_rows(count, sql.CREATE_MANY_COLUMNS))


@lru_cache
def _create_waiting_statement(count: int) -> str:
    return sql.CREATE_MANY_WAITING.format(rows=_rows(count, sql.CREATE_MANY_WAITING_COLUMNS))


@lru_cache
def _claim_statement(count: int) -> str:
    return sql.CLAIM_MANY.format(rows=_rows(count, sql.CLAIM_MANY_COLUMNS))


@lru_cache
def _finish_statement(count: int) -> str:
    return sql.FINISH_MANY.format(rows=_rows(count, sql.FINISH_MANY_COLUMNS))


@lru_cache
def _drop_statement(count: int) -> str:
    return sql.DROP_PIECES_MANY.format(ids=", ".join("?" * count))


def _rows(count: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * count)
