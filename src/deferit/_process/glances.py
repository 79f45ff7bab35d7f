"""How soon to look again what other processes did: soon after there was reason to, then ever more seldom."""

from __future__ import annotations

from math import inf

SHORTEST = 0.001
"""Seconds between two looks at the least."""

LATER = 0.25
"""How much longer it may take to notice something than it took to happen, as a part of that."""

SHARE = 0.05
"""The part of its time that one processor may spend with looks, where each finds something."""


class Glances:
    """Knows when there was reason to look, and what a look costs."""

    def __init__(self, longest: float) -> None:
        """Look every ``longest`` seconds without any reason."""
        self._longest = longest
        self._stirred_at = -inf
        self._cost = 0.0

    def stir(self, now: float) -> None:
        """Take note that something may happen soon: somebody begins to wait, or something has just happened."""
        self._stirred_at = now

    def looked(self, seconds: float) -> None:
        """Take note of the processor time of a look."""
        self._cost = seconds

    def pause(self, now: float) -> float:
        """Return the seconds until the next look."""
        soon = max(SHORTEST, self._cost / SHARE, LATER * (now - self._stirred_at))
        return min(soon, self._longest)
