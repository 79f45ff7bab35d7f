"""The thread that looks after things: a list of duties, each every so many seconds or as soon as it is woken."""

from __future__ import annotations

import logging
import threading
import time
from math import inf
from typing import TYPE_CHECKING

from deferit._process.glances import Glances
from deferit.exceptions import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger("deferit")


PAUSE = 1.0
"""Seconds before a duty that has failed is tried again: each failure is a line in the log, but leases are waiting."""


class Duty:
    """Something to be done every ``seconds``, or at the next look already if it returns True, as there is more of it.

    A duty that meets an unavailable store is tried again next time.
    """

    def __init__(self, do: Callable[[], object], seconds: float) -> None:
        self._do = do
        self._seconds = seconds
        self._due = 0.0

    def hurry(self) -> None:
        """Have it done at the next look."""
        self._due = 0.0

    def attend(self, now: float) -> None:
        """Do it if it is due."""
        if now < self._due:
            return
        self._due = now + self._seconds
        try:
            if self._do() is True:
                self._due = now
        except StoreError as exc:
            self._due = now + PAUSE
            logger.warning("%s; trying again in %g s", exc, PAUSE)
        except Exception:  # the thread must not end: leases would run out
            self._due = now + PAUSE
            logger.exception("a duty has failed; trying again in %g s", PAUSE)


class Keeper:
    """Attends to duties, one after the other, in a thread of its own."""

    def __init__(self, tick: float, name: str = "deferit-keeper") -> None:
        """Look every ``tick`` seconds for a duty that is due, more often after it was stirred."""
        self.duties: Sequence[Duty] = ()
        self._glances = Glances(tick)
        self._pause = 0.0
        self._wake = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Have it look now; from any thread."""
        if not self._wake.is_set():  # to set it again takes locks
            self._wake.set()

    def stir(self) -> None:
        """Have it look soon, and more often for a while: nobody tells of what may happen; from any thread."""
        now = time.monotonic()
        self._glances.stir(now)
        if self._glances.pause(now) < self._pause:
            self.wake()

    def close(self) -> None:
        """End the thread after the duty that it attends to; idempotent."""
        self._is_closed = True
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        while not self._is_closed:
            self._pause = inf  # who stirs it while the pause is found out has to wake it
            self._pause = self._glances.pause(time.monotonic())
            self._wake.wait(self._pause)
            self._wake.clear()
            self._pause = 0.0
            begun = time.thread_time()
            for duty in self.duties:
                duty.attend(time.monotonic())
            self._glances.looked(time.thread_time() - begun)
