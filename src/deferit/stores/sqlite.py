"""Jobs kept in one SQLite file, shared by all processes of a machine."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, assert_never

from deferit._core.commands import (
    ORPHANED,
    Append,
    Cancel,
    Changed,
    Changes,
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Finish,
    Get,
    List,
    Load,
    Position,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
    swept,
    wake_at,
)
from deferit._core.ids import prefix_at
from deferit._core.job import Status
from deferit._records import decode_job, encode
from deferit.exceptions import JobExists, JobNotFound, OptionError
from deferit.stores._sqlite_file import DatabaseFile, Line, Transaction
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Change, Command, Query
    from deferit._core.job import Job

INLINE = 8_192
"""Bytes of a request or a result that lie in the job's row, which is rewritten with each change; longer ones don't."""

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
        with self._writer as connection, Transaction(connection, "IMMEDIATE"):
            return _Batch(connection).execute(batch)

    def read(self, query: Query) -> object:
        """Answer a query from the connection for reading, one thread at a time."""
        with self._reader as connection:
            match query:
                case Get():
                    return _get(connection, query.job_id)
                case Load():
                    return _load(connection, query)
                case Position():
                    return _position(connection, query)
                case List():
                    return _list(connection, query)
                case Changes():
                    return _changes(connection, query.since)
            assert_never(query)

    def version(self) -> int:
        """Return SQLite's count of commits by others than the connection for reading, so by this process too."""
        with self._reader as connection:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            return self._reader.generation << 32 | int(version)


_ABANDONED: list[Line] = []


class _Batch:
    """Executes commands in the transaction that is open.

    Each decides before it writes, so that one that fails has changed nothing.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._changed: list[str] = []

    def execute(self, batch: Sequence[Command]) -> list[object]:
        answers = [self._answer(command) for command in batch]
        if self._changed:
            ids = " ".join(dict.fromkeys(self._changed))
            self._execute("INSERT INTO changes (ids) VALUES (?)", (ids,))
        return answers

    def _answer(self, command: Command) -> object:
        try:
            return self._perform(command)
        except sqlite3.Error:
            raise
        except Exception as exc:  # noqa: BLE001  it is the answer to whoever asked
            return exc

    def _perform(self, command: Command) -> object:  # noqa: PLR0911  one for each command
        match command:
            case Create():
                return self._create(command)
            case Append():
                self._append(command)
                return None
            case Claim():
                return self._claim(command)
            case Renew():
                return tuple(
                    lease for lease in command.leases if not self._renew(lease, command.lease_until)
                )
            case Purge():
                return self._purge(command)
            case Sweep():
                return self._sweep(command)
            case ClaimCallbacks():
                return self._claim_callbacks(command)
            case SettleCallback():
                return self._settle_callback(command)
            case Report() | Finish() | Release() | Cancel():
                return self._change(command)
        assert_never(command)

    def _create(self, command: Create) -> Job:
        job, request = command.job, command.request
        same = self._same(command)
        if same is not None:
            return same
        is_long = len(request) > INLINE
        row = (
            job.id,
            job.application,
            job.owner,
            job.key,
            job.status.value,
            job.attempt,
            wake_at(job, command.lease_until),
            encode(job),
            None if is_long else request,
        )
        if not self._execute(_CREATE, row).rowcount:
            raise JobExists(job.id)
        if is_long:
            self._execute(_APPEND, (job.id, 0, REQUEST, request))
        self._changed.append(job.id)
        return job

    def _same(self, command: Create) -> Job | None:
        """Return the job that the same request has made before; one that only had the key loses it."""
        key = command.job.key
        row = self._execute(_KEYED, (key,)).fetchone() if key else None
        if row is None:
            return None
        other = decode_job(row[0])
        if command.found(other):
            return other
        if self._job(command.job.id) is not None:
            raise JobExists(command.job.id)
        self._execute(_FREE_KEY, (other.id,))
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
        self._execute(_APPEND, (command.job_id, command.attempt, command.index, command.data))

    def _claim(self, command: Claim) -> tuple[Claimed, ...]:
        due = (command.application, command.now, max(command.limit, 0))
        return tuple(
            self._claimed(decode_job(record), request, command)
            for record, request in self._execute(_WAITING, due).fetchall()
        )

    def _claimed(self, before: Job, request: bytes | None, command: Claim) -> Claimed:
        job = before.claimed(command.now)
        row = (job.attempt, wake_at(job, command.lease_until), encode(job), job.id)
        self._execute(_CLAIM, row)
        self._changed.append(job.id)
        return Claimed(job, self._long_request(job.id) if request is None else request)

    def _long_request(self, job_id: str) -> bytes:
        (request,) = self._execute(_PIECE, (job_id, 0, REQUEST)).fetchone()
        return bytes(request)

    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        return self._execute(_RENEW, (lease_until, *lease)).rowcount == 1

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

    def _sweep(self, command: Sweep) -> tuple[Job, ...]:
        due = (command.now, max(command.limit, 0))
        records = self._execute(_LOST, due).fetchall() + self._execute(_OVER, due).fetchall()
        moved = [self._swept(decode_job(record), command.now) for (record,) in records]
        self._drop_orphans(command)
        self._execute(_TRIM_CHANGES, (KEPT_CHANGES,))
        return tuple(job for job in moved if job)

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
        records = self._execute(_DUE_CALLBACKS, due).fetchall()
        return tuple(
            self._with_callback(command.apply(decode_job(record))) for (record,) in records
        )

    def _settle_callback(self, command: SettleCallback) -> Job:
        job = self._job(command.job_id)
        if job is None:
            raise JobNotFound(command.job_id)
        return self._with_callback(command.apply(job))

    def _with_callback(self, job: Job) -> Job:
        self._execute(_KEEP_CALLBACK, (job.callback_at, encode(job), job.id))
        return job

    def _drop_orphans(self, command: Sweep) -> None:
        early = (prefix_at(command.now - ORPHANED), max(command.limit, 0))
        for (job_id,) in self._execute(_ORPHANS, early).fetchall():
            self._execute(_DROP_PIECES, (job_id,))

    def _job(self, job_id: str) -> Job | None:
        row = self._execute(_GET, (job_id,)).fetchone()
        return decode_job(row[0]) if row else None

    def _keep(self, job: Job, body: bytes = b"") -> None:
        if job.status is Status.RUNNING:
            self._execute(_REPORT, (encode(job), job.id))
        elif job.status is Status.ACCEPTED:
            self._execute(_RETURN, (wake_at(job, None), encode(job), job.id))
            self._execute(_DROP_RESULT, (job.id,))
        else:
            self._finish(job, body)
        self._changed.append(job.id)

    def _finish(self, job: Job, body: bytes) -> None:
        chunks = job.result.chunks if job.result else 0
        is_short = chunks == 1 and len(body) <= INLINE
        row = (
            job.status.value,
            wake_at(job, None),
            encode(job),
            body if is_short else None,
            job.key,
            job.callback_at,
            job.id,
        )
        self._execute(_FINISH, row)
        self._execute(_DROP_ALL_BUT_RESULT, (job.id, job.attempt, chunks - 1))
        if chunks and not is_short:
            self._execute(_APPEND, (job.id, job.attempt, chunks - 1, body))

    def _forget(self, job_id: str) -> None:
        self._execute(_FORGET, (job_id,))
        self._execute(_DROP_PIECES, (job_id,))
        self._changed.append(job_id)


def _get(connection: sqlite3.Connection, job_id: str) -> Job:
    row = connection.execute(_GET, (job_id,)).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return decode_job(row[0])


def _load(connection: sqlite3.Connection, query: Load) -> bytes:
    piece = (query.job_id, query.attempt, query.index)
    row = connection.execute(_LOAD, piece).fetchone()
    if row is None:
        raise JobNotFound(query.job_id)
    return bytes(row[0])


def _position(connection: sqlite3.Connection, query: Position) -> int:
    job = query.job
    ahead = (job.application, job.due_at, job.id, query.most)
    (count,) = connection.execute(_POSITION, ahead).fetchone()
    return int(count)


def _list(connection: sqlite3.Connection, query: List) -> tuple[Job, ...]:
    status = query.status.value if query.status else None
    before = query.before or AFTER_ALL_IDS
    row = (query.owner, query.application, before, status, query.limit)
    return tuple(decode_job(record) for (record,) in connection.execute(_LIST, row))


def _changes(connection: sqlite3.Connection, since: int) -> Changed:
    (cursor,) = connection.execute(_CURSOR).fetchone()
    if since < 0 or since == cursor:
        return Changed(cursor, ())
    if since > cursor:
        since = 0  # it is of a file that was here before
    rows = connection.execute(_CHANGES, (since, cursor)).fetchall()
    return Changed(cursor, tuple({job_id: None for (ids,) in rows for job_id in ids.split()}))


_CREATE = """
    INSERT INTO jobs (id, application, owner, key, status, attempt, wake_at, record, request)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_KEYED = "SELECT record FROM jobs WHERE key = ?"
_FREE_KEY = "UPDATE jobs SET key = NULL WHERE id = ?"
_GET = "SELECT record FROM jobs WHERE id = ?"
_WAITING = """
    SELECT record, request FROM jobs
    WHERE status = 'accepted' AND application = ? AND wake_at <= ? ORDER BY wake_at, id LIMIT ?
"""
_CLAIM = "UPDATE jobs SET status = 'running', attempt = ?, wake_at = ?, record = ? WHERE id = ?"
_RENEW = "UPDATE jobs SET wake_at = ? WHERE id = ? AND attempt = ? AND status = 'running'"
_REPORT = "UPDATE jobs SET record = ? WHERE id = ?"
_RETURN = "UPDATE jobs SET status = 'accepted', wake_at = ?, record = ? WHERE id = ?"
_FINISH = """
    UPDATE jobs SET status = ?, wake_at = ?, record = ?, request = NULL, body = ?, key = ?,
        callback_at = ?
    WHERE id = ?
"""
_FORGET = "DELETE FROM jobs WHERE id = ?"
_LOST = """
    SELECT record FROM jobs
    WHERE status = 'running' AND wake_at <= ? ORDER BY wake_at, id LIMIT ?
"""
_OVER = """
    SELECT record FROM jobs
    WHERE status IN ('succeeded', 'failed', 'canceled') AND wake_at <= ? ORDER BY wake_at, id LIMIT ?
"""
_DUE_CALLBACKS = """
    SELECT record FROM jobs
    WHERE application = ? AND callback_at <= ? ORDER BY callback_at, id LIMIT ?
"""
_KEEP_CALLBACK = "UPDATE jobs SET callback_at = ?, record = ? WHERE id = ?"
_LIST = """
    SELECT record FROM jobs
    WHERE owner = ?1 AND application = ?2 AND id < ?3 AND (?4 IS NULL OR status = ?4)
    ORDER BY id DESC LIMIT ?5
"""
_POSITION = """
    SELECT count(*) FROM (
        SELECT 1 FROM jobs
        WHERE status = 'accepted' AND application = ? AND (wake_at, id) < (?, ?) LIMIT ?
    )
"""

_APPEND = "INSERT OR REPLACE INTO pieces (job_id, attempt, position, data) VALUES (?, ?, ?, ?)"
_PIECE = "SELECT data FROM pieces WHERE job_id = ? AND attempt = ? AND position = ?"
_LOAD = """
    SELECT data FROM pieces WHERE job_id = ?1 AND attempt = ?2 AND position = ?3
    UNION ALL
    SELECT body FROM jobs WHERE id = ?1 AND attempt = ?2 AND 0 = ?3 AND body IS NOT NULL
"""
_DROP_PIECES = "DELETE FROM pieces WHERE job_id = ?"
_DROP_RESULT = "DELETE FROM pieces WHERE job_id = ? AND attempt <> 0"
_DROP_ALL_BUT_RESULT = """
    DELETE FROM pieces WHERE job_id = ? AND NOT (attempt = ? AND position < ?)
"""
_ORPHANS = """
    SELECT DISTINCT job_id FROM pieces
    WHERE attempt = 0 AND job_id < ? AND job_id NOT IN (SELECT id FROM jobs) LIMIT ?
"""

_CURSOR = "SELECT coalesce(max(cursor), 0) FROM changes"
_CHANGES = "SELECT ids FROM changes WHERE cursor > ? AND cursor <= ?"
_TRIM_CHANGES = "DELETE FROM changes WHERE cursor <= (SELECT max(cursor) FROM changes) - ?"
