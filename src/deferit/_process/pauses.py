"""How long a group of commands waits for more of them, where a commit takes its time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SIBLINGS = 5
"""Commands of a group that tell of others that will come; PostgreSQL's `commit_siblings` is as many."""

SLOW = 0.001
"""Seconds of a commit from which on it is worth to wait for those others."""

LONGEST = 0.005
"""Seconds that a group waits for them at the most."""

SLICE = 0.0002
"""Seconds after which a group that waits looks whether they have all come."""

FORGETTING = 1.00001
"""How much longer the quickest commit is said to have taken with each that follows, as a disk may become slow."""


class Pauses:
    """Lets a group of commands wait for more before it is committed, as PostgreSQL's `commit_delay` does.

    Where a sync takes its time, clients fall into two halves: while the commands of one are committed, those of the
    other come, and so each sync serves one half. Who waits once for as long as a sync takes has both in one: as many
    as were in the last group, and came while it was committed. When so many are there, the wait is over.

    How long a sync takes, the quickest commit tells: others have waited for Python's lock as well. Neither few commands
    nor a quick disk are worth it.
    """

    def __init__(
        self,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._longest = longest
        self._clock = clock
        self._sleep = sleep
        self._begun = 0.0
        self._quickest = math.inf
        self._size = 0
        self._expected = 0

    def pause(self, waiting: Callable[[], int]) -> None:
        """Wait for more commands, in the thread that is to commit; ``waiting`` says how many are there."""
        seconds = self.next()
        deadline = self._clock() + seconds if seconds else 0.0
        while seconds and waiting() < self._expected and self._clock() < deadline:
            self._sleep(SLICE)

    def next(self) -> float:
        """Return how many seconds the next group is to wait."""
        if self._size < SIBLINGS or self._quickest < SLOW:
            return 0.0
        return min(self._quickest, self._longest)

    def begin(self) -> None:
        """Take note that a commit begins."""
        self._begun = self._clock()

    def end(self, size: int, waiting: int) -> None:
        """Take note that the commit of so many commands has ended; so many have come meanwhile."""
        self._size = size
        self._expected = size + waiting
        if size >= SIBLINGS:  # a few may have had nothing to write, and no sync
            self._quickest = min(self._clock() - self._begun, self._quickest * FORGETTING)
