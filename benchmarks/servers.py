"""Starts contestants, each on the server that its framework is deployed on, and says what they use of the machine."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.exchange import Answer, Connection, request
from tests.ports import HOST
from tests.servers.harness import Kind, Server
from tests.servers.programs import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

CHECKOUT = Path(__file__).parent.parent
PEERS = str(CHECKOUT / ".venv-bench/bin/python")

STARTS_IN = 30.0
"""Seconds in which a contestant has to have done its first job."""

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class ContestantFailed(Exception):
    """A contestant did not do what it was asked."""


@dataclass(frozen=True)
class Quiet(Kind):
    """A server as one measures it: one process, no access log, the fastest parser and loop that it knows."""

    python: str = sys.executable

    def command(self, app: str, port: int) -> list[str]:
        """Return the command line."""
        if self.program == "gunicorn":
            return [self.python, *super().command(app, port)[1:]]
        python = (self.python, "-m", "uvicorn", app, f"--host={HOST}", f"--port={port}")
        return [*python, "--loop=uvloop", "--http=httptools", "--no-access-log"]


UVICORN, GUNICORN = Quiet("uvicorn"), Quiet("gunicorn")


@dataclass(frozen=True, eq=False)
class Contestant:
    """An application on a server; ``app`` is a module of ``benchmarks/apps`` and a name in it.

    Jobs are submitted to ``submit``; where the monitor is the answer says, or ``monitor`` does, and ``result`` is what
    its path goes on with to be the result's. Beside it run ``programs``, each modules and arguments for its Python, and
    ``services``: what they yield is in the environment, by the names given.
    """

    name: str
    kind: Quiet
    app: str
    environment: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[tuple[str, ...], ...] = ()
    services: Mapping[str, Callable[[], AbstractContextManager[str]]] = field(default_factory=dict)
    submit: str = "/reports"
    monitor: str = ""
    result: str = ""

    @property
    def is_bare(self) -> bool:
        """Whether it answers a fixed 202, and does no jobs."""
        return bool(self.monitor)


class Running:
    """A contestant that runs."""

    def __init__(self, contestant: Contestant, server: Server, programs: list[Program]) -> None:
        self.contestant = contestant
        self.server = server
        self.url = server.url
        self.folder = server.folder
        self._programs = programs

    @property
    def name(self) -> str:
        """What the contestant is called."""
        return self.contestant.name

    def submission(self) -> bytes:
        """Return a request that submits a job."""
        return request("POST", self.contestant.submit)

    def monitor(self, answer: Answer) -> str:
        """Return the path of the monitor of a job that was submitted."""
        path = self.contestant.monitor or answer.location
        if answer.status != 202 or path is None:
            raise ContestantFailed(f"{self.name}: {answer.status} {answer.body[:300]!r}")
        return path

    def follow(self, connection: Connection, monitor: str) -> Answer:
        """Ask for a result until it is there; who knows `Prefer: wait` answers when it is, others are asked again."""
        asked = request("GET", monitor + self.contestant.result, Prefer="wait=10")
        deadline = time.monotonic() + STARTS_IN
        while (answer := connection.ask(asked)).status == 202:
            if time.monotonic() > deadline:
                raise ContestantFailed(f"{self.name}: no result in {STARTS_IN} s; {answer.body!r}")
        if answer.status != 200:
            raise ContestantFailed(f"{self.name}: {answer.status} {answer.body[:300]!r}")
        return answer

    def finish_one(self) -> str:
        """Have one job done; return the path of its monitor."""
        with Connection(self.url) as connection:
            monitor = self.monitor(connection.ask(self.submission()))
            self.follow(connection, monitor)
        return monitor

    def cpu(self) -> float:
        """Return the seconds of processor time that its processes have used, and those beside it."""
        return sum((int(stat[11]) + int(stat[12])) * _TICK for stat in self._stats())

    def memory(self) -> tuple[int, int]:
        """Return the bytes that the web server's processes have in memory, with what they share, and with their part.

        These are the resident and the proportional set size.
        """
        sizes = {"Rss:": 0, "Pss:": 0}
        for pid in _group(self.server.pid):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, *size = line.split()
                if name in sizes:
                    sizes[name] += int(size[0]) * 1024
        return sizes["Rss:"], sizes["Pss:"]

    def _stats(self) -> Iterator[list[str]]:
        for leader in (self.server.pid, *(each.process.pid for each in self._programs)):
            for pid in _group(leader):
                yield Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _group(leader: int) -> list[str]:
    """Return the processes of a group."""
    numbers = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in numbers if _group_of(pid) == leader]


def _group_of(pid: str) -> int | None:
    try:
        return os.getpgid(int(pid))
    except ProcessLookupError:
        return None


@contextmanager
def running(contestant: Contestant) -> Iterator[Running]:
    """Run a contestant in an empty folder of its own; all that was started is killed in the end, by its process id."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deferit-bench-")))
        environment = dict(contestant.environment)
        for name, service in contestant.services.items():
            environment[name] = stack.enter_context(service())
        server = Server(contestant.kind, contestant.app, folder, environment=environment)
        stack.callback(server.kill_all)
        server.start()
        programs = [
            stack.enter_context(Program(command, folder, environment, f"beside-{number}"))
            for number, command in enumerate(_commands(contestant))
        ]
        yield Running(contestant, server, programs)


def _commands(contestant: Contestant) -> list[list[str]]:
    return [[contestant.kind.python, *words] for words in contestant.programs]
