"""A server whose workers can be killed one by one, and the monkey that does so."""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.harness import Kind, Server, until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

LEASE = 2.0
KINDS = (Kind("uvicorn", 2), Kind("gunicorn", 3))


def herd(kind: Kind, folder: Path, **environment: str) -> Herd:
    """Make a server of the application for this kind; it isn't started yet."""
    defaults = {
        "DEFERIT_STORE": f"sqlite:///{store_of(folder)}",
        "DEFERIT_LEASE": str(LEASE),
        "DEFERIT_GRACE": "1",
        "DEFERIT_CHAOS_FOLDER": str(folder),
    }
    app = f"tests.chaos.apps.{kind.interface}_app:app"
    return Herd(kind, app, folder, environment=defaults | environment)


def store_of(folder: Path) -> Path:
    return folder / "jobs.db"


class Herd(Server):
    """A server that knows the processes of its workers."""

    def workers(self) -> list[int]:
        """Return the master's children that serve, or will in a moment."""
        process = self._process
        if process is None:
            return []
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        except OSError:  # it has just been killed
            return []
        return [int(child) for child in children.split() if _is_worker(int(child))]


def _is_worker(process: int) -> bool:
    """Whether a child of the master serves: multiprocessing has a helper beside those."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(command) and b"resource_tracker" not in command


class Blow(StrEnum):
    """What can happen to a server."""

    WORKER = "kill -9 of a worker"
    EVERYONE = "kill -9 of the whole group, and a restart"
    DEPLOY = "SIGTERM of a worker"


def plan(kills: int, chance: random.Random) -> list[Blow]:
    """Return so many kills in a random order, of them one in twelve of the whole group; and as many SIGTERMs extra."""
    few = max(1, kills // 12)
    blows = [Blow.EVERYONE] * few + [Blow.WORKER] * (kills - few) + [Blow.DEPLOY] * few
    chance.shuffle(blows)
    return blows


class Monkey:
    """Strikes workers, and remembers whom."""

    def __init__(self, server: Herd, chance: random.Random) -> None:
        self.struck: set[int] = set()
        self._server = server
        self._chance = chance

    def strike(self, blow: Blow) -> None:
        if blow is Blow.EVERYONE:
            self.struck.update(self._server.workers())
            self._server.kill_all()
            self._server.start()
            return
        how = signal.SIGKILL if blow is Blow.WORKER else signal.SIGTERM
        until(lambda: self._strike_one(how), "a worker that can be killed")

    def _strike_one(self, how: signal.Signals) -> bool:
        workers = self._server.workers()
        if not workers:
            return False
        victim = self._chance.choice(workers)
        self.struck.add(victim)
        try:
            os.kill(victim, how)
        except ProcessLookupError:
            return False
        return True

    def pause(self, wait: Callable[[float], object]) -> None:
        """Let a random time pass: workers are struck while they start, too."""
        wait(self._chance.uniform(0.0, 1.0))
