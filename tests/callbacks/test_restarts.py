"""Real servers, killed between the end of a job and its delivery."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.servers.harness import Kind, Server, until

from deferit._core.job import Job
from deferit._core.queries import Get
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from tests.callbacks.receiver import Receiver

pytestmark = pytest.mark.server

KINDS = {
    "asgi": (Kind("uvicorn"), "tests.callbacks.apps:served_asgi"),
    "wsgi": (Kind("gunicorn"), "tests.callbacks.apps:served_wsgi()"),
}


@pytest.fixture
def server(interface: str, receiver: Receiver, tmp_path: Path) -> Iterator[Server]:
    kind, app = KINDS[interface]
    environment = {
        "DEFERIT_STORE": f"sqlite:///{tmp_path / 'jobs.db'}",
        "DEFERIT_LEASE": "1",
        "TEST_HOOK": receiver.url,
        "UVICORN_FACTORY": "1",
    }
    with Server(kind, app, tmp_path, environment=environment) as server:
        yield server


def submitted(client: httpx.Client, path: str, receiver: Receiver) -> str:
    response = client.post(path, headers={"Callback-URL": receiver.url})
    assert response.status_code == 202, response.text
    return str(response.headers["Location"])


def test_a_callback_that_failed_outlives_the_death_of_every_process(
    server: Server, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.statuses = [503, 204]
    with server.client() as client:
        monitor = submitted(client, "/work", receiver)
        until(lambda: is_to_be_tried_again(tmp_path, monitor), "the first attempt to have failed")

        server.kill_all()
        server.start()
        client.get(monitor)  # over WSGI nothing begins before

        first, second = receiver.await_deliveries(2)
    assert first.id == second.id
    assert first.body == second.body
    assert second.document["monitorUrl"] == monitor


def test_the_end_that_the_death_of_a_process_brings_is_told_by_the_next(
    server: Server, receiver: Receiver, tmp_path: Path
) -> None:
    with server.client() as client:
        monitor = submitted(client, f"/work?gate={tmp_path / 'never'}", receiver)
        until(lambda: client.get(monitor).json()["status"] == "running", "the job to run")

        server.kill_all()
        server.start()
        client.get(monitor)

        document = receiver.first().document
    assert (document["status"], document["error"]["code"]) == ("failed", "interrupted")


def is_to_be_tried_again(folder: Path, monitor: str) -> bool:
    store = store_from_url(f"sqlite:///{folder / 'jobs.db'}")
    store.open()
    job = store.read(Get(monitor.rpartition("/")[2]))
    store.close()
    assert isinstance(job, Job)
    assert job.callback is not None
    return (
        job.callback.attempts == 1
        and job.callback_at is not None
        and job.callback_at < time.time() + 6
    )
