"""Gathers how long handlers took, until somebody writes it down."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from deferit._core.rules import REMEMBERED

if TYPE_CHECKING:
    from deferit._core.job import Failure, Job

ALL = ""
"""The name under which jobs of any route are remembered that wait in the one unlimited queue."""


class Durations:
    """The seconds that successful attempts took in this process, by route.

    Failures are not among them: what is refused at once says nothing of the next that is not, and what was broken off
    was not done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, job: Job, now: float, error: Failure | None) -> None:
        """Take note of an attempt that has ended now; from any thread."""
        if error is not None or job.started_at is None or now < job.started_at:
            return
        with self._lock:
            for name in {job.route, job.queue}:
                self._seconds[name].append(now - job.started_at)

    def take(self) -> dict[str, tuple[float, ...]]:
        """Return what was noted since the last time, as much of it as stores remember."""
        with self._lock:
            taken, self._seconds = self._seconds, defaultdict(list)
        return {name: tuple(seconds[-REMEMBERED:]) for name, seconds in taken.items()}
