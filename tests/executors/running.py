"""Runs an application with an executor: a web server, and what runs its jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.servers.harness import GUNICORN_2, UVICORN, Kind, Server
from tests.servers.programs import Program
from tests.servers.twins import Followed, followed

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


def worker(kind: Kind, folder: Path, *options: str, name: str = "worker", **more: str) -> Program:
    """Make `deferit work` for the application; it isn't started yet."""
    command = [sys.executable, "-m", "deferit", "work", APPS[kind.interface], *options]
    return Program(command, folder, environment(folder, "worker", **more), name)


def submitted(client: Any, path: str, method: str = "POST") -> Followed:
    return followed(client, client.request(method, path))


def goes_on(process: int) -> bool:
    """Whether a process goes on; one that has ended may wait to be reaped by who knows whom."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
