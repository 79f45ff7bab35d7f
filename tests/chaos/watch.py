"""Looks into the store of an attacked server, past the server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.stores import Attacked

INTERVAL = 0.2


class Watch:
    """A thread that looks every so often whether a job is running without a live lease, and for how long.

    The time in which nobody can take a job over does not count: while the server has no worker, or the store none.
    """

    def __init__(self, store: Attacked, can_take_over: Callable[[], object]) -> None:
        self.samples = 0
        self.longest_overrun = 0.0
        """Seconds that a job was still `running`, though its lease had run out and could be taken over, at the most."""
        self.most_unfinished = 0
        self._store = store
        self._can_take_over = can_take_over
        self._able_since = time.time()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(INTERVAL):
            if not self._can_take_over():
                self._able_since = time.time()
            self._look()

    def _look(self) -> None:
        seen = self._store.look()
        if seen is None:
            return
        self.samples += 1
        self.most_unfinished = max(self.most_unfinished, seen.unfinished)
        if seen.oldest_lease is not None:
            overrun = time.time() - max(seen.oldest_lease, self._able_since)
            self.longest_overrun = max(self.longest_overrun, overrun)
