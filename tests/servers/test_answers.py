from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.servers.harness import UVICORN, UVICORN_2, until
from tests.servers.twins import followed, records
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from tests.servers.harness import Kind, Server

pytestmark = pytest.mark.server

of_asgi = pytest.mark.parametrize("kind", [UVICORN, UVICORN_2], ids=str, indirect=True)


def test_the_202_leaves_before_the_handler_ends(server: Server, client: httpx.Client) -> None:
    job = followed(client, client.post("/slow", params={"gate": "slow"}))

    pending = job.result()
    (server.folder / "slow").touch()
    document = job.until_finished()

    assert pending.status_code == 202
    assert not pending.json()["done"]
    assert document["status"] == "succeeded"
    assert job.result().text == "at last"


def test_the_first_poll_is_never_404_whichever_worker_answers(server: Server, kind: Kind) -> None:
    no_connection_twice = httpx.Limits(max_keepalive_connections=0)
    with server.client(limits=no_connection_twice) as client, ThreadPoolExecutor(4) as threads:

        def submit_and_poll(name: int) -> tuple[int, bool]:
            accepted = client.post(f"/work/first-poll-{name}")
            poll = followed(client, accepted).poll()
            return poll.status_code, poll.headers["X-Worker"] != accepted.headers["X-Worker"]

        def round_of_polls() -> bool:
            answers = list(threads.map(submit_and_poll, range(100)))
            assert {status for status, _ in answers} <= {200, 202}
            return any(elsewhere for _, elsewhere in answers) or kind.workers == 1

        assert until(
            round_of_polls, "a poll that another worker answers than the one that accepted"
        )


REFUSED: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "unauthorized": (401, "POST", "/private", {}),
    "unknown": (404, "POST", "/nowhere", {}),
    "wrong method": (405, "PATCH", "/json", {}),
    "invalid": (422, "POST", "/orders", {"json": {"amount": "much"}}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_application_refuses_is_refused_at_once_and_makes_no_job(
    case: str, server: Server, client: httpx.Client, plain_client: httpx.Client
) -> None:
    status, method, url, options = REFUSED[case]
    known = _jobs(server)

    refusal = client.request(method, url, **options)
    next_job = followed(client, client.post("/work/after-refusal"))
    next_job.until_finished()

    assert refusal.status_code == status
    assert _as_sent(refusal) == _as_sent(plain_client.request(method, url, **options))
    assert _jobs(server) - known == {next_job.id}


def test_what_the_application_lets_through_is_deferred(client: httpx.Client) -> None:
    token = {"Authorization": "Bearer sesame"}

    private = followed(client, client.post("/private", headers=token))
    order = followed(client, client.post("/orders", json={"amount": 7}))

    assert private.until_finished()["status"] == "succeeded"
    assert private.result().text == "for your eyes only"
    assert order.until_finished()["status"] == "succeeded"
    assert order.result().json() == {"amount": 7}


@pytest.mark.parametrize("url", ["/", "/jobs/42"])
def test_unmarked_routes_answer_as_without_deferit(
    url: str, client: httpx.Client, plain_client: httpx.Client
) -> None:
    assert _as_sent(client.get(url)) == _as_sent(plain_client.get(url))


def test_an_unmarked_stream_arrives_while_it_is_made(server: Server, client: httpx.Client) -> None:
    with client.stream("GET", "/stream", params={"gate": "stream"}) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        (server.folder / "stream").touch()

        assert (answer.status_code, first, *lines) == (200, "first", "last")


@of_asgi
def test_websockets_pass_through(server: Server) -> None:
    url = server.url.replace("http", "ws") + "/websocket"
    with connect(url, proxy=None) as websocket:
        websocket.send("hello")

        assert websocket.recv() == "/websocket: hello"


@of_asgi
def test_an_async_handler_runs_on_the_event_loop_of_the_lifespan(client: httpx.Client) -> None:
    job = followed(client, client.get("/loop"))

    assert job.until_finished()["status"] == "succeeded"
    assert job.result().json() is True


def _jobs(server: Server) -> set[str]:
    return {record["job_id"] for record in records(server) if record["job_id"]}


def _as_sent(response: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    return response.status_code, sorted(_lasting(response.headers.multi_items())), response.content


def _lasting(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in headers if name not in {"date", "x-worker"})
