"""A thread that follows the log of changes, so that to look for them takes no round trip."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit.stores._redis.rows import Names
    from deferit.stores._redis.server import Connected, Line

LOOK = 1.0
"""Seconds after which a quiet log is looked at: it may have begun anew, lower than where it was followed to."""

REST = 0.01
"""Seconds between two changes that are heard of: under load most are this process's own, and each costs a wake-up."""

PAUSE = 0.1
"""Seconds before a server that is gone is tried again."""


class Listener:
    """Knows the last change of a store, as far as it was heard of."""

    def __init__(self, connected: Connected, names: Names) -> None:
        self._connected = connected
        self._names = names
        self._lock = threading.Lock()
        self._generation = 0
        self._cursor = 0
        self._is_listening = False
        self._connection_id: int | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="deferit-redis", daemon=True)

    def start(self) -> None:
        """Look for the first time, then start the thread.

        Raises:
            StoreUnavailable: the server says nothing.
        """
        self._look(self._connected.ask)
        self._thread.start()

    def close(self) -> None:
        """End the thread, which waits for its server to say something; not for one that is gone, or hangs."""
        self._closed.set()
        deadline = time.monotonic() + 2 * LOOK
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._unblock()
            self._thread.join(0.02)

    def version(self) -> int:
        """Return a number that differs after a change was heard of; while nobody listens, always another one."""
        with self._lock:
            if not self._is_listening:
                self._generation += 1
            return self._generation << 48 | self._cursor

    def heard(self, cursor: int) -> None:
        """Take note of a change."""
        with self._lock:
            self._cursor = max(self._cursor, cursor)

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                with closing(self._connected.line(self._names.changes)) as line:
                    self._listen(line)
            except Exception:  # noqa: BLE001  whoever reads or writes says so; redis-py raises anything while it is closed
                self._is_listening = False
                self._closed.wait(PAUSE)

    def _listen(self, line: Line) -> None:
        self._connection_id = line("CLIENT", "ID")
        while not self._closed.is_set():
            self._look(line)
            self._closed.wait(REST)
            since = f"{self._cursor}-0"
            line(
                "XREAD", "COUNT", 1, "BLOCK", int(LOOK * 1e3), "STREAMS", self._names.changes, since
            )
        self._connection_id = None

    def _look(self, ask: Callable[..., Any]) -> None:
        before = self._cursor
        cursor = int(ask("GET", self._names.cursor) or 0)
        with self._lock:
            if cursor < before:  # other data are in its place
                self._generation += 1
                self._cursor = cursor
            self._cursor = max(self._cursor, cursor)
            self._is_listening = True

    def _unblock(self) -> None:
        connection_id = self._connection_id
        if connection_id is not None:
            self._connected.unblock(self._names.changes, connection_id)
