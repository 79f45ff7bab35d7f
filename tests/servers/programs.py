"""Programs that tests run beside web servers."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Self

from tests.servers.harness import CHECKOUT, joined, kill_session

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path


class Program:
    """A process beside the web server's, with a log; it is killed at the end of the context, with all its children."""

    stdin = subprocess.DEVNULL

    def __init__(
        self, command: list[str], folder: Path, environment: Mapping[str, str], name: str
    ) -> None:
        self._command = command
        self._folder = folder
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        if "PYTHONPATH" not in environment:
            self._environment["PYTHONPATH"] = joined(CHECKOUT, os.environ.get("PYTHONPATH"))
        self._log = folder / f"{name}.log"
        self.process: Any = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=self.stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it and its children with SIGKILL."""
        kill_session(self.process.pid)
        self.process.wait(10)

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def await_end(self) -> int:
        code: int = self.process.wait(60)
        return code

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


class Supervised(Program):
    """A program that is started again whenever it has ended by itself, as by systemd.

    Celery's worker does so now and then as its broker is killed (kombu looks for a connection that it has let go of),
    `deferit work` if it cannot reach the store as it starts.
    """

    codes: list[int]
    """Exit codes with which it has ended by itself."""

    def __enter__(self) -> Self:
        self.codes = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")
        super().__enter__()
        self._supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._supervisor.join()
        self.kill()

    def strike(self) -> None:
        """Kill all its processes and start it again."""
        with self._lock:
            self._look()
            self._start_again()

    def _supervise(self) -> None:
        while not self._stopped.wait(0.05):
            with self._lock:
                code = self.process.poll()
                if code is None:
                    self._look()
                else:
                    self.codes.append(code)
                    self._start_again()

    def _look(self) -> None:
        """Take note of what there is while it lives."""

    def _start_again(self) -> None:
        self.kill()
        super().__enter__()
