"""What clients that listen to a job's events cost one uvicorn process: `make sse-memory`, or with their number behind.

It starts the application of the tests, connects the clients, has another process change the job they listen to, and
compares the memory that the server holds (its resident set) before and after. More than 64 KiB a client is a failure.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.contract.served.servers import serve
from tests.ports import HOST
from tests.servers.harness import UVICORN, Server, until

from deferit._core.commands import Report
from deferit._core.job import Job
from deferit._core.queries import Get
from deferit.stores import store_from_url

CLIENTS = 1_000
PER_CLIENT = 65_536
"""Bytes that a client may cost: 64 MiB for a thousand."""

WARM_UP = 20
"""Clients that come and go before the measuring begins, so that what is loaded once is not counted."""


@dataclass(frozen=True)
class Figures:
    """Bytes of the server's resident set; seconds from a change until the last client has it."""

    clients: int
    before: int
    connected: int
    told: int
    seconds: float

    @property
    def per_client(self) -> float:
        return (max(self.connected, self.told) - self.before) / self.clients

    def __str__(self) -> str:
        mebibytes = (self.before / 2**20, self.connected / 2**20, self.told / 2**20)
        return (
            "{} clients: {:.1f} MiB before, {:.1f} MiB connected, {:.1f} MiB after a change; "
            "{:.1f} KiB a client; the last one was told after {:.0f} ms"
        ).format(self.clients, *mebibytes, self.per_client / 1024, self.seconds * 1e3)


def measure(clients: int, folder: Path) -> Figures:
    """Run it all; needs two descriptors a client."""
    _allow_descriptors(clients + 200)
    with serve(UVICORN, folder) as server:
        monitor = _running_job(server)
        with ExitStack() as stack:
            _connected(stack, server, monitor, WARM_UP)
        process = server.pid
        before = _resident(process)
        with ExitStack() as stack:
            sockets = _connected(stack, server, monitor, clients)
            connected = _resident(process)
            begun = time.perf_counter()
            _change(server, monitor)
            _hear(sockets, b'"message":"changed"')
            seconds = time.perf_counter() - begun
            told = _resident(process)
        (server.folder / "gate").touch()
    return Figures(clients, before, connected, told, seconds)


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def _running_job(server: Server) -> str:
    """Return the path of the monitor of a job that runs until the file gate is there."""
    with server.client() as client:
        body = '{"name": "listened", "gate": "gate"}'
        accepted = client.post("/always/work", content=body)
        monitor: str = urlsplit(accepted.headers["Location"]).path
        until(lambda: client.get(monitor).json().get("message") == "begun", "the job to begin")
    return monitor


def _connected(stack: ExitStack, server: Server, monitor: str, count: int) -> list[socket.socket]:
    """Connect clients, and wait until each has its first event."""
    request = f"GET {monitor}/events HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    sockets = []
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection((HOST, server.port), timeout=30))
        connection.sendall(request)
        sockets.append(connection)
    _hear(sockets, b"event: status")
    return sockets


def _hear(sockets: list[socket.socket], wanted: bytes) -> None:
    """Read from all connections until each has sent what is wanted."""
    with selectors.DefaultSelector() as selector:
        for connection in sockets:
            selector.register(connection, selectors.EVENT_READ, bytearray())
        while selector.get_map():
            ready = selector.select(30)
            assert ready, f"{len(selector.get_map())} clients have not heard {wanted!r}"
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                key.data.extend(key.fileobj.recv(65_536))
                if wanted in key.data:
                    selector.unregister(key.fileobj)


def _change(server: Server, monitor: str) -> None:
    """Change the job from this process."""
    store = store_from_url(f"sqlite:///{server.folder / 'jobs.db'}")
    store.open()
    job = store.read(Get(monitor.rpartition("/")[2]))
    assert isinstance(job, Job)
    store.execute([Report(job.id, job.attempt, time.time(), None, "changed")])
    store.close()


def _resident(process: int) -> int:
    """Return the bytes that a process has in memory (Linux: /proc/PID/status)."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def main() -> int:
    """Measure, print, and say by the exit code whether it is within the limit."""
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(clients, Path(folder))
    print(figures)  # noqa: T201  what it is for
    return int(figures.per_client > PER_CLIENT)


if __name__ == "__main__":
    sys.exit(main())
