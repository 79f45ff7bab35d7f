"""Runs the twin applications under real servers, and speaks with them as a client does."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from tests.matrix import Site, settings
from tests.servers.harness import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.harness import Kind, Server

LEASE = 2.0
"""Seconds: short, so that a lost worker is noticed while the test waits."""
TAKEOVER = LEASE + 5.0
"""Seconds after which the contract promises that a lost job was taken over, or failed."""


def twin(kind: Kind, folder: Path, **environment: str) -> Server:
    """Make a server of the twin application for this kind; it isn't started yet.

    Its store is the file `jobs.db` in its folder; keywords are further environment variables.
    """
    defaults = {
        **settings(folder),
        "DEFERIT_LEASE": str(LEASE),
        "DEFERIT_TEST_FOLDER": str(folder),
        "PYTHONHASHSEED": "0",  # Flask sends the methods of Allow in the order of a set
    }
    app = f"tests.servers.apps.{kind.interface}_app:app"
    return Site(kind, app, folder, environment=defaults | environment)


def plain_twin(kind: Kind, folder: Path) -> Server:
    """Same as `twin`, but without the middleware: what the application answers by itself."""
    return twin(kind, folder, DEFERIT_TEST_PLAIN="1")


def await_workers(server: Server) -> None:
    """Return once each worker has answered; a server answers as soon as its first one can."""
    no_connection_twice = httpx.Limits(max_keepalive_connections=0)
    with server.client(limits=no_connection_twice) as client, ThreadPoolExecutor(8) as threads:
        seen: set[str] = set()

        def all_have_answered() -> bool:
            answers = threads.map(lambda _: client.get("/"), range(16))
            seen.update(answer.headers["X-Worker"] for answer in answers)
            return len(seen) == server.kind.workers

        until(all_have_answered, f"{server.kind.workers} workers to answer")


def take_away(folder: Path) -> None:
    """Remove a folder at once, as others may make files there meanwhile, and put a file in its place."""
    gone = folder.with_name("gone")
    folder.rename(gone)
    folder.touch()
    shutil.rmtree(gone)


@dataclass(frozen=True)
class Followed:
    """A job as a client sees it. Its URLs are asked for by path, whatever host they name."""

    client: httpx.Client
    monitor: str

    @property
    def id(self) -> str:
        return self.monitor.rpartition("/")[2]

    def poll(self) -> httpx.Response:
        return self.client.get(self.monitor)

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = self.poll().json()
        return document

    def until_finished(self, *, within: float = 60.0) -> dict[str, Any]:
        """Return the document of the finished job."""

        def finished() -> dict[str, Any] | None:
            answer = self.client.get(self.monitor, headers={"Prefer": "wait=1"})
            assert answer.status_code in {200, 202}, answer.text
            document: dict[str, Any] = answer.json()
            return document if document["done"] else None

        return until(finished, f"{self.monitor} to be finished", within=within)

    def result(self) -> httpx.Response:
        return self.client.get(f"{self.monitor}/result")


def followed(client: httpx.Client, accepted: httpx.Response) -> Followed:
    """Return the job that a 202 speaks of."""
    assert accepted.status_code == 202, accepted.text
    return Followed(client, urlsplit(accepted.headers["Location"]).path)


class Deed(NamedTuple):
    """A line of the ledger: what a handler did, in which process."""

    event: str
    name: str
    job_id: str
    process: int


def ledger(folder: Path) -> dict[str, list[Deed]]:
    """Return the lines of the ledger by the name that the handler was called with."""
    deeds: dict[str, list[Deed]] = defaultdict(list)
    path = folder / "ledger"
    for line in path.read_text().splitlines() if path.exists() else ():
        event, name, job_id, process = line.split()
        deeds[name].append(Deed(event, name, job_id, int(process)))
    return deeds


def begun(folder: Path) -> set[str]:
    """Return the names that handlers were called with, whether or not they have ended."""
    return {
        name
        for name, deeds in ledger(folder).items()
        if any(deed.event == "start" for deed in deeds)
    }


def records(server: Server) -> list[dict[str, Any]]:
    """Return what deferit has logged."""
    return [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
