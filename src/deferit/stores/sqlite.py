"""Jobs kept in one SQLite file, shared by all processes of a machine."""

from __future__ import annotations

import os
import sqlite3
from itertools import groupby, islice
from typing import TYPE_CHECKING, assert_never

from deferit._core.commands import (
    ORPHANED,
    Append,
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Dispatch,
    Finish,
    Observe,
    Placed,
    Purge,
    SettleCallback,
    Sweep,
    Swept,
)
from deferit._core.ids import prefix_at
from deferit._core.job import Status
from deferit._core.queries import Changed, Changes, Due, Get, History, List, Load, Position
from deferit._core.remains import Remains
from deferit._core.rules import offered_at, remembered, swept, wake_at
from deferit._records import decode_history, decode_job, encode, encode_job, salvage
from deferit.exceptions import (
    JobExists,
    JobNotFound,
    OptionError,
    RecordDamaged,
    StoreUnavailable,
)
from deferit.stores import _sqlite_statements as sql
from deferit.stores._sqlite_file import DatabaseFile, Line, Transaction
from deferit.stores._sqlite_groups import INLINE, Group, Held, Surprise
from deferit.stores._sqlite_queues import Queues, position
from deferit.stores.base import Performer, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from deferit._core.commands import Change, Command
    from deferit._core.job import Job
    from deferit._core.queries import Query

KEPT_CHANGES = 10_000
"""Batches that `Changes` can look back on."""

AFTER_ALL_IDS = "job_~"

REQUEST = -1
"""The position, among the pieces of attempt 0, of a captured request that is too long for its row."""


class SQLiteStore(Store):
    """Keeps jobs in a SQLite file, named ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.

    The file is private to the user (mode 0600). What is committed outlives a power cut; with ``?synchronous=normal`` at
    the end of the URL only a crash of the process, which is worth it on disks that are slow to sync.

    If the file is removed or replaced, the next call fails and
    the one after that goes on with the new file.

    Raises:
        OptionError: the URL names no file.
    """

    reads_are_quick = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._file = DatabaseFile(url)
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._writer = Line(self._file)
        self._reader = Line(self._file, read_only=True)
        self._held = Held()

    def check(self) -> None:
        """Look at the directory, and at the file if there is one."""
        problem = self._file.problem()
        if problem:
            raise OptionError(f"store={self.url!r}: {problem}")

    def open(self) -> None:
        """Make the file or bring it up to date, and connect to it twice: once to write, once to read."""
        if self._process != os.getpid():
            # If it was not Python that forked, they are still connected, and must not even be closed in this process.
            _ABANDONED.extend((self._writer, self._reader))
            self._begin()
        self._writer.open()
        self._reader.open()

    def close(self) -> None:
        """Disconnect, after the batch that is under way."""
        self._reader.close()
        self._writer.close()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Execute commands between BEGIN IMMEDIATE and COMMIT."""
        try:
            with self._writer as connection:
                return self._executed(connection, batch)
        except StoreUnavailable:
            # Both connections of a process share what SQLite knows of the file: opened while it could not be written,
            # the one for reading would keep a new one for writing from it for ever.
            self._reader.renew()
            raise

    def _executed(self, connection: sqlite3.Connection, batch: Sequence[Command]) -> list[object]:
        try:
            with Transaction(connection, "IMMEDIATE"):
                return _Batch(connection, self._held).execute(batch)
        except Surprise:
            self._held.clear()
            with Transaction(connection, "IMMEDIATE"):
                return _Batch(connection, self._held).execute_each(batch)
        except BaseException:
            self._held.clear()
            raise

    def read(self, query: Query) -> object:  # noqa: PLR0911  one for each query
        """Answer a query from the connection for reading, one thread at a time."""
        with self._reader as connection:
            match query:
                case Get():
                    return _get(connection, query.job_id)
                case Load():
                    return _load(connection, query)
                case Position():
                    return position(connection.execute, query.job_id, query.most)
                case Due():
                    return _is_due(connection, query)
                case List():
                    return _list(connection, query)
                case History():
                    return _history(connection, query)
                case Changes():
                    return _changes(connection, query.since)
            assert_never(query)

    def version(self) -> int:
        """Return SQLite's count of commits by others than the connection for reading, so by this process too."""
        with self._reader as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            return self._reader.generation << 32 | int(version)


_ABANDONED: list[Line] = []


class _Batch(Performer):
    """Executes commands in the transaction that is open.

    Each decides before it writes, so that one that fails has changed nothing.
    """

    ends_the_batch = (sqlite3.Error,)

    def __init__(self, connection: sqlite3.Connection, held: Held) -> None:
        self._execute = connection.execute
        self._held = held
        self._changed: list[str] = []
        self._queues = Queues(connection.execute, self._decoded)
        self._group = Group(connection.execute, held, self._queues, self._changed)

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Execute commands, those together that can be.

        Raises:
            Surprise: it has to be done one by one, in another transaction.
        """
        answers: list[object] = []
        for is_group, commands in groupby(batch, self._group.takes):
            if is_group:
                answers += self._group.do(list(commands))
            else:
                answers += [self._answer(command) for command in commands]
        self._note_changes()
        return self._placed(answers)

    def execute_each(self, batch: Sequence[Command]) -> list[object]:
        """Execute commands one by one."""
        answers = [self._answer(command) for command in batch]
        self._note_changes()
        return self._placed(answers)

    def _note_changes(self) -> None:
        if self._changed:
            ids = " ".join(dict.fromkeys(self._changed))
            self._execute("INSERT INTO changes (ids) VALUES (?)", (ids,))

    def _placed(self, answers: list[object]) -> list[object]:
        """Add what is in front of new jobs that wait, after all that the batch has changed."""
        places = self._queues.places()
        if not places:
            return answers
        return [
            Placed(answer.job, places.get(answer.job.id)) if isinstance(answer, Placed) else answer
            for answer in answers
        ]

    def _perform(self, command: Command) -> object:
        try:
            return super()._perform(command)
        finally:
            if not isinstance(command, Create):
                self._queues.forget()

    def _create(self, command: Create) -> Job:
        job, request = command.job, command.request
        same = self._same(command)
        if same is not None:
            return same
        self._queues.admit(command)
        is_long, record = len(request) > INLINE, encode_job(job)
        row = (
            job.id,
            job.application,
            job.owner,
            job.key,
            job.status.value,
            job.attempt,
            wake_at(job, command.lease_until),
            record,
            None if is_long else request,
            job.queue,
            self._queues.enter(command),
        )
        if not self._execute(sql.CREATE, row).rowcount:
            self._queues.forget()
            raise JobExists(job.id)
        if is_long:
            self._execute(sql.APPEND, (job.id, 0, REQUEST, request))
        self._held.keep(job, record)
        self._changed.append(job.id)
        return job

    def _same(self, command: Create) -> Job | None:
        """Return the job that the same request has made before; one that only had the key loses it."""
        key = command.job.key
        row = self._execute(sql.KEYED, (key,)).fetchone() if key else None
        if row is None:
            return None
        other = self._decoded(*row)
        if command.found(other):
            return other
        if self._job(command.job.id) is not None:
            raise JobExists(command.job.id)
        self._execute(sql.FREE_KEY, (other.id,))
        return None

    def _append(self, command: Append) -> None:
        job = self._job(command.job_id)
        if command.attempt == 0:
            if job is not None:
                raise JobExists(command.job_id)
        elif job is None:
            raise JobNotFound(command.job_id)
        else:
            job.held_by(command.attempt)
        self._execute(sql.APPEND, (command.job_id, command.attempt, command.index, command.data))

    def _claim(self, command: Claim) -> tuple[Claimed, ...]:
        found = self._queues.next(command) if command.job_id is None else self._named(command)
        jobs = [job.claimed(command.now) for job in found]
        requests = self._group.claim(jobs, command.lease_until)
        return tuple(Claimed(job, self._request(job, requests[job.id])) for job in jobs)

    def _named(self, command: Claim) -> list[Job]:
        """Return the job that a claim names, if it may be taken."""
        job = self._job(command.job_id or "")
        if job is None or job.status is not Status.ACCEPTED or job.is_early(command.now):
            return []
        return [job] if self._queues.has_room(job) else []

    def _request(self, job: Job, request: bytes | None) -> bytes:
        """Return a captured request; one that is long lies beside its job."""
        if request is not None:
            return request
        row = self._execute(sql.PIECE, (job.id, 0, REQUEST)).fetchone()
        return bytes(row[0]) if row else b""  # gone: then the job fails, and no other

    def _dispatch(self, command: Dispatch) -> tuple[Job, ...]:
        jobs = self._queues.next(command)
        for before, job in enumerate(jobs):
            offer = (offered_at(command.now, before), command.again_at, job.id)
            self._execute(sql.OFFER, offer)
        return tuple(jobs)

    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        return self._execute(sql.RENEW, (lease_until, *lease)).rowcount == 1

    def _change(self, command: Change) -> Job:
        before = self._job(command.job_id)
        if before is None:
            raise JobNotFound(command.job_id)
        job = command.apply(before)
        if job != before:
            self._keep(job, command.body if isinstance(command, Finish) else b"")
        return job

    def _purge(self, command: Purge) -> bool:
        job = self._job(command.job_id)
        if job is None:
            raise JobNotFound(command.job_id)
        if not job.is_finished or job.revision != command.revision:
            return False
        self._forget(job.id)
        return True

    def _sweep(self, command: Sweep) -> Swept:
        due = (command.now, max(command.limit, 0))
        lost, over = (
            self._execute(sql.LOST, due).fetchall(),
            self._execute(sql.OVER, due).fetchall(),
        )
        moved = [self._swept(self._decoded(*row), command.now) for row in lost + over]
        orphans = self._drop_orphans(command)
        self._execute(sql.TRIM_CHANGES, (KEPT_CHANGES,))
        is_done = max(len(lost), len(over), orphans) < command.limit
        return Swept(tuple(job for job in moved if job), is_done)

    def _swept(self, before: Job, now: float) -> Job | None:
        """Do what is due about a job; return it if its status changed."""
        job = swept(before, now)
        if job is None:
            self._forget(before.id)
            return None
        self._keep(job)
        return job if job.status is not before.status else None

    def _claim_callbacks(self, command: ClaimCallbacks) -> tuple[Job, ...]:
        due = (command.application, command.now, max(command.limit, 0))
        jobs = [self._decoded(*row) for row in self._execute(sql.DUE_CALLBACKS, due).fetchall()]
        return tuple(self._with_callback(command.apply(job)) for job in jobs if job.callback)

    def _settle_callback(self, command: SettleCallback) -> Job:
        job = self._job(command.job_id)
        if job is None:
            raise JobNotFound(command.job_id)
        return self._with_callback(command.apply(job))

    def _with_callback(self, job: Job) -> Job:
        self._execute(sql.KEEP_CALLBACK, (job.callback_at, encode_job(job), job.id))
        return job

    def _drop_orphans(self, command: Sweep) -> int:
        early = (prefix_at(command.now - ORPHANED), max(command.limit, 0))
        orphans = self._execute(sql.ORPHANS, early).fetchall()
        for (job_id,) in orphans:
            self._execute(sql.DROP_PIECES, (job_id,))
        return len(orphans)

    def _observe(self, command: Observe) -> None:
        route = (command.application, command.route)
        row = self._execute(sql.HISTORY, route).fetchone()
        known = decode_history(row[0]) if row else ()
        seconds = encode(remembered(known, command.seconds))
        self._execute(sql.KEEP_HISTORY, (*route, seconds))

    def _job(self, job_id: str) -> Job | None:
        row = self._execute(sql.GET, (job_id,)).fetchone()
        return self._decoded(*row) if row else None

    def _decoded(self, job_id: str, record: bytes) -> Job:
        """Return a job; one whose record is damaged is set aside first: it has failed, and nobody selects it again."""
        job, is_damaged = _decoded(self._execute, job_id, record)
        if is_damaged:
            self._keep(job)
        return job

    def _keep(self, job: Job, body: bytes = b"") -> None:
        record = encode_job(job)
        self._held.keep(job, record)
        if job.status is Status.RUNNING:
            self._execute(sql.REPORT, (record, job.id))
        elif job.status is Status.ACCEPTED:
            self._execute(sql.RETURN, (wake_at(job, None), record, job.id))
            self._execute(sql.DROP_RESULT, (job.id,))
        else:
            self._finish(job, record, body)
        self._changed.append(job.id)

    def _finish(self, job: Job, record: bytes, body: bytes) -> None:
        chunks = job.result.chunks if job.result else 0
        is_short = chunks == 1 and len(body) <= INLINE
        row = (
            job.status.value,
            wake_at(job, None),
            record,
            body if is_short else None,
            job.key,
            job.callback_at,
            job.id,
        )
        self._execute(sql.FINISH, row)
        self._execute(sql.DROP_ALL_BUT_RESULT, (job.id, job.attempt, chunks - 1))
        if chunks and not is_short:
            self._execute(sql.APPEND, (job.id, job.attempt, chunks - 1, body))

    def _forget(self, job_id: str) -> None:
        self._execute(sql.FORGET, (job_id,))
        self._execute(sql.DROP_PIECES, (job_id,))
        self._changed.append(job_id)


def _decoded(
    execute: Callable[..., sqlite3.Cursor], job_id: str, record: bytes
) -> tuple[Job, bool]:
    """Return a job, and whether its record was damaged, so that it is what the columns tell."""
    try:
        return decode_job(record), False
    except RecordDamaged as exc:
        application, owner, key, queue, status, *rest = execute(sql.REMAINS, (job_id,)).fetchone()
        remains = Remains(job_id, application, owner, key, queue, Status(status), *rest)
        return salvage(remains, exc), True


def _get(connection: sqlite3.Connection, job_id: str) -> Job:
    row = connection.execute(sql.GET, (job_id,)).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return _decoded(connection.execute, *row)[0]


def _load(connection: sqlite3.Connection, query: Load) -> bytes:
    piece = (query.job_id, query.attempt, query.index)
    row = connection.execute(sql.LOAD, piece).fetchone()
    if row is None:
        raise JobNotFound(query.job_id)
    return bytes(row[0])


def _is_due(connection: sqlite3.Connection, query: Due) -> bool:
    (is_due,) = connection.execute(sql.DUE, (query.application, query.now)).fetchone()
    return bool(is_due)


def _list(connection: sqlite3.Connection, query: List) -> tuple[Job, ...]:
    status = query.status.value if query.status else None
    before = query.before or AFTER_ALL_IDS
    rows: Iterable[tuple[str, bytes]]
    if query.owner is None:
        rows = connection.execute(sql.LIST_ALL, (query.application, before, status))
    else:
        rows = connection.execute(sql.LIST, (query.owner, query.application, before, status))
    jobs = (_decoded(connection.execute, *row)[0] for row in rows)
    return tuple(islice((job for job in jobs if query.includes(job)), query.limit))


def _history(connection: sqlite3.Connection, query: History) -> tuple[float, ...]:
    row = connection.execute(sql.HISTORY, (query.application, query.route)).fetchone()
    return decode_history(row[0]) if row else ()


def _changes(connection: sqlite3.Connection, since: int) -> Changed:
    (cursor,) = connection.execute(sql.CURSOR).fetchone()
    if since < 0 or since == cursor:
        return Changed(cursor, ())
    if since > cursor:
        since = 0  # it is of a file that was here before
    rows = connection.execute(sql.CHANGES, (since, cursor)).fetchall()
    return Changed(cursor, tuple({job_id: None for (ids,) in rows for job_id in ids.split()}))
