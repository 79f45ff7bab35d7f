"""Jobs kept in a PostgreSQL database, shared by the processes of many machines."""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections import OrderedDict
from contextlib import suppress
from random import SystemRandom
from threading import Lock
from typing import TYPE_CHECKING, Any, assert_never

from deferit.exceptions import JobNotFound, OptionError, RecordDamaged, StoreUnavailable

try:
    import psycopg
except ImportError as exc:
    raise OptionError('PostgresStore needs the extra: pip install "deferit[postgres]"') from exc

from deferit._core.queries import Ahead, Changed, Changes, Due, Get, History, List, Load, Position
from deferit._core.rules import REMEMBERED, remembered
from deferit._records import decode_job, salvage
from deferit.stores import _postgres_statements as sql
from deferit.stores._postgres_batch import Batch, Stretch
from deferit.stores._postgres_lines import Lines, Listener, is_lost
from deferit.stores._postgres_rows import remains_from
from deferit.stores._postgres_server import Server
from deferit.stores._postgres_texts import findable, is_text
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import LiteralString

    from deferit._core.commands import Command
    from deferit._core.job import Job
    from deferit._core.queries import Query
    from deferit.stores._postgres_server import Connection

_uniform = SystemRandom().uniform  # it parts two processes, which may be children of one

READERS = 4
"""Connections for reading that a process may have."""

TRIES = 6
"""How often a batch is begun that comes into conflict with those of other processes."""

DOUBT = 15.0
"""Seconds for which it is inquired what became of a batch whose connection was lost in the moment of its commit."""

CURSORS = 64
"""Cursors of `Changes` that are remembered."""

AFTER_ALL_IDS = "job_~"


class PostgresStore(Store):
    """Keeps jobs in a schema of a PostgreSQL database: ``postgresql://user:password@host/database?schema=deferit``.

    What else libpq knows may stand behind the question mark too, ``sslmode`` for example. The schema is made if it is
    not there. What is committed is on the server's disk, unless somebody has set ``synchronous_commit`` or ``fsync``
    off.

    A process has one connection to write, one to listen, and up to `READERS` to read.

    Raises:
        OptionError: the URL cannot be read, or the extra is missing.
    """

    def __init__(self, url: str) -> None:
        self._server = Server(url)
        self.url = self._server.url
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._number = secrets.randbits(62)
        self._batches = itertools.count()
        self._writer = Lines(self._server, 1, self._sign_in)
        self._readers = Lines(self._server, READERS)
        self._cursors = _Cursors()
        self._stretch = Stretch()
        self._listener: Listener | None = None

    def open(self) -> None:
        """Make the schema or bring it up to date, and connect: to write, to read and to listen."""
        if self._process != os.getpid():
            # Those connections are the parent's, and must not even be closed in this process.
            _ABANDONED.extend((self._writer, self._readers, self._listener))
            self._begin()
        try:
            self._writer.open()
            self._readers.open()
            self._listen()
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = Listener(self._server, self._number, self._cursors.forget)
            self._listener.start()

    def close(self) -> None:
        """Disconnect, after the batch that is under way."""
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
        self._readers.close()
        self._writer.close()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Execute commands in one transaction, which is begun again if it comes into conflict with another."""
        for number in range(TRIES):
            with suppress(_Conflict):
                return self._writer.use(lambda connection: self._transact(connection, batch))
            time.sleep(_uniform(0, 0.005 * 2**number))
        raise StoreUnavailable(
            self.url, f"others have changed the same jobs at the same moment, {TRIES} times running"
        )

    def _transact(self, connection: Connection, batch: Sequence[Command]) -> list[object]:
        session, number = self._session(connection), next(self._batches)
        answers: list[object] = []
        changed: list[str] = []
        is_committing = False
        commit: psycopg.Cursor[Any] | None = None
        try:
            with connection.pipeline() as pipeline:
                work = Batch(connection, pipeline, self._server, self._stretch)
                connection.execute(sql.BEGIN)
                answers = work.execute(batch)
                changed = work.changed
                if work.has_written:
                    row = (self._number, number, changed)
                    connection.execute(sql.CHANGED, row, binary=True)
                is_committing = work.has_written
                commit = self._commit(connection, told=bool(changed))
        except BaseException as exc:
            is_kept = isinstance(exc, psycopg.Error) and _is_answered(commit)
            if not is_kept and is_committing and _is_in_doubt(connection, exc):
                connection.close()  # nothing is certain before its session has ended
                is_kept = self._is_kept(session, number)
            if not is_kept:
                _roll_back(connection)
                if isinstance(exc, _CONFLICTS):
                    raise _Conflict from exc
                raise
        listener = self._listener
        if changed and listener:
            listener.note()
        return answers

    def _commit(self, connection: Connection, *, told: bool) -> psycopg.Cursor[Any]:
        """Commit, and tell others; return what will have the answer to the first.

        Not the other way round: a transaction that tells holds a lock of the whole server until it is on disk, so that
        one would commit after the other (PreCommit_Notify in PostgreSQL's async.c). If this process is gone in between,
        the others look for themselves (see `Listener`).
        """
        commit = connection.execute(sql.COMMIT)
        if told:
            message = (self._server.channel, str(self._number))
            connection.execute(sql.TELL, message, binary=True)
        return commit

    def _session(self, connection: Connection) -> int:
        """Return the number of the lock that a connection to write has for as long as there is one."""
        return self._server.lock("session", f"{self._number} {connection.info.backend_pid}")

    def _sign_in(self, connection: Connection) -> None:
        _select(connection, sql.SIGN_IN, self._session(connection))

    def _is_kept(self, session: int, number: int) -> bool:
        """Find out what became of a batch whose connection was lost in the moment of its commit.

        Raises:
            StoreUnavailable: the server does not come back, or does not yet know itself that the connection is lost.
        """
        deadline = time.monotonic() + DOUBT
        while time.monotonic() < deadline:
            with suppress(StoreUnavailable, psycopg.Error), self._server.connect() as connection:
                if _select(connection, sql.IS_OVER, session) == [(True,)]:
                    return bool(_select(connection, sql.WAS_KEPT, self._number, number))
            time.sleep(0.05)
        raise StoreUnavailable(
            self.url,
            f"the connection was lost in the moment of a commit, and in {DOUBT:g} s it could not be found out whether "
            "what was written is kept",
        )

    def read(self, query: Query) -> object:
        """Answer a query from one of the connections for reading."""
        return self._readers.use(lambda connection: self._answer(connection, query))

    def _answer(self, connection: Connection, query: Query) -> object:  # noqa: PLR0911  one for each query
        match query:
            case Get():
                return _get(connection, query.job_id)
            case Load():
                return _load(connection, query)
            case Position():
                return _position(connection, query)
            case Due():
                return _is_due(connection, query)
            case List():
                return _list(connection, query)
            case History():
                return _history(connection, query)
            case Changes():
                return self._cursors.changed(connection, query.since)
        assert_never(query)

    def get_all(self, job_ids: Sequence[str]) -> list[Job | Exception]:
        """Find jobs by their ids, in one statement."""
        return self._readers.use(lambda connection: _get_all(connection, job_ids))

    def version(self) -> int:
        """Return how often this process has committed something, or was told that another one has."""
        listener = self._listener
        if listener is None:
            raise StoreUnavailable(self.url, "it is not open")
        return listener.version()


_ABANDONED: list[object] = []


class _Conflict(Exception):
    """A batch has met one of another process, and can be begun again."""


_CONFLICTS = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,  # of a key, or an id, that was not there when the batch began
)


def _is_answered(commit: psycopg.Cursor[Any] | None) -> bool:
    """Whether the server has said that it is done: then only the telling has failed, as where its queue is full."""
    return commit is not None and commit.statusmessage == "COMMIT"


def _is_in_doubt(connection: Connection, exc: BaseException) -> bool:
    return isinstance(exc, psycopg.Error) and is_lost(connection, exc)


def _roll_back(connection: Connection) -> None:
    with suppress(psycopg.Error):
        connection.rollback()


class _Cursors:
    """Knows what was visible when a cursor was given out.

    A number would not do: transactions become visible in another order than they are numbered, and who has read up to
    one number would miss those before it that come late. So a cursor stands for a snapshot, the set of transactions
    that were visible; what has changed since is what is visible now and was not then.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = 0
        self._snapshots: OrderedDict[int, str] = OrderedDict()

    def changed(self, connection: Connection, since: int) -> Changed:
        """Return what has changed since a cursor; all that is kept, if it is not one of ours."""
        then = self._snapshots.get(since)
        if since < 0:
            rows = _select(connection, sql.SNAPSHOT)
            return Changed(self._given(None, rows[0][0]), ())
        if then is None:
            rows = _select(connection, sql.ALL_CHANGES)
        else:
            rows = _select(connection, sql.CHANGES, then, then)
        ids = tuple({job_id: None for _, changed in rows for job_id in changed or ()})
        return Changed(self._given(None if ids else since, rows[0][0]), ids)

    def forget(self) -> None:
        """Forget all: after a crash, the numbers of transactions that came to nothing are used again."""
        with self._lock:
            self._snapshots.clear()

    def _given(self, cursor: int | None, snapshot: str) -> int:
        """Return the cursor of a snapshot: the same as before, if nothing has happened since."""
        with self._lock:
            if cursor is None or cursor not in self._snapshots:
                self._last += 1
                cursor = self._last
            self._snapshots[cursor] = snapshot
            self._snapshots.move_to_end(cursor)
            if len(self._snapshots) > CURSORS:
                self._snapshots.popitem(last=False)
        return cursor


def _select(connection: Connection, statement: LiteralString, *values: object) -> list[Any]:
    return connection.execute(statement, values, binary=True).fetchall()


def _get(connection: Connection, job_id: str) -> Job:
    for (record,) in _select(connection, sql.GET, job_id):
        return _decoded(connection, job_id, record)
    raise JobNotFound(job_id)


def _get_all(connection: Connection, job_ids: Sequence[str]) -> list[Job | Exception]:
    found = {
        job_id: _decoded_or_gone(connection, job_id, record)
        for job_id, record in _select(connection, sql.GET_ALL, list(set(job_ids)))
    }
    return [found.get(job_id) or JobNotFound(job_id) for job_id in job_ids]


def _decoded_or_gone(connection: Connection, job_id: str, record: bytes) -> Job | Exception:
    try:
        return _decoded(connection, job_id, record)
    except JobNotFound as exc:
        return exc


def _decoded(connection: Connection, job_id: str, record: bytes) -> Job:
    """Return a job; of one whose record is damaged, what the columns tell."""
    try:
        return decode_job(record)
    except RecordDamaged as exc:
        rows = _select(connection, sql.REMAINS, job_id)
        if not rows:
            raise JobNotFound(job_id) from None  # it was forgotten meanwhile
        return salvage(remains_from(job_id, rows), exc)


def _load(connection: Connection, query: Load) -> bytes:
    piece = (query.job_id, query.attempt, query.index)
    for (data,) in _select(connection, sql.LOAD, *piece, *piece):
        return bytes(data)
    raise JobNotFound(query.job_id)


def _position(connection: Connection, query: Position) -> Ahead:
    for ahead in _select(connection, sql.POSITION, query.most, query.most, query.job_id):
        return Ahead(*ahead)
    return Ahead(0, 0)


def _is_due(connection: Connection, query: Due) -> bool:
    ((is_due,),) = _select(connection, sql.DUE, query.application, query.application, query.now)
    return bool(is_due)


def _list(connection: Connection, query: List) -> tuple[Job, ...]:
    names = query.application, query.owner, query.route
    if not all(is_text(name) for name in names if name):
        return ()
    status = query.status.value if query.status else None
    owned = () if query.owner is None else (findable(query.owner),)
    rest = (query.before or AFTER_ALL_IDS, status, status, query.route, query.route, query.limit)
    statement = sql.LIST_ALL if query.owner is None else sql.LIST
    jobs = [
        _decoded(connection, *row)
        for row in _select(connection, statement, query.application, *owned, *rest)
    ]
    return tuple(job for job in jobs if query.includes(job))


def _history(connection: Connection, query: History) -> tuple[float, ...]:
    rows = _select(connection, sql.HISTORY, query.application, query.route, REMEMBERED)
    return remembered((), tuple(second for (seconds,) in reversed(rows) for second in seconds))
