"""Executes a batch of commands in one transaction of PostgreSQL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import psycopg
from msgspec.structs import replace

from deferit._core.commands import (
    MOST_READY,
    ORPHANED,
    Append,
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Dispatch,
    Finish,
    Observe,
    Purge,
    Renew,
    SettleCallback,
    Sweep,
    Swept,
)
from deferit._core.ids import prefix_at
from deferit._core.job import Status
from deferit._core.rules import REMEMBERED, in_order, offered_at, room, swept, wake_at
from deferit._records import encode_job
from deferit.exceptions import JobExists, JobNotFound
from deferit.stores import _postgres_statements as sql
from deferit.stores._postgres_rows import Row, Rows
from deferit.stores.base import Performer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from psycopg import Pipeline

    from deferit._core.commands import Change, Command
    from deferit._core.job import Job
    from deferit.stores._postgres_facts import Reply
    from deferit.stores._postgres_server import Connection, Server

INLINE = 8_192
"""Bytes of a request or a result that lie in the job's row; longer ones lie among the pieces."""

KEPT_CHANGES = 10_000
"""Batches that `Changes` can look back on."""

REQUEST = -1
"""The position, among the pieces of attempt 0, of a captured request that is too long for its row."""


class Stretch:
    """Where sweeps of this process go on to look for bodies without a job: there may be millions that have one."""

    def __init__(self) -> None:
        self.begin = ""
        """The job behind which the next sweep looks."""

    def find(self, send: Callable[..., Reply], before: str, limit: int) -> list[str]:
        """Return such jobs among the next ones, up to ``limit``."""
        reply = send(sql.ORPHANS, self.begin, before, limit)
        end: str | None
        job_ids: list[str]
        ((end, job_ids),) = reply()
        self.begin = job_ids[-1] if job_ids and len(job_ids) == limit else end or ""
        return job_ids


class Batch(Performer):
    """Executes commands in a transaction that is open.

    First it locks and reads all the jobs that its commands name. Then each command decides before it changes
    anything, so that one that fails has changed nothing. Other processes are waited for only in the first step: the
    selections of `Claim`, `Sweep` and the like pass over what is locked.
    """

    ends_the_batch = (psycopg.Error,)

    def __init__(
        self, connection: Connection, pipeline: Pipeline, server: Server, stretch: Stretch
    ) -> None:
        self._rows = Rows(connection, pipeline)
        self._stretch = stretch
        self._lock = server.lock
        self._observed: dict[tuple[str, str], list[float]] = {}

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Return the answers, in the order of the commands; all is sent, nothing committed."""
        unwritable = _unwritable(batch)
        self._load([command for command in batch if id(command) not in unwritable])
        answers = [unwritable.get(id(command)) or self._answer(command) for command in batch]
        self._rows.flush()
        for (application, route), seconds in sorted(self._observed.items()):
            self._rows.write(sql.OBSERVE, application, route, seconds)
        return answers

    @property
    def changed(self) -> list[str]:
        """The ids of the jobs that a client sees changed."""
        return list(self._rows.changed)

    @property
    def has_written(self) -> bool:
        """Whether there is anything to commit."""
        return self._rows.has_written

    def _load(self, batch: Sequence[Command]) -> None:
        creates = [command for command in batch if isinstance(command, Create)]
        ids = {job_id for command in batch for job_id in _named(command)}
        keys = {create.job.key for create in creates if create.job.key}
        waits = [self._rows.load(ids, keys), self._rows.facts.ask(creates)]
        for wait in waits:
            wait()
        self._rows.facts.make_sure(creates, self._lock)

    # --- a job begins ------------------------------------------------------------------------------------------------

    def _create(self, command: Create) -> Job:
        job, facts = command.job, self._rows.facts
        other = self._rows.keyed(job.key)
        if other and command.found(other.job):
            return other.job
        if self._rows.get(job.id):
            raise JobExists(job.id)
        command.admit(partial(facts.count_waiting, job), partial(facts.count_owned, job))
        turn = facts.next_turn(job) if command.is_ready else None
        row = Row(job, encode_job(job), wake_at(job, command.lease_until), turn, job.key)
        if other:
            self._rows.free_key(other)
        if len(command.request) <= INLINE:
            row.request = command.request
        else:
            self._rows.append(job.id, 0, REQUEST, command.request)
        self._rows.create(row)
        return job

    def _append(self, command: Append) -> None:
        row = self._rows.get(command.job_id)
        if command.attempt == 0:
            if row:
                raise JobExists(command.job_id)
        elif row is None:
            raise JobNotFound(command.job_id)
        else:
            row.job.held_by(command.attempt)
        self._rows.append(command.job_id, command.attempt, command.index, command.data)

    # --- it is somebody's turn ---------------------------------------------------------------------------------------

    def _claim(self, command: Claim) -> tuple[Claimed, ...]:
        rows = self._next(command) if command.job_id is None else self._that(command)
        absent = [row.job.id for row in rows if row.request is None]
        requests = dict(self._rows.fetch(sql.REQUESTS, absent)) if absent else {}
        return tuple(self._claimed(row, command, requests) for row in rows)

    def _claimed(self, row: Row, command: Claim, requests: dict[str, bytes]) -> Claimed:
        request = requests[row.job.id] if row.request is None else row.request
        self._keep(row, row.job.claimed(command.now), command.lease_until)
        return Claimed(row.job, request or b"")  # gone: then the job fails, and no other

    def _dispatch(self, command: Dispatch) -> tuple[Job, ...]:
        rows = self._next(command)
        for before, row in enumerate(rows):
            place = row.offered_at or offered_at(command.now, before)
            self._rows.keep(row, row.job, command.again_at, None, place)
        return tuple(row.job for row in rows)

    def _that(self, command: Claim) -> list[Row]:
        """Return the row of the job that a claim names, if it may be taken."""
        row = self._rows.get(command.job_id or "")
        if row is None or row.job.status is not Status.ACCEPTED or row.job.is_early(command.now):
            return []
        if any(self._rooms([row.job], 1)):
            return [row]
        if row.turn is None:
            self._make_ready([row])
        return []

    def _next(self, command: Claim | Dispatch) -> list[Row]:
        """Return the rows of the jobs whose turn it is; offers that were lost come first.

        Most have no queue of their own, and few were early: so that is assumed, and asked for at once.
        """
        early = self._rows.select(sql.EARLY, command.application, command.now, MOST_READY)
        names, plain = self._look(command)
        again: list[Row] = []
        if due := early():
            again = self._again(command, [row for row in due if not row.job.is_finished])
            command = replace(command, limit=command.limit - len(again))
            names, plain = self._look(command)
        ready = self._selected(command, names, plain)
        while any(row.job.is_finished for rows in ready for row in rows):
            ready = self._selected(command, *self._look(command))  # where some were set aside
        rooms = self._rooms([rows[0].job for rows in ready], command.limit)
        candidates = [
            [row.job for row in rows[:most]] for rows, most in zip(ready, rooms, strict=True)
        ]
        jobs = in_order(candidates, command.limit)
        return again + [row for job in jobs if (row := self._rows.get(job.id))]

    def _again(self, command: Claim | Dispatch, due: list[Row]) -> list[Row]:
        """Make ready what is due, less the offers that are to be repeated, which are returned."""
        lost = [row for row in due if row.offered_at and isinstance(command, Dispatch)]
        self._make_ready([row for row in due if row not in lost])
        return lost[: max(command.limit, 0)]

    def _look(self, command: Claim | Dispatch) -> tuple[Reply, Callable[[], list[Row]]]:
        """Ask for the names of the queues with ready jobs, and for those in the queue without a name."""
        plain = self._ready(command, "")
        return self._rows.send(sql.QUEUES, command.application, command.application), plain

    def _selected(
        self, command: Claim | Dispatch, names: Reply, plain: Callable[[], list[Row]]
    ) -> list[list[Row]]:
        """Return the first ready rows of each queue that has any."""
        queues = [self._ready(command, name) for (name,) in names() if name]
        return [rows for rows in (plain(), *(queue() for queue in queues)) if rows]

    def _ready(self, command: Claim | Dispatch, queue: str) -> Callable[[], list[Row]]:
        has_requests = isinstance(command, Claim)
        ready = command.application, queue, max(command.limit, 0)
        return self._rows.select(sql.READY, has_requests, *ready)

    def _make_ready(self, rows: list[Row]) -> None:
        facts = self._rows.facts
        facts.ask_lanes(row.job for row in rows)()
        for row in rows:
            self._rows.keep(row, row.job, row.wake_at, facts.next_turn(row.job))

    def _rooms(self, heads: list[Job], limit: int) -> list[int]:
        """Return for the first job of each queue how many of it may be taken.

        If another process is taking jobs of a limited queue right now, none are: it would not see ours, nor we its.
        """
        self._rows.flush()
        asked = {
            job.queue: (
                self._rows.send(sql.TRY_LOCK, self._lock("slots", job.application, job.queue)),
                self._rows.send(sql.COUNT_RUNNING, job.application, job.queue),
            )
            for job in heads
            if job.slots is not None
        }
        counts = {
            queue: running()[0][0] if lock()[0][0] else None
            for queue, (lock, running) in asked.items()
        }
        running = [counts.get(job.queue, 0) for job in heads]
        return [
            0 if count is None else room(job.slots, count, limit)
            for job, count in zip(heads, running, strict=True)
        ]

    # --- it runs, and ends -------------------------------------------------------------------------------------------

    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        job_id, attempt = lease
        row = self._rows.get(job_id)
        if row is None or row.job.status is not Status.RUNNING or row.job.attempt != attempt:
            return False
        self._rows.keep(row, row.job, lease_until)
        return True

    def _change(self, command: Change) -> Job:
        row = self._row(command.job_id)
        job = command.apply(row.job)
        if job != row.job:
            self._keep(row, job, row.wake_at)
            if isinstance(command, Finish) and job.result and job.result.chunks:
                self._keep_body(row, job.result.chunks, command.body)
        return job

    def _keep(self, row: Row, job: Job, lease_until: float | None) -> None:
        """Change a row as a client sees it."""
        self._rows.keep(row, job, wake_at(job, lease_until))
        self._rows.changed[job.id] = None
        if job.is_finished:
            row.key = row.key and job.key
            self._rows.set_body(row, None)
        if job.status is not Status.RUNNING:
            self._rows.keep_pieces(job)

    def _keep_body(self, row: Row, chunks: int, body: bytes) -> None:
        """Keep the last piece of a result, in the row if it is the only one, and short."""
        if chunks == 1 and len(body) <= INLINE:
            self._rows.set_body(row, body)
        else:
            self._rows.append(row.job.id, row.job.attempt, chunks - 1, body)

    def _observe(self, command: Observe) -> None:
        route = command.application, command.route
        self._observed.setdefault(route, []).extend(command.seconds)

    def _claim_callbacks(self, command: ClaimCallbacks) -> tuple[Job, ...]:
        due = command.application, command.now, max(command.limit, 0)
        rows = self._rows.select(sql.DUE_CALLBACKS, *due)()
        return tuple(self._with_callback(row, command) for row in rows if row.job.callback)

    def _settle_callback(self, command: SettleCallback) -> Job:
        return self._with_callback(self._row(command.job_id), command)

    def _with_callback(self, row: Row, command: ClaimCallbacks | SettleCallback) -> Job:
        self._rows.keep(row, command.apply(row.job), row.wake_at, row.turn, row.offered_at)
        return row.job

    # --- it is forgotten ---------------------------------------------------------------------------------------------

    def _purge(self, command: Purge) -> bool:
        row = self._row(command.job_id)
        if not row.job.is_finished or row.job.revision != command.revision:
            return False
        self._rows.forget(row)
        return True

    def _sweep(self, command: Sweep) -> Swept:
        due = command.now, max(command.limit, 0)
        selections = [self._rows.select(statement, *due) for statement in (sql.LOST, sql.OVER)]
        before = prefix_at(command.now - ORPHANED)
        orphans = self._stretch.find(self._rows.send, before, max(command.limit, 0))
        lost, over = (selection() for selection in selections)
        jobs = [self._swept(row, command.now) for row in lost + over]
        self._rows.drop_pieces(orphans)
        self._rows.send(sql.TRIM_CHANGES, self._lock("changes"), KEPT_CHANGES)
        self._rows.send(sql.TRIM_DURATIONS, self._lock("durations"), REMEMBERED)
        is_done = max(len(lost), len(over), len(orphans)) < command.limit
        return Swept(tuple(job for job in jobs if job), is_done)

    def _swept(self, row: Row, now: float) -> Job | None:
        """Do what is due about a job; return it if its status changed."""
        before, job = row.job, swept(row.job, now)
        if job is None:
            self._rows.forget(row)
            return None
        self._keep(row, job, None)
        return job if job.status is not before.status else None

    def _row(self, job_id: str) -> Row:
        row = self._rows.get(job_id)
        if row is None:
            raise JobNotFound(job_id)
        return row


def _named(command: Command) -> Iterator[str]:
    """Yield the ids of the jobs that a command is about; there are no others than of ASCII."""
    match command:
        case Create():
            ids: tuple[str, ...] = (command.job.id,)
        case Renew():
            ids = tuple(job_id for job_id, _ in command.leases)
        case Claim():
            ids = (command.job_id,) if command.job_id else ()
        case Sweep() | Dispatch() | ClaimCallbacks() | Observe():
            ids = ()
        case _:
            ids = (command.job_id,)
    yield from (job_id for job_id in ids if job_id.isascii())


def _unwritable(batch: Sequence[Command]) -> dict[int, Exception]:
    """Return the new jobs that cannot be written, by the identity of their commands, and why."""
    creates = [command for command in batch if isinstance(command, Create)]
    return {id(create): exc for create in creates if (exc := _problem(create.job))}


def _problem(job: Job) -> Exception | None:
    for text in (job.id, job.application, job.queue, job.route, job.owner, job.key):
        if text and "\0" in text:
            return ValueError(f"{text!r} has a NUL character, which PostgreSQL keeps in no text")
    try:
        encode_job(job)
    except UnicodeEncodeError as exc:
        return exc
    return None
