"""How many more jobs may be taken in this process, and which of them begin later."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from deferit._core.turns import Place, Turns

if TYPE_CHECKING:
    from collections.abc import Callable

Run = TypeVar("Run")

SOON = 0.05
"""Seconds within which a job has to begin that is taken while all slots are busy."""

ENOUGH = 30
"""Runs that have to be known before any is taken ahead."""

MOST_AHEAD = 64
"""Jobs that are taken ahead at the most."""

WEIGHT = 0.1
"""Of the latest run in the mean."""


class Slots(Generic[Run]):
    """How many more jobs may run.

    Where handlers take no time, a slot would be free again before the next job is taken from the store. So a few are
    taken ahead, no more than will begin within `SOON` as far as can be told; they begin as others leave.

    Runs that are not stored stand in a line of their own, and `Turns` says when one of them begins.
    """

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._count = count
        self._free = count
        self._ahead = 0
        self._begun: dict[Run, float] = {}
        self._waiting: deque[Run] = deque()
        self._line: dict[Run, None] = {}
        self._turns = Turns()
        self._seen = 0
        self._mean = 0.0

    def take(self) -> bool:
        """Take one; False if none is free, nor will be in a moment."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
            elif self._ahead < self._most_ahead():
                self._ahead += 1
            else:
                return False
            return True

    def bring(self) -> None:
        """Take one whether one is free or not: somebody else has counted."""
        with self._lock:
            self._free -= 1

    def take_all(self) -> int:
        """Take all that are free, or will be in a moment; return how many."""
        with self._lock:
            taken = max(0, self._free)
            self._free -= taken
            ahead = max(0, self._most_ahead() - self._ahead)
            self._ahead += ahead
            return taken + ahead

    def give(self, count: int = 1) -> None:
        """Give back what was taken, and no job has begun for."""
        with self._lock:
            self._give(count)

    def enter(self, run: Run) -> bool:
        """Whether a run, for which one was taken, may begin; if not it waits until another leaves."""
        with self._lock:
            if self._ahead and len(self._begun) >= self._count:
                self._waiting.append(run)
                return False
            self._begun[run] = self._clock()
            return True

    def leave(self, run: Run, *, has_backlog: bool = False) -> Run | None:
        """Give back the one of a run that is over; return the run that begins in its place, if one waits."""
        with self._lock:
            begun_at = self._begun.pop(run, None)
            if begun_at is not None:
                self._learn(self._clock() - begun_at)
                if self._is_for_the_line(has_backlog=has_backlog):
                    return self._first_in_line()
            self._give(1)
            if not self._waiting or len(self._begun) >= self._count:
                return None
            following = self._waiting.popleft()
            self._begun[following] = self._clock()
            return following

    # --- the line of those that are not stored -----------------------------------------------------------------------

    def line_up(self, run: Run) -> Place:
        """Find a place for a run, for which none was taken."""
        with self._lock:
            place = self._turns.place(self._count, self._free, len(self._line))
            if place is Place.SLOT:
                self._free -= 1
                self._begun[run] = self._clock()
            elif place is Place.LINE:
                self._line[run] = None
            return place

    def call_up(self) -> list[Run]:
        """Return those in line who begin now: as many as there are slots that nobody else has taken."""
        if not self._line:
            return []
        with self._lock:
            count = max(0, min(self._free, len(self._line)))
            self._free -= count
            return [self._first_in_line() for _ in range(count)]

    def step_out(self, run: Run) -> bool:
        """Have a run stand in line no longer; False if it does not: it begins, or has begun."""
        with self._lock:
            return self._line.pop(run, run) is None

    def _is_for_the_line(self, *, has_backlog: bool) -> bool:
        """Whether the slot of a run that has just left is for the first in line."""
        if not self._line or len(self._begun) >= self._count:
            return False
        return self._turns.are_trials(waits_in_store=has_backlog or bool(self._waiting))

    def _first_in_line(self) -> Run:
        run = next(iter(self._line))
        del self._line[run]
        self._begun[run] = self._clock()
        return run

    # --- those that are taken ahead ----------------------------------------------------------------------------------

    def withdraw(self) -> list[Run]:
        """Return the runs that wait though their time has come, and let them not begin; they have to leave."""
        with self._lock:
            if not self._is_stuck():
                return []
            late, self._waiting = list(self._waiting), deque()
            return late

    def _give(self, count: int) -> None:
        ahead = min(count, self._ahead)
        self._ahead -= ahead
        self._free += count - ahead

    def _most_ahead(self) -> int:
        # Where a run takes longer than that, all may have begun together: then none ends in time.
        if self._seen < ENOUGH or self._mean >= SOON or self._is_stuck():
            return 0
        return min(MOST_AHEAD, int(self._count * SOON / max(self._mean, SOON / MOST_AHEAD)))

    def _is_stuck(self) -> bool:
        """Whether one runs for longer than others would have to wait for it."""
        oldest = next(iter(self._begun.values()), None)
        return oldest is not None and self._clock() - oldest > SOON

    def _learn(self, seconds: float) -> None:
        self._seen += 1
        self._mean += (seconds - self._mean) * max(WEIGHT, 1 / self._seen)
