"""Whether jobs wait in the store that could begin in this process, as far as it knows."""

from __future__ import annotations

import threading


class Backlog:
    """What new jobs have to wait behind; any thread may say what it knows.

    Who looks into the store knows what was true a moment ago. Until it is certain that nobody came meanwhile, those who
    wait are still there: else a new job would take the slot that one of them is being looked for.
    """

    def __init__(self) -> None:
        self.is_there = True
        self._lock = threading.Lock()
        self._arrivals = 0

    def grow(self) -> None:
        """Take note of a job that has come to wait."""
        with self._lock:
            self._arrivals += 1
            self.is_there = True

    def begin_look(self) -> int:
        """Return what `end_look` is to be told."""
        return self._arrivals

    def end_look(self, begun: int, *, found: bool) -> None:
        """Take note of what a look into the store has ``found``."""
        with self._lock:
            self.is_there = found or self._arrivals != begun
