"""The Celery workers, seen through Celery's own remote control."""

import os
import signal
from typing import Any

from celery import Celery


class Workers:
    """All workers of a broker."""

    def __init__(self, broker: str, count: int) -> None:
        self._celery = Celery(broker=broker)
        self._count = count

    def are_up(self) -> bool:
        """Whether all of them answer."""
        return len(self._ask("ping")) == self._count

    def running(self, name: str) -> list[str]:
        """Return the ids of the jobs that a worker runs just now."""
        tasks = self._ask("active").get(name, [])
        return [task["id"].rpartition("-")[0] for task in tasks]  # deferit adds the attempt

    def processes(self, name: str) -> list[int]:
        """Return the processes of a worker: its own, then those of its pool."""
        stats = self._ask("stats").get(name)
        return [stats["pid"], *stats["pool"]["processes"]] if stats else []

    def _ask(self, what: str) -> dict[str, Any]:
        """Return the answers by the names of the workers; no longer than it takes all to answer."""
        inspect = self._celery.control.inspect(timeout=2, limit=self._count)
        answers = getattr(inspect, what)() or {}
        return {name.partition("@")[0]: answer for name, answer in answers.items()}


def hold(processes: list[int]) -> None:
    """Have processes stand still."""
    _tell(processes, signal.SIGSTOP)


def let_go(processes: list[int]) -> None:
    """Have processes that stand still go on."""
    _tell(processes, signal.SIGCONT)


def kill(processes: list[int]) -> None:
    """Do what a crash does: none of them can say goodbye."""
    _tell(processes, signal.SIGKILL)


def _tell(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        os.kill(process, number)
