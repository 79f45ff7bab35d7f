"""Deployments: servers that are asked to end, and workers that are replaced under load."""

from __future__ import annotations

import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.matrix import durable, in_one_program, in_process
from tests.ports import HOST
from tests.servers.harness import until
from tests.servers.twins import Deed, Followed, await_workers, followed, ledger, twin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.harness import Kind, Server

pytestmark = [pytest.mark.server, durable]

SHORT_GRACE = {"DEFERIT_GRACE": "0.5"}
CLIENTS = 4
RESTARTS = 2
EACH_ITS_OWN = httpx.Limits(max_keepalive_connections=0)
"""A connection for each request: one that is kept alive leads to the same worker again and again."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def begun(folder: Path, name: str) -> list[Deed] | None:
    return ledger(folder)[name] or None


@in_one_program
def test_a_server_that_is_asked_to_end_lets_nobody_wait(
    kind: Kind, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    with twin(kind, tmp_path, **SHORT_GRACE) as server, server.client() as client:
        job = followed(client, client.post("/work/unsafe?gate=never"))
        until(lambda: begun(tmp_path, "unsafe"), "the job to run")
        streaming = threading.Event()
        polling = {"Prefer": "wait=25", "X-Name": "a-poll"}
        poll = threads.submit(client.get, job.monitor, headers=polling)
        stream = threads.submit(_events, server, job, streaming)
        until(lambda: begun(tmp_path, "a-poll"), "the poll to come")
        assert streaming.wait(60)

        server.tell(signal.SIGTERM)

        assert poll.result(60).status_code == 202
        assert [event for event in stream.result(60) if event.startswith("event")] == [
            "event: status"
        ]
        server.await_end()
        server.start()
        document = job.until_finished()
        assert document["error"]["code"] == "interrupted"


def _events(server: Server, job: Followed, is_there: threading.Event) -> list[str]:
    """Follow a job's events to the end of the stream; return the lines."""
    lines = []
    with server.client() as client, client.stream("GET", f"{job.monitor}/events") as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if line.startswith("data"):
                is_there.set()
    return lines


@in_process
def test_what_runs_gets_its_grace_and_what_waits_is_left_to_the_next(
    kind: Kind, tmp_path: Path
) -> None:
    environment = {"DEFERIT_GRACE": "20", "DEFERIT_CONCURRENCY": "1"}
    server = twin(kind, tmp_path, **environment)
    with server, server.client(limits=EACH_ITS_OWN) as client:
        jobs: list[Followed] = []

        def all_are_busy() -> bool:
            jobs.append(followed(client, client.post(f"/work/long-{len(jobs)}?gate=open")))
            return len(_workers(tmp_path)) == kind.workers

        until(all_are_busy, "each worker to run a job")
        jobs.append(followed(client, client.post("/work/next?gate=open")))

        server.tell(signal.SIGTERM)
        until(lambda: _is_deaf(server), "the server to stop listening")
        (tmp_path / "open").touch()
        server.await_end()
        done = [name for name, deeds in ledger(tmp_path).items() if len(deeds) == 2]
        server.start()
        documents = [job.until_finished() for job in jobs]

    assert len(done) == kind.workers
    assert {(document["status"], document["attempt"]) for document in documents} == {
        ("succeeded", 1)
    }
    assert all(len(deeds) == 2 for deeds in ledger(tmp_path).values())


def _is_deaf(server: Server) -> bool:
    try:
        httpx.get(server.url, trust_env=False)
    except httpx.TransportError:
        return True
    return False


@in_one_program
def test_what_is_safe_to_repeat_is_handed_back_and_runs_again(kind: Kind, tmp_path: Path) -> None:
    with twin(kind, tmp_path, **SHORT_GRACE) as server, server.client() as client:
        job = followed(client, client.put("/work/safe?gate=later"))
        until(lambda: begun(tmp_path, "safe"), "the job to run")

        server.tell(signal.SIGTERM)
        server.await_end()
        (tmp_path / "later").touch()
        server.start()
        document = job.until_finished()

    assert (document["status"], document["attempt"]) == ("succeeded", 2)


@in_one_program
def test_what_is_submitted_to_a_server_that_ends_is_left_to_the_next(
    kind: Kind, tmp_path: Path
) -> None:
    """The signal comes in the middle of the request, whose server has begun to read it."""
    with twin(
        kind, tmp_path, DEFERIT_GRACE="20"
    ) as server:  # it may run the job if the other one hears first
        await_workers(server)  # one that is asked to end before it is up does not say that it hears
        with socket.create_connection((HOST, server.port), 20) as connection:
            connection.sendall(HALF_A_REQUEST)
            assert b" 100 " in connection.recv(4096)
            server.tell(signal.SIGTERM)
            until(lambda: re.search("Shutting down|Worker exiting", server.log), "a worker to hear")
            connection.sendall(b"the rest")
            status, _, head = _all_of(connection).partition(b"\r\n")
        server.await_end()
        before = dict(ledger(tmp_path))
        server.start()
        with server.client() as client:
            location = re.search(rb"(?i)^location: (.*?)\r$", head, re.MULTILINE)
            assert location, head
            job = Followed(client, urlsplit(location[1].decode()).path)
            document = job.until_finished()

    assert b" 202 " in status
    assert (document["status"], document["attempt"]) == ("succeeded", 1)
    assert [deed.event for deed in ledger(tmp_path)["late"]] == ["start", "end"]
    if kind.workers == 1:  # of two, the other one may have heard first
        assert before == {}


HALF_A_REQUEST = (
    b"POST /work/late HTTP/1.1\r\nHost: testserver\r\nContent-Length: 8\r\n"
    b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
)


def _all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@in_one_program
def test_a_rolling_restart_under_load_loses_nothing(
    kind: Kind, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    if kind.workers == 1:
        pytest.skip("one worker cannot be replaced while it serves")
    with twin(kind, tmp_path) as server:
        await_workers(server)
        over = threading.Event()
        clients = [threads.submit(_work, server, f"{name}", over) for name in range(CLIENTS)]
        for count in range(1, RESTARTS + 1):
            _await_workers(tmp_path, count * kind.workers)
            server.tell(signal.SIGHUP)
        _await_workers(tmp_path, (RESTARTS + 1) * kind.workers)
        over.set()
        seen = [document for client in clients for document in client.result(60)]

    assert len(seen) > CLIENTS
    assert {document["status"] for document in seen} == {"succeeded"}
    deeds = ledger(tmp_path)
    for name in deeds:
        assert [deed.event for deed in deeds[name]] == ["start", "end"], name


def _work(server: Server, name: str, over: threading.Event) -> list[dict[str, Any]]:
    """Submit jobs and follow them until it is over; return their last documents."""
    documents: list[dict[str, Any]] = []
    with server.client(limits=EACH_ITS_OWN) as client:
        while not over.is_set():
            job = f"{name}-{len(documents)}"
            accepted = _answer(client, "POST", f"/work/{job}?seconds=0.05", job)
            assert accepted.status_code == 202, accepted.text
            documents.append(_end_of(client, followed(client, accepted)))
    return documents


def _end_of(client: httpx.Client, job: Followed) -> dict[str, Any]:
    while True:
        answer = _answer(client, "GET", job.monitor)
        assert answer.status_code in {200, 202}, answer.text
        if answer.status_code == 200:
            document: dict[str, Any] = answer.json()
            return document


def _answer(client: httpx.Client, method: str, url: str, key: str | None = None) -> httpx.Response:
    """Ask until there is an answer: a connection may lead to a worker that goes away."""
    headers = {"Idempotency-Key": key} if key else {"Prefer": "wait=1"}

    def asked() -> httpx.Response | None:
        try:
            return client.request(method, url, headers=headers)
        except httpx.TransportError:
            return None

    return until(asked, f"an answer to {method} {url}")


def _await_workers(folder: Path, count: int) -> None:
    """Wait until so many workers have worked."""
    until(lambda: len(_workers(folder)) >= count, f"{count} workers to work", within=100)


def _workers(folder: Path) -> set[int]:
    return {deed.process for deeds in ledger(folder).values() for deed in deeds}
