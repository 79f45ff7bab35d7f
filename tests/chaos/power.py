"""Runs a server that takes down what it syncs and when it sends, and reads that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.chaos.herd import herd, store_of

if TYPE_CHECKING:
    import httpx
    from tests.servers.harness import Kind

SUBMISSIONS = 50
SOURCE = Path(__file__).with_name("power.c")


class Event(NamedTuple):
    """A line of the log, see power.c; times are nanoseconds."""

    process: int
    began: int
    ended: int
    kind: str
    descriptor: int
    text: str


@dataclass(frozen=True)
class Recording:
    """What a server did while jobs were submitted to it."""

    events: list[Event]
    jobs: dict[str, str]
    """Ids of the jobs by the names they were submitted under."""
    folder: Path
    """Has the store as it would be after a power cut at the 202 of each job: `<id>.db` and its log."""

    def read(self, name: str) -> Event:
        """Return the event at which a job's request came."""
        return self._only("read", f"/{name}?")

    def sent(self, job_id: str) -> Event:
        """Return the event at which a job's 202 begins to be sent."""
        return self._only("send", job_id)

    def written(self, job_id: str) -> Event:
        """Return the event at which a job was first written to the log."""
        return next(event for event in self.events if event.kind == "wal" and job_id in event.text)

    def syncs(self, after: Event, before: Event) -> list[Event]:
        """Return the syncs of the write-ahead log that lie between two events, whole."""
        return [
            event
            for event in self.events
            if event.kind == "sync"
            and event.text.endswith("-wal")
            and event.process == after.process
            and after.ended <= event.began
            and event.ended <= before.began
        ]

    def _only(self, kind: str, text: str) -> Event:
        (event,) = [event for event in self.events if event.kind == kind and text in event.text]
        return event


def compiled(folder: Path) -> Path:
    """Compile what is preloaded; skip the test on a machine where that cannot be, but fail if it runs in CI."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        _skip("what a server syncs is recorded by a preloaded library: Linux and a C compiler")
    library = folder / "power.so"
    options = ["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [str(compiler), *options, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"], check=True
    )
    return library


def _skip(reason: str) -> None:
    if "CI" in os.environ:
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


def record(
    kind: Kind, folder: Path, library: Path, *, at_once: int, synchronous: str = "full"
) -> Recording:
    """Submit jobs to a server of this kind, so many at a time, and return what it did."""
    snapshots = folder / "power-cuts"
    snapshots.mkdir()
    environment = {
        "DEFERIT_STORE": f"sqlite:///{store_of(folder)}?synchronous={synchronous}",
        "LD_PRELOAD": str(library),
        "POWER_LOG": str(folder / "events"),
        "POWER_FOLDER": str(snapshots),
    }
    with herd(kind, folder, **environment) as server, server.client() as client:
        names = [f"job-{number}" for number in range(SUBMISSIONS)]
        with ThreadPoolExecutor(at_once) as threads:
            ids = list(threads.map(lambda name: _submit(client, name), names))
    jobs = dict(zip(names, ids, strict=True))
    return Recording(_events(folder / "events"), jobs, snapshots)


def _submit(client: httpx.Client, name: str) -> str:
    answer = client.post(f"/work/{name}?seconds=0.02")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _events(path: Path) -> list[Event]:
    return [_event(line) for line in path.read_text().splitlines()]


def _event(line: str) -> Event:
    process, began, ended, kind, descriptor, text = line.split(" ", 5)
    return Event(int(process), int(began), int(ended), kind, int(descriptor), text)
