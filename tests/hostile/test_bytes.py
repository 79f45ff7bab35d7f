"""Bytes that are no HTTP, or hardly any, on a socket to a real server: each gets an answer or is hung up on."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.description.states import put
from tests.hostile.requests import Hostile, requests, values
from tests.ports import HOST
from tests.servers.harness import GUNICORN_2, UVICORN, Kind, Server, until

from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit.stores.base import Store

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(900),
]

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "300"))

PATIENCE = 20.0
"""Seconds after which a server that neither answers nor hangs up counts as hung."""

STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Wire:
    """A server and its store, into which jobs are put beside it."""

    def __init__(self, server: Server, store: Store, application: str) -> None:
        self.server = server
        self.store = store
        self.application = application

    def send(self, data: bytes) -> bytes:
        """Return all that comes until the server hangs up; at the end of ours it may."""
        with socket.create_connection((HOST, self.server.port), PATIENCE) as connection:
            with suppress(ConnectionError, OSError):  # it hung up before all was said
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            return _all_from(connection)


def _all_from(connection: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            answer += data
    return answer


@pytest.fixture(scope="module", params=[UVICORN, GUNICORN_2], ids=str)
def wire(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wire]:
    kind: Kind = request.param
    folder: Path = tmp_path_factory.mktemp(str(kind))
    url = f"sqlite:///{folder / 'jobs.db'}"
    environment = {"DEFERIT_STORE": url, "DEFERIT_MAX_WAIT": "0.01"}
    app = f"tests.hostile.apps:{kind.interface}"
    with Server(kind, app, folder, environment=environment) as server, server.client() as client:
        client.post("/pages")  # makes the file
        yield Wire(server, store_from_url(url), f"{kind.interface}:default")


def request_of(asked: Hostile, path: str) -> bytes:
    """Return the request as bytes, however little sense they make."""
    lines = [
        f"{asked.method} {path}?{asked.query} HTTP/1.1",
        *(f"{name}: {value}" for name, value in asked.headers),
        f"Content-Length: {asked.length or len(asked.body)}",
        "Host: testserver",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + asked.body


def as_latin1(data: bytes) -> str:
    return data.decode("latin-1")


several = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@several
@given(asked=requests())
def test_a_request_is_answered_or_refused_and_never_500(wire: Wire, asked: Hostile) -> None:
    path = asked.path
    if asked.state is not None:
        if asked.path == "/events":
            return  # it goes on for as long as its job
        path = f"/jobs/{put(wire.store, asked.state, wire.application)}{asked.path}"

    check(wire.send(request_of(asked, path)))


@several
@given(lines=st.lists(values | st.binary(max_size=300).map(as_latin1), max_size=6))
def test_what_is_no_request_hangs_nobody(wire: Wire, lines: list[object]) -> None:
    head = "\r\n".join(["POST /pages HTTP/1.1", *map(str, lines)])

    check(wire.send(head.encode("latin-1")))


def check(answer: bytes) -> None:
    found = STATUS_LINE.match(answer)
    if found is None:
        assert not answer
        return
    status = int(found[1])
    assert status < 500 or b"asyncresult:" in answer.lower() or status == 501, answer[:500]


def test_after_all_that_the_server_works_and_its_log_has_no_traceback(wire: Wire) -> None:
    with wire.server.client() as client:
        monitor = client.post("/pages", content=b"12345").headers["Location"]
        until(lambda: client.get(monitor).status_code == 200, "a job to be finished")

        assert client.get(monitor + "/result").json() == {"pages": 5}
    assert "Traceback" not in wire.server.log
