"""Connections to a PostgreSQL server: those that threads share, and one that listens."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import sql

from deferit.exceptions import StoreUnavailable
from deferit.stores import _postgres_statements as statements
from deferit.stores._postgres_server import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit.stores._postgres_server import Connection, Server

LOOK = 1.0
"""Seconds between two looks at what others have changed without being told: a message may be lost with its sender."""

PAUSE = 0.25
"""Seconds before the listener tries to connect again."""

T = TypeVar("T")


class Lines:
    """Up to ``most`` connections, each for one thread at a time; made when they are needed, anew when they are lost.

    Whoever finds all of them in use waits for one.
    """

    def __init__(
        self, server: Server, most: int, prepare: Callable[[Connection], object] = lambda _: None
    ) -> None:
        """Call ``prepare`` with each new connection."""
        self._server = server
        self._prepare = prepare
        self._room = Room(most)
        self._idle: list[Connection] = []
        self._is_open = False

    def open(self) -> None:
        """Connect once, to see that it works; `use` may follow until `close`.

        Raises:
            StoreUnavailable: with the reason.
        """
        self._is_open = True
        self.use(lambda _: None)

    def close(self) -> None:
        """Disconnect; what is in use is closed when it is given back."""
        self._is_open = False
        self._drop()

    def use(self, function: Callable[[Connection], T]) -> T:
        """Return what a function returns that is called with a connection; it leaves no transaction open.

        If the connection was lost since it was last used, the function is called again with a new one.

        Raises:
            StoreUnavailable: with the reason.
        """
        with self._room:
            while True:
                connection, is_new = self._take()
                try:
                    if is_new:
                        self._prepare(connection)
                    return function(connection)
                except psycopg.Error as exc:
                    is_over = is_new or not is_lost(connection, exc)
                    connection.close()
                    if is_over:
                        raise StoreUnavailable(self._server.url, reason(exc)) from exc
                    self._drop()  # the others are as old
                finally:
                    self._give_back(connection)

    def _take(self) -> tuple[Connection, bool]:
        """Return a connection, and whether it is new."""
        if not self._is_open:
            raise StoreUnavailable(self._server.url, "it is not open")
        with suppress(IndexError):
            return self._idle.pop(), False
        return self._server.connect(), True

    def _give_back(self, connection: Connection) -> None:
        is_usable = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if is_usable and self._is_open:
            self._idle.append(connection)
        else:
            connection.close()

    def _drop(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


class Room:
    """Lets so many threads in at a time, those who wait in the order in which they came.

    `threading.Semaphore` does not keep an order: who comes back at once is in again before those who wait have woken.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._free = most
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


def is_lost(connection: Connection, exc: psycopg.Error) -> bool:
    """Whether an exception says that there is no connection any more, rather than what is wrong with a statement.

    Of one that ends while its answers are read libpq may say something else, as that it is busy: what has no code of
    the server's is not about a statement, except that it was left out after another one (`PipelineAborted`).
    """
    if exc.sqlstate is None and isinstance(exc, psycopg.OperationalError):
        return not isinstance(exc, psycopg.errors.PipelineAborted)
    return connection.closed or (exc.sqlstate or "").startswith(("08", "57P", "25P03"))


class Listener:
    """Counts what this process and others have committed; a thread with a connection of its own is told by the server.

    While it has none, every look is a new count: then nobody may rely on having seen the last.
    """

    def __init__(self, server: Server, writer: int, reconnected: Callable[[], object]) -> None:
        """Do not count what ``writer`` says: that is this process, which counts by `note`."""
        self._server = server
        self._writer = writer
        self._reconnected = reconnected
        self._lock = threading.Lock()
        self._count = 0
        self._snapshot = ""
        self._connection: Connection | None = None
        self._is_closed = False
        self._ear, self._mouth = socket.socketpair()
        self._thread = threading.Thread(target=self._work, name="deferit-listener", daemon=True)

    def start(self) -> None:
        """Connect, and begin to listen.

        Raises:
            StoreUnavailable: with the reason.
        """
        self._connect()
        self._thread.start()

    def close(self) -> None:
        """Disconnect; idempotent."""
        self._is_closed = True
        with suppress(OSError):
            self._mouth.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        self._disconnect()
        self._ear.close()
        self._mouth.close()

    def note(self) -> None:
        """Count a commit."""
        with self._lock:
            self._count += 1

    def version(self) -> int:
        """Return the count."""
        if self._connection is None:
            self.note()
        return self._count

    def _work(self) -> None:
        while not self._is_closed:
            try:
                if self._connection is None:
                    self._connect()
                    self._reconnected()
                    self.note()
                self._listen()
            except (psycopg.Error, StoreUnavailable, OSError):
                self._disconnect()
                self._pause(PAUSE)

    def _connect(self) -> None:
        connection = self._server.connect()
        try:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._server.channel)))
            connection.execute(statements.FORGET_THE_FUTURE)
            self._snapshot = _snapshot(connection)
        except psycopg.Error as exc:
            connection.close()
            raise StoreUnavailable(self._server.url, reason(exc)) from exc
        self._connection = connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _listen(self) -> None:
        """Listen until the connection is lost or closed."""
        connection = self._connection
        assert connection is not None
        look_at = time.monotonic() + LOOK
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._ear, selectors.EVENT_READ)
            while not self._is_closed:
                selector.select(max(0.0, look_at - time.monotonic()))
                if time.monotonic() >= look_at:
                    self._look(connection)
                    look_at = time.monotonic() + LOOK
                self._hear(connection)  # behind the look: what comes during one, no selector shows

    def _hear(self, connection: Connection) -> None:
        """Count, once, what has come in."""
        told = {notice.payload for notice in connection.notifies(timeout=0)}
        if told - {str(self._writer)}:
            self.note()

    def _look(self, connection: Connection) -> None:
        """Count what others have changed and could not tell."""
        snapshot = _snapshot(connection)
        seen = (self._snapshot, self._snapshot, self._writer)
        if connection.execute(statements.OTHERS, seen).fetchone():
            self.note()
        self._snapshot = snapshot

    def _pause(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            selector.select(seconds)


def _snapshot(connection: Connection) -> str:
    """Return which transactions are visible now."""
    row = connection.execute(statements.SNAPSHOT).fetchone()
    assert row is not None
    return str(row[0])
