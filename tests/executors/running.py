"""Runs an application with an executor: a web server, and what runs its jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

from tests.servers.harness import CHECKOUT, GUNICORN_2, UVICORN, Kind, Server
from tests.servers.twins import Followed, followed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KINDS = (UVICORN, GUNICORN_2)
APPS = {
    "asgi": "tests.executors.apps.asgi_app:app",
    "wsgi": "tests.executors.apps.wsgi_app:app",
}
LEASE = 2.0


def environment(folder: Path, executor: str, **more: str) -> dict[str, str]:
    return {
        "DEFERIT_STORE": f"sqlite:///{folder / 'jobs.db'}",
        "DEFERIT_LEASE": str(LEASE),
        "DEFERIT_GRACE": "1",
        "DEFERIT_TEST_FOLDER": str(folder),
        "DEFERIT_TEST_EXECUTOR": executor,
        **more,
    }


def site(kind: Kind, folder: Path, executor: str, **more: str) -> Server:
    """Make a web server of the application; it isn't started yet."""
    given = environment(folder, executor, **more)
    return Server(kind, APPS[kind.interface], folder, environment=given)


class Program:
    """A process beside the web server's, with a log; it is killed at the end of the context, with all its children."""

    def __init__(
        self, command: list[str], folder: Path, environment: Mapping[str, str], name: str
    ) -> None:
        self._command = command
        self._folder = folder
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._environment["PYTHONPATH"] = str(CHECKOUT)
        self._log = folder / f"{name}.log"
        self.process: Any = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it and its children with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def await_end(self) -> int:
        code: int = self.process.wait(30)
        return code

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


def worker(kind: Kind, folder: Path, *options: str, name: str = "worker", **more: str) -> Program:
    """Make `deferit work` for the application; it isn't started yet."""
    command = [sys.executable, "-m", "deferit", "work", APPS[kind.interface], *options]
    return Program(command, folder, environment(folder, "worker", **more), name)


def submitted(client: Any, path: str, method: str = "POST") -> Followed:
    return followed(client, client.request(method, path))
