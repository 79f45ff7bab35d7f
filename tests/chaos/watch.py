"""Looks into the store of an attacked server, past the server."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INTERVAL = 0.2


class Watch:
    """A thread that looks every so often whether a job is running without a live lease, and for how long.

    The time in which the server has no worker does not count: nobody is there to take a job over.
    It reads only, and lets go of the file after each look, so that who comes first after a crash has to recover it.
    """

    def __init__(self, store: Path, has_workers: Callable[[], object]) -> None:
        self.samples = 0
        self.longest_overrun = 0.0
        """Seconds that a job was still `running`, though its lease had run out and there was a worker, at the most."""
        self.most_unfinished = 0
        self._store = store
        self._has_workers = has_workers
        self._up_since = time.time()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(INTERVAL):
            if not self._has_workers():
                self._up_since = time.time()
            try:
                self._look()
            except sqlite3.OperationalError:
                continue  # nobody has made or recovered the file yet: there is nothing to see

    def _look(self) -> None:
        with closing(read_only(self._store)) as connection:
            unfinished = connection.execute(_UNFINISHED).fetchone()[0]
            lease_until = connection.execute(_OLDEST_LEASE).fetchone()[0]
        self.samples += 1
        self.most_unfinished = max(self.most_unfinished, unfinished)
        if lease_until is not None:
            overrun = time.time() - max(lease_until, self._up_since)
            self.longest_overrun = max(self.longest_overrun, overrun)


def unfinished(store: Path) -> int:
    """Return how many jobs are not finished."""
    with closing(read_only(store)) as connection:
        (count,) = connection.execute(_UNFINISHED).fetchone()
        return int(count)


def read_only(store: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True, timeout=5)


_UNFINISHED = "SELECT count(*) FROM jobs WHERE status IN ('accepted', 'running')"
_OLDEST_LEASE = "SELECT min(wake_at) FROM jobs WHERE status = 'running'"
