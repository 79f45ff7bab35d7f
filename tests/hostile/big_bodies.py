"""What a large upload and a large result cost a server in memory: `make big-bodies`, or with their MiB behind.

It starts the application of this folder on uvicorn and on gunicorn, uploads a body, has it replayed, has a result
recorded and fetches it; the peak of the process that served it (``VmHWM``) is compared with what it held before. More
than 48 MiB above is a failure.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.harness import UVICORN, Kind, Server, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

MEBIBYTE = 1 << 20
LIMIT = 48 * MEBIBYTE
GUNICORN = Kind("gunicorn", 1)
KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
PATIENCE = 600.0


@dataclass(frozen=True)
class Growth:
    """Bytes by which the peak of a process lay above what it held at the beginning, after each step."""

    uploaded: int
    replayed: int
    recorded: int
    fetched: int

    @property
    def most(self) -> int:
        return max(self.uploaded, self.replayed, self.recorded, self.fetched)

    def __str__(self) -> str:
        steps = ("uploaded", "replayed", "recorded", "fetched")
        return ", ".join(f"{step} +{getattr(self, step) / MEBIBYTE:.1f} MiB" for step in steps)


class Meter:
    """The memory of all processes of a server; the one that grows most counts."""

    def __init__(self, server: Server) -> None:
        self._before: dict[int, int] = {}
        for pid in processes_of(server):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew (proc(5))
            self._before[pid] = _status(pid, "VmRSS")

    def growth(self) -> int:
        return max(_status(pid, "VmHWM") - held for pid, held in self._before.items())


def processes_of(server: Server) -> list[int]:
    assert server._process is not None
    return _family(server._process.pid)


def _family(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no {name}")


@contextmanager
def serving(kind: Kind, folder: Path, **environment: str) -> Iterator[tuple[Server, httpx.Client]]:
    """Run the application of this folder, warmed up: what is loaded once is not counted."""
    variables = {"DEFERIT_STORE": f"sqlite:///{folder / 'jobs.db'}", **environment}
    app = f"tests.hostile.apps:{kind.interface}"
    with (
        Server(kind, app, folder, environment=variables) as server,
        server.client() as client,
    ):
        for _ in range(3):
            ended(client, client.post("/upload", content=NOISE))
            client.get(ended(client, client.post("/download/1")) + "/result")
        yield server, client


def ended(client: httpx.Client, accepted: httpx.Response) -> str:
    """Return the monitor of a job that has succeeded."""
    assert accepted.status_code == 202, accepted.text
    monitor = accepted.headers["Location"]
    until(lambda: client.get(monitor).status_code == 200, "the end of a job", within=PATIENCE)
    assert client.get(monitor).json()["status"] == "succeeded"
    return str(monitor)


NOISE = os.urandom(MEBIBYTE)


def measure(kind: Kind, folder: Path, mebibytes: int, **environment: str) -> Growth:
    """Send a body of so many MiB, fetch a result of as many; both arrive as they were sent."""
    with serving(kind, folder, **environment) as (server, client):
        meter, digest = Meter(server), hashlib.sha256()

        def parts() -> Iterator[bytes]:
            for _ in range(mebibytes):
                digest.update(NOISE)
                yield NOISE

        accepted = client.post("/upload", content=parts(), timeout=PATIENCE)
        uploaded = meter.growth()
        monitor = ended(client, accepted)
        assert client.get(monitor + "/result").text == digest.hexdigest()
        replayed = meter.growth()
        monitor = ended(client, client.post(f"/download/{mebibytes}"))
        recorded = meter.growth()
        assert _length(client, monitor + "/result") == mebibytes * MEBIBYTE
        return Growth(uploaded, replayed, recorded, meter.growth())


def _length(client: httpx.Client, url: str) -> int:
    with client.stream("GET", url, timeout=PATIENCE) as answer:
        return sum(len(part) for part in answer.iter_raw())


def main(mebibytes: int = 500) -> bool:
    """Print the figures; return whether they are under the limit."""
    is_small = True
    for kind in (UVICORN, GUNICORN):
        for name, environment in (("", {}), (", encrypted", {"DEFERIT_ENCRYPT": KEY})):
            with tempfile.TemporaryDirectory() as folder:
                growth = measure(kind, Path(folder), mebibytes, **environment)
            print(f"{kind.program}{name}, {mebibytes} MiB: {growth}", flush=True)  # noqa: T201  its report
            is_small &= growth.most < LIMIT
    return is_small


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
