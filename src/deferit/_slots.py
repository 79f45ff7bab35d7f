"""How many more jobs may run in this process."""

from __future__ import annotations

import threading


class Slots:
    """How many more jobs may run."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count

    @property
    def are_any(self) -> bool:
        """Whether one is free."""
        return self._free > 0

    def take(self) -> bool:
        """Take one; False if none is free."""
        with self._lock:
            is_free = self._free > 0
            self._free -= is_free
            return is_free

    def bring(self) -> None:
        """Take one whether one is free or not: somebody else has counted."""
        with self._lock:
            self._free -= 1

    def take_all(self) -> int:
        """Take all that are free; return how many."""
        with self._lock:
            taken = max(0, self._free)
            self._free -= taken
            return taken

    def give(self, count: int = 1) -> None:
        """Give back what was taken."""
        with self._lock:
            self._free += count
