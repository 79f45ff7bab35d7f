"""Starts contestants, each on the server that its framework is deployed on, and says what they use of the machine."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.harness import HOST, Kind, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
CHECKOUT = HERE.parent

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Quiet(Kind):
    """A server as one measures it: one process, no access log, the fastest parser and loop that it knows."""

    def command(self, app: str, port: int) -> list[str]:
        """Return the command line."""
        if self.program == "gunicorn":
            return super().command(app, port)
        python = (sys.executable, "-m", "uvicorn", app, f"--host={HOST}", f"--port={port}")
        return [*python, "--loop=uvloop", "--http=httptools", "--no-access-log"]


UVICORN, GUNICORN = Quiet("uvicorn"), Quiet("gunicorn")


@dataclass(frozen=True)
class Contestant:
    """An application on a server; ``app`` is a module of ``benchmarks/apps`` and a name in it."""

    name: str
    kind: Kind
    app: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Running:
    """A contestant that runs."""

    def __init__(self, contestant: Contestant, server: Server) -> None:
        self.name = contestant.name
        self.server = server
        self.url = server.url

    def cpu(self) -> float:
        """Return the seconds of processor time that its processes have used."""
        return sum((int(stat[11]) + int(stat[12])) * _TICK for stat in self._stats())

    def memory(self) -> int:
        """Return the bytes that its processes have in memory for themselves (unique set size)."""
        return sum(
            int(line.split()[1]) * 1024
            for pid in self._pids()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith(("Private_Clean:", "Private_Dirty:"))
        )

    def _stats(self) -> Iterator[list[str]]:
        for pid in self._pids():
            yield Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()

    def _pids(self) -> list[str]:
        """Return the processes of the server's group."""
        numbers = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in numbers if _group(pid) == self.server.pid]


def _group(pid: str) -> int | None:
    try:
        return os.getpgid(int(pid))
    except ProcessLookupError:
        return None


@contextmanager
def running(*contestants: Contestant) -> Iterator[list[Running]]:
    """Run contestants side by side, each in an empty folder of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(_run(contestant)) for contestant in contestants]


@contextmanager
def _run(contestant: Contestant) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="deferit-bench-") as folder:
        server = Server(
            contestant.kind,
            contestant.app,
            Path(folder),
            environment=contestant.environment,
        )
        with server:
            yield Running(contestant, server)
