"""Programs that tests run beside web servers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Self

from tests.servers.harness import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Program:
    """A process beside the web server's, with a log; it is killed at the end of the context, with all its children."""

    def __init__(
        self, command: list[str], folder: Path, environment: Mapping[str, str], name: str
    ) -> None:
        self._command = command
        self._folder = folder
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._environment.setdefault("PYTHONPATH", str(CHECKOUT))
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
