"""Whose turn it is when a slot becomes free: a trial's, whose client waits for it, or a stored job's."""

from __future__ import annotations

from enum import Enum

MOST_IN_LINE = 256
"""Trials that wait for a slot at the most: what they have captured is in memory, up to a mebibyte each."""


class Place(Enum):
    """Where a new trial goes."""

    SLOT = "it begins at once"
    LINE = "it waits for a slot, in memory"
    STORE = "it waits for a slot as a stored job does"


class Turns:
    """Decides who gets a slot, so that neither trials nor stored jobs can keep the others from it.

    A trial that finds no free slot waits in line, for as long as its client has time; then it is stored, and waits
    behind all that are. Trials begin in the order in which they came. While jobs wait in the store as well, every
    second slot that becomes free is left to them, however many trials come.
    """

    def __init__(self) -> None:
        self._were_trials = False

    @staticmethod
    def place(slots: int, free: int, in_line: int) -> Place:
        """Return where a new trial goes, where so many ``slots`` are ``free``, and so many trials are ``in_line``.

        What is free while others are in line is left to the store. Where no jobs run, there is nothing to wait for.
        """
        if free > 0 and in_line == 0:
            return Place.SLOT
        return Place.LINE if slots > 0 and in_line < MOST_IN_LINE else Place.STORE

    def are_trials(self, *, waits_in_store: bool) -> bool:
        """Whether the slot that has become free is for the first in line, where there is one."""
        self._were_trials = not (waits_in_store and self._were_trials)
        return self._were_trials
