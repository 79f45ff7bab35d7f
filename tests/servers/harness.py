"""Starts real web servers for tests, stops them, and kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx
from tests.ports import HOST, port_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHECKOUT = Path(__file__).parents[2]

SLOWEST = 100
"""Seconds after which a server that does not answer, or a worker of it, must be hung; a test may take 120."""

PONG = 20
"""Seconds that uvicorn waits for a worker to answer, more than one needs to start on a busy machine.

It does so also if the worker is killed as it is asked, and replaces none meanwhile: less than anybody waits here.
"""

T = TypeVar("T")


class ServerFailed(Exception):
    """The server ended, or was not ready in time; its log is part of the message."""

    def __str__(self) -> str:
        reason, log = self.args
        return f"{reason}; the end of its log:\n{log[-6000:]}"


@dataclass(frozen=True)
class Kind:
    """Which server program runs an application, in how many processes."""

    program: Literal["uvicorn", "gunicorn"]
    workers: int = 1
    preload: bool = False

    def __str__(self) -> str:
        return f"{self.program}-{self.workers}" + ("-preload" if self.preload else "")

    @property
    def interface(self) -> Literal["asgi", "wsgi"]:
        return "asgi" if self.program == "uvicorn" else "wsgi"

    def command(self, app: str, port: int) -> list[str]:
        python = [sys.executable, "-m", self.program]
        if self.program == "uvicorn":
            return [
                *(*python, app, f"--host={HOST}", f"--port={port}", f"--workers={self.workers}"),
                # One that is slow to start is no hung one, to be killed or not to be put in an old one's place.
                f"--timeout-worker-healthcheck={PONG}",
            ]
        return [
            *(*python, app, f"--bind={HOST}:{port}", f"--workers={self.workers}"),
            *(
                "--worker-class=gthread",
                "--threads=8",
                "--graceful-timeout=5",
                f"--timeout={SLOWEST}",
            ),
            "--keep-alive=75",  # as behind a proxy: none is closed while a client that polls asks again
            "--no-control-socket",  # by default one per user, which servers side by side fight for
            *(["--preload"] if self.preload else []),
        ]


UVICORN, UVICORN_2 = Kind("uvicorn"), Kind("uvicorn", 2)
GUNICORN_2, GUNICORN_2_PRELOAD = Kind("gunicorn", 2), Kind("gunicorn", 2, preload=True)
KINDS = (UVICORN, UVICORN_2, GUNICORN_2, GUNICORN_2_PRELOAD)


class Server:
    """One server with its workers, on a free port of the loopback interface.

    Runs `app` ("module:name", imported from `path`) inside `with`, or between `start` and `stop`.
    `folder` is its working directory and gets its log. Started again after a stop or a kill, it
    has the same port, so that the URLs it gave out still lead to it.
    """

    def __init__(
        self,
        kind: Kind,
        app: str,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        path: Path = CHECKOUT,
        patience: float = SLOWEST,
    ) -> None:
        self.kind = kind
        self.app = app
        self.folder = folder
        self.log_file = folder / "server.log"
        self.port = port_of(self)
        self.url = f"http://{HOST}:{self.port}"
        self._environment = {**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"}
        self._environment["PYTHONPATH"] = joined(path, os.environ.get("PYTHONPATH"))
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Return once a request is answered, whatever the answer; raise ServerFailed otherwise."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.kind.command(self.app, self.port),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its workers are in its group: they can be killed at once
            )
        try:
            self._await_answer(self._process)
        except BaseException:
            self.kill_all()
            raise
        return self

    def stop(self) -> None:
        """Ask the master to end, as a deployment does; kill what is left after a while."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self.kill_all()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        assert self._process is not None
        self._process.send_signal(number)

    def await_end(self, within: float = 60.0) -> None:
        """Wait until the master has ended by itself."""
        assert self._process is not None
        self._process.wait(within)

    def kill_all(self) -> None:
        """End the master and all workers with SIGKILL, and return when they are gone."""
        if self._process is None:
            return
        kill_session(self._process.pid)
        self._process.wait(10)
        self._process = None
        until(lambda: not _is_listening(self.port), "the killed server's port to be closed")

    def client(self, **options: Any) -> httpx.Client:
        """Make a client whose relative URLs lead here; the caller closes it."""
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **options)

    @property
    def pid(self) -> int:
        """The master's process, whose group its workers belong to."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._patience
        while not self._answers():
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.02)
                raise ServerFailed(f"{self.kind} ended with exit code {code}", self.log)
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.kind} gave no answer in {self._patience} s", self.log)

    def _answers(self) -> bool:
        try:
            httpx.get(self.url, timeout=self._patience, trust_env=False)
        except httpx.TransportError:
            return False
        return True


def kill_session(leader: int) -> None:
    """End the processes of a session with SIGKILL: its first group at once, then those that have one of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            session = stat.read_text().rpartition(")")[2].split()[3]
            if int(session) == leader:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def until(condition: Callable[[], T | None], what: str, *, within: float = 60.0) -> T:
    """Return the condition's first true value, asked for over and over until time is out."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within} s for {what}; last seen: {value!r}")
        time.sleep(0.01)
    return value


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def joined(path: Path, others: str | None) -> str:
    """Return what `PYTHONPATH` has to be for this path to be searched first."""
    return os.pathsep.join([str(path), *([others] if others else [])])
