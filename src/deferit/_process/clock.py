"""Notices what keeps others from their leases, so that none is taken for run out because of that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

JUMP = 1.0
"""Seconds by which a clock is set at least; what moves it less is the slow correction of a time service."""


class Clock:
    """Tells whether the instants that other processes wrote can be compared with the present one.

    Instants in a store are the wall clock's, for other machines have to understand them. That clock may be set, and
    then every lease looks as if it had run out, or as if it had long to go. A process that lives sees that it `was_set`
    and renews its leases, by the clock as it is then: until that must have happened nothing is certain. The same holds
    for a process that has just started and cannot know whether the clock was set before, and after the store was out of
    reach: then nobody could renew anything.
    """

    def __init__(
        self,
        patience: float,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Be uncertain for ``patience`` seconds now, and after the clock was set."""
        self._patience = patience
        self._wall = wall
        self._monotonic = monotonic
        self._offset = self._measured()
        self._certain_at = monotonic() + patience

    def doubt(self, seconds: float) -> None:
        """Be uncertain for so many seconds at least."""
        self._certain_at = max(self._certain_at, self._monotonic() + seconds)

    def was_set(self) -> bool:
        """Whether the wall clock was set since it was last looked at; nothing is certain then for a while."""
        before, self._offset = self._offset, self._measured()
        if abs(self._offset - before) <= JUMP:
            return False
        self.doubt(self._patience)
        return True

    def is_certain(self) -> bool:
        """Whether leases that have run out by the clock have really run out."""
        return self._monotonic() >= self._certain_at

    def _measured(self) -> float:
        return self._wall() - self._monotonic()
