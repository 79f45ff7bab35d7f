"""What the contract promises of several processes and of real connections."""

from __future__ import annotations

import json
import socket
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.contract.served.servers import serve
from tests.contract.sse import events
from tests.matrix import EXECUTOR
from tests.servers.harness import GUNICORN_2, UVICORN_2, Kind, Server, until

from deferit._core.commands import Create, Report
from deferit._core.ids import make_id
from deferit._core.job import Job
from deferit._core.queries import Changes
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.matrix import Site

    from deferit.stores.base import Store

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=[UVICORN_2, GUNICORN_2], ids=str)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    kind: Kind = request.param
    with serve(kind, tmp_path_factory.mktemp(str(kind))) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client that takes a new connection for each request, so that any worker may answer."""
    with server.client(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


@pytest.fixture
def other(server: Site) -> Iterator[Store]:
    """The store of the server, used by a process that is none of its workers: this one."""
    store = store_from_url(server.store)
    store.open()
    yield store
    store.close()


def wish(name: str, gate: str = "") -> bytes:
    return json.dumps({"name": name, "gate": gate}).encode()


def began(server: Server) -> Counter[str]:
    """Return how often the handler has begun with each name."""
    path = server.folder / "ledger"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.split()[0] for line in lines)


def finished(client: httpx.Client, monitor: str) -> dict[str, Any]:
    def end() -> dict[str, Any] | None:
        document: dict[str, Any] = client.get(monitor, headers={"Prefer": "wait=1"}).json()
        return document if document["done"] else None

    return until(end, f"{monitor} to be finished")


def path_of(answer: httpx.Response) -> str:
    assert answer.status_code == 202, answer.text
    return urlsplit(answer.headers["Location"]).path


# --- one job for many requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["always", "auto", "shared"])
def test_parallel_requests_over_two_workers_run_the_handler_once(
    server: Server, client: httpx.Client, label: str
) -> None:
    name = f"once-{label}"
    headers = {"Prefer": "respond-async"}
    if label != "shared":
        headers["Idempotency-Key"] = f'"{name}"'
    start = threading.Barrier(20)

    def submit(_: int) -> httpx.Response:
        start.wait()
        return client.post(f"/{label}/work", content=wish(name, name), headers=headers)

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(submit, range(20)))
    (server.folder / name).touch()
    monitors = {path_of(answer) for answer in answers}
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]

    assert len(monitors) == 1
    assert replayed.count("true") == (0 if label == "shared" else 19)
    assert finished(client, monitors.pop())["status"] == "succeeded"
    assert began(server)[name] == 1


# --- clients that leave ----------------------------------------------------------------------------------------------


def test_a_client_that_hangs_up_while_it_waits_does_not_end_the_job(
    server: Server, client: httpx.Client, other: Store
) -> None:
    if server.kind.interface == "wsgi":
        pytest.skip("over WSGI nobody tells an application that its client has left")
    before = jobs(other)
    body = wish("left", "left")
    head = f"POST /auto/work HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: began(server)["left"], "the handler to begin")

    (job_id,) = until(lambda: jobs(other) - before, "the job to be stored")
    (server.folder / "left").touch()
    document = finished(client, f"/jobs/{job_id}")

    assert (document["status"], document["attempt"]) == ("succeeded", 1)
    assert client.get(f"/jobs/{job_id}/result").text == "left is done"
    assert began(server)["left"] == 1


def jobs(store: Store) -> set[str]:
    changed: Any = store.read(Changes(0))
    return set(changed.job_ids)


def test_a_handler_that_ends_in_time_is_answered_by_a_real_server(
    client: httpx.Client, other: Store
) -> None:
    before = jobs(other)

    answer = client.post("/auto/work", content=wish("quick"))

    assert (answer.status_code, answer.text) == (201, "quick is done")
    assert answer.headers["X-Own"] == "yes"
    assert "Prefer" in answer.headers["Vary"]
    if EXECUTOR == "in-process":  # else others run it, and find it in the store
        assert jobs(other) == before


# --- changes by another process --------------------------------------------------------------------------------------


def running_here(store: Store, application: str) -> Job:
    """Have this process run a job."""
    now = time.time()
    fields = {"route": "x", "method": "POST", "ttl": 60.0, "application": application}
    fields |= {"created_at": now, "updated_at": now, "due_at": now}
    job = Job(id=make_id(now, bytes(16)), **fields).claimed(now)  # type: ignore[arg-type]
    store.execute([Create(job, b"", lease_until=now + 60)])
    return job


CHANGES = 50


@pytest.mark.parametrize("way", ["stream", "poll"])
def test_a_change_by_another_process_is_seen_soon(
    server: Server,
    client: httpx.Client,
    other: Store,
    way: str,
    record_property: pytest.FixtureRequest,
) -> None:
    job = running_here(other, f"{server.kind.interface}:default")
    changed_at: list[float] = []
    seen_at: list[float] = []
    turn = threading.Semaphore(0)
    follow = follow_stream if way == "stream" else follow_polls
    follower = threading.Thread(target=follow, args=(client, job, seen_at, turn))
    follower.start()

    for number in range(1, CHANGES + 1):
        assert turn.acquire(timeout=20)
        time.sleep(0.001 * (number * 7 % 50))  # at any time between two looks of the other process
        changed_at.append(time.perf_counter())
        other.execute([Report(job.id, job.attempt, time.time(), None, f"change {number}")])
    follower.join(20)
    delays = sorted(seen - changed for changed, seen in zip(changed_at, seen_at, strict=True))

    figures = f"median {statistics.median(delays) * 1e3:.0f} ms, max {delays[-1] * 1e3:.0f} ms"
    print(f"\n{server.kind} {way}: {figures}")  # noqa: T201  shown by -s
    assert statistics.median(delays) < 0.5, figures


def follow_stream(
    client: httpx.Client, job: Job, seen_at: list[float], turn: threading.Semaphore
) -> None:
    with client.stream("GET", f"/jobs/{job.id}/events") as stream:
        told = events(stream.iter_raw())
        next(told)
        turn.release()
        for event in told:
            seen_at.append(time.perf_counter())
            if event.document["message"] == f"change {CHANGES}":
                return
            turn.release()


def follow_polls(
    client: httpx.Client, job: Job, seen_at: list[float], turn: threading.Semaphore
) -> None:
    tag = client.get(f"/jobs/{job.id}").headers["ETag"]
    for _ in range(CHANGES):
        turn.release()
        answer = client.get(f"/jobs/{job.id}", headers={"Prefer": "wait=20", "If-None-Match": tag})
        seen_at.append(time.perf_counter())
        tag = answer.headers["ETag"]


def test_the_stream_of_a_real_server_ends_with_the_job(
    server: Server, client: httpx.Client
) -> None:
    monitor = path_of(client.post("/always/work", content=wish("streamed", "streamed")))

    with client.stream("GET", f"{monitor}/events") as stream:
        told = events(stream.iter_raw())
        first = next(told)
        (server.folder / "streamed").touch()
        *_, last = told
    again = client.get(f"{monitor}/events", headers={"Last-Event-ID": last.fields["id"]})

    assert stream.headers["Content-Type"] == "text/event-stream"
    assert first.document["done"] is False
    assert last.document["status"] == "succeeded"
    assert again.status_code == 204


# --- proxies ---------------------------------------------------------------------------------------------------------


def test_a_server_that_trusts_its_proxy_has_the_scheme_in_the_urls(
    server: Server, client: httpx.Client
) -> None:
    """Uvicorn reads the fields of a proxy on the loopback interface by itself, gunicorn the scheme only."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}

    answer = client.post(
        "/always/work", content=wish("proxied"), headers={**headers, "Host": "shop.example"}
    )

    assert answer.headers["Location"].startswith("https://shop.example/jobs/job_")
    assert answer.json()["eventsUrl"].startswith("https://shop.example/jobs/job_")


def test_base_url_is_what_the_environment_says(tmp_path: Path) -> None:
    kind = Kind("uvicorn")
    with (
        serve(kind, tmp_path, DEFERIT_BASE_URL="https://shop.example/api") as server,
        server.client() as client,
    ):
        answer = client.post("/always/work", content=wish("based"))
        monitor = urlsplit(answer.headers["Location"])
        document = finished(client, monitor.path.removeprefix("/api"))

    assert (monitor.netloc, monitor.path[:9]) == ("shop.example", "/api/jobs")
    assert document["resultUrl"].startswith("https://shop.example/api/jobs/job_")
