"""Deferit's own servers are followed: a client that has the transport never sees a 202."""

from __future__ import annotations

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from tests.client.apps.common import LONG
from tests.client.conftest import things_server
from tests.servers.harness import UVICORN, Kind, until

from deferit.client import AsyncFollowTransport, FollowTransport, afollow, await_, follow, wait
from deferit.exceptions import FollowTimeout, JobFailed, JobWasCanceled, MonitorLost, OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.conftest import Client, Library
    from tests.servers.harness import Server

pytestmark = pytest.mark.server


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return the file that the job of ``/work/gate`` waits for, if its body names it."""
    return tmp_path / "gate"


def test_a_request_returns_what_the_handler_answered(client: Client, things: Server) -> None:
    response = client.request("POST", f"{things.url}/work/report", content=b"of 2024")

    assert response.status_code == 201
    assert response.json() == {"method": "POST", "body": "of 2024"}
    assert str(response.request.url) == f"{things.url}/work/report"
    assert response.elapsed.total_seconds() > 0


def test_the_response_tells_its_monitor(client: Client, things: Server) -> None:
    response = client.request("POST", f"{things.url}/work/report")

    monitor = response.extensions["deferit.monitor"]

    assert client.wait(monitor).json() == response.json()


def test_what_the_handler_refuses_is_a_response_as_ever(client: Client, things: Server) -> None:
    response = client.request("POST", f"{things.url}/work/refusal")

    assert (response.status_code, response.json()) == (409, {"detail": "No."})


def test_an_answer_that_is_no_202_passes_through(client: Client, things: Server) -> None:
    response = client.request("GET", f"{things.url}/nowhere")

    assert response.status_code == 404
    assert "deferit.monitor" not in response.extensions


def test_each_status_is_told(client: Client, things: Server, gate: Path) -> None:
    documents: list[dict[str, Any]] = []

    def tell(document: dict[str, Any]) -> None:
        documents.append(document)
        if document.get("progress", 0) > 0:
            gate.touch()

    client.request("POST", f"{things.url}/work/gate", content=str(gate), follow={"on_status": tell})

    progress = [document.get("progress", 0) for document in documents]
    assert documents[-1]["status"] == "succeeded"
    assert progress == sorted(progress)
    assert len(documents) == len({str(document) for document in documents})


def test_a_long_result_is_streamed(library: Library, things: Server) -> None:
    with (
        library.Client(transport=FollowTransport()) as client,
        client.stream("POST", f"{things.url}/work/long") as response,
    ):
        chunks = response.iter_bytes()
        first = next(chunks)
        downloaded = response.num_bytes_downloaded
        rest = b"".join(chunks)

    assert downloaded < len(LONG)
    assert first + rest == LONG


def test_a_job_is_waited_for_by_its_url(library: Library, things: Server) -> None:
    monitor = library.post(f"{things.url}/work/report").headers["Location"]

    response = wait(monitor)

    assert (response.status_code, response.json()["method"]) == (201, "POST")


def test_the_url_of_the_result_will_do_as_well(client: Client, things: Server) -> None:
    accepted = httpx.post(f"{things.url}/work/refusal").json()

    response = client.wait(accepted["resultUrl"])

    assert response.status_code == 409


def test_a_result_is_streamed_through_the_clients_own_connection(
    library: Library, things: Server
) -> None:
    with library.Client() as client:
        accepted = client.post(f"{things.url}/work/long")

        response = wait(accepted, client, stream=True)

        assert not response.is_closed
        assert response.read() == LONG


def test_streaming_needs_a_client(things: Server) -> None:
    with pytest.raises(OptionError, match="needs a client"):
        wait(f"{things.url}/jobs/job_1", stream=True)


def test_an_unknown_job_is_lost(client: Client, things: Server) -> None:
    with pytest.raises(MonitorLost, match="answered 404"):
        client.wait(f"{things.url}/jobs/job_{'0' * 30}")


def test_a_job_that_somebody_cancels_raises(client: Client, things: Server) -> None:
    accepted = httpx.post(f"{things.url}/work/gate", content="never").json()
    with ThreadPoolExecutor(1) as somebody:
        answer = somebody.submit(client.wait, accepted["monitorUrl"])
        httpx.post(accepted["cancelUrl"]).raise_for_status()

        with pytest.raises(JobWasCanceled, match="somebody has canceled the job"):
            answer.result()


def test_following_tells_what_happens_meanwhile(
    library: Library, things: Server, gate: Path
) -> None:
    with library.Client() as client:
        accepted = client.post(f"{things.url}/work/gate", content=str(gate))

        documents = []
        for document in follow(accepted, client):
            documents.append(document)
            if document.get("progress", 0) > 0:
                gate.touch()

    assert documents[-1]["status"] == "succeeded"
    assert documents[-2]["status"] == "running"
    assert documents[-2]["progress"] > 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_following_asynchronously_tells_the_same(things: Server, backend: str) -> None:
    async def documents() -> list[dict[str, Any]]:
        async with httpx.AsyncClient() as client:
            accepted = await client.post(f"{things.url}/work/report")
            found = [document async for document in afollow(accepted)]
            found += [document async for document in afollow(found[-1]["monitorUrl"], client)]
            response = await await_(accepted)
            assert response.status_code == 201
            assert await await_(response) is response
            return found

    found = anyio.run(documents, backend=backend)

    assert [document["status"] for document in found[-2:]] == ["succeeded", "succeeded"]


def test_a_client_that_follows_may_wait_too(library: Library, things: Server) -> None:
    monitor = library.post(f"{things.url}/work/report").headers["Location"]
    with library.Client(transport=FollowTransport()) as client:
        response = wait(monitor, client)

    assert response.status_code == 201


def test_a_job_outlives_the_deadline_and_is_waited_for_later(
    client: Client, things: Server, gate: Path
) -> None:
    url = f"{things.url}/work/gate"
    with pytest.raises(FollowTimeout) as caught:
        client.request("POST", url, content=str(gate), follow={"timeout": 0.5})
    gate.touch()

    response = client.wait(caught.value.url)

    assert response.status_code == 201


@pytest.mark.parametrize("kind", [UVICORN, Kind("gunicorn")], ids=str)
def test_a_restart_of_the_server_is_waited_through(kind: Kind, gate: Path, tmp_path: Path) -> None:
    documents: list[dict[str, Any]] = []
    client = httpx.Client(transport=FollowTransport(on_status=documents.append))
    with things_server(kind, tmp_path) as server, client, ThreadPoolExecutor(1) as thread:
        url = f"{server.url}/work/gate"
        answer = thread.submit(client.post, url, content=str(gate))
        until(lambda: documents and documents[-1].get("progress", 0) > 0, "the job to go on")
        server.kill_all()
        gate.touch()
        server.start()

        response = answer.result(60)

    assert response.status_code == 201
    assert documents[-1]["attempt"] == 2


def test_a_server_that_is_gone_for_good_is_lost(client: Client) -> None:
    with socket.socket() as nobody:  # it has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        monitor = f"http://127.0.0.1:{nobody.getsockname()[1]}/jobs/1"

        with pytest.raises(MonitorLost, match="ConnectError") as caught:
            client.wait(monitor, retries=1)

    assert caught.value.url == monitor


def test_a_handler_that_raised_is_what_the_server_makes_of_it(
    client: Client, things: Server
) -> None:
    documents: list[dict[str, Any]] = []

    with contextlib.suppress(JobFailed):
        response = client.request(
            "POST", f"{things.url}/work/crash", follow={"on_status": documents.append}
        )
        assert response.status_code == 500

    assert documents[-1]["error"]["code"] == "handler-exception"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": "1"}, "timeout='1'"),
        ({"retries": 1.5}, "retries=1.5"),
        ({"on_status": 1}, "on_status=1"),
        ({"time_out": 1}, "did you mean 'timeout'"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        FollowTransport(**options)
    with pytest.raises(OptionError, match=words):
        AsyncFollowTransport(**options)


def test_a_client_of_another_library_is_refused() -> None:
    with pytest.raises(OptionError, match="is not of httpx or httpx2"):
        list(follow(object()))
