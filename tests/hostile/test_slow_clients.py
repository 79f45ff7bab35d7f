"""Clients that take their time keep nobody from working: those who trickle, those who do not read, those who listen."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.hostile.big_bodies import GUNICORN, MEBIBYTE, Meter, ended, serving
from tests.ports import HOST
from tests.servers.harness import UVICORN, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]

MANY = 100
THREADS = 8
"""Of gunicorn, as the harness starts it."""

PER_CLIENT = 640 * 1024
"""Bytes that a client who holds a connection may cost: one piece of a body, and what the server buffers of it."""


@contextmanager
def connections(server: Server, count: int, head: str) -> Iterator[list[socket.socket]]:
    """Connect so often, send so much, and then do nothing."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            connection = socket.socket()
            # As little as there may be, so that the server notices at once that nobody reads.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(30)
            stack.enter_context(connection)
            connection.connect((HOST, server.port))
            connection.sendall(head.replace("\n", "\r\n").encode())
            sockets.append(connection)
        yield sockets


def works(client: httpx.Client) -> bool:
    """Whether a job is accepted, run and answered for."""
    monitor = ended(client, client.post("/pages", content=b"12345"))
    return bool(client.get(monitor + "/result").json() == {"pages": 5})


UPLOAD = "POST /upload HTTP/1.1\nHost: x\nContent-Length: 50000000\n\nthe first bytes"


def read_head(connection: socket.socket) -> bytes:
    """Read no more than the status line and a little."""
    return connection.recv(256)


def test_uploads_that_trickle_hold_up_nobody_on_uvicorn(tmp_path: Path) -> None:
    with serving(UVICORN, tmp_path) as (server, client):
        meter = Meter(server)
        with connections(server, MANY, UPLOAD) as trickling:
            for connection in trickling:
                connection.sendall(100_000 * b"x")
            assert all(works(client) for _ in range(10))

        assert meter.growth() < MANY * PER_CLIENT
        assert works(client)
        assert "Traceback" not in server.log


def test_readers_that_do_not_read_hold_up_nobody_on_uvicorn(tmp_path: Path) -> None:
    """Each asks for 8 MiB; to hold them for all would take 800."""
    with serving(UVICORN, tmp_path) as (server, client):
        monitor = ended(client, client.post("/download/8"))
        meter = Meter(server)
        request = f"GET {urlsplit(monitor).path}/result HTTP/1.1\nHost: x\n\n"
        with connections(server, MANY, request) as waiting:
            assert all(b"200 OK" in read_head(connection) for connection in waiting)
            assert all(works(client) for _ in range(10))

        assert meter.growth() < MANY * PER_CLIENT
        assert works(client)
        assert "Traceback" not in server.log


def test_listeners_that_do_not_listen_hold_up_nobody_on_uvicorn(tmp_path: Path) -> None:
    with serving(UVICORN, tmp_path) as (server, client):
        monitor = client.post("/talk").headers["Location"]
        meter = Meter(server)
        request = f"GET {urlsplit(monitor).path}/events HTTP/1.1\nHost: x\n\n"
        with connections(server, MANY, request) as listening:
            assert all(b"200 OK" in read_head(connection) for connection in listening)
            assert all(works(client) for _ in range(10))
            assert client.post(monitor + "/cancel").json()["status"] == "canceled"

        assert meter.growth() < MANY * PER_CLIENT
        assert works(client)
        assert "Traceback" not in server.log


@pytest.mark.parametrize("is_upload", [True, False], ids=["upload", "result"])
def test_on_gunicorn_each_holds_one_thread_for_as_long_as_it_stays(
    tmp_path: Path, is_upload: bool
) -> None:
    """So it is with every WSGI application: a proxy that buffers has to stand in front."""
    with serving(GUNICORN, tmp_path) as (server, client):
        monitor = ended(client, client.post("/download/8"))
        meter = Meter(server)
        result = f"GET {urlsplit(monitor).path}/result HTTP/1.1\nHost: x\n\n"
        with connections(server, THREADS - 1, UPLOAD if is_upload else result):
            assert all(works(client) for _ in range(10))
        with connections(server, 2 * THREADS, UPLOAD if is_upload else result):
            pass

        assert works(client)
        assert meter.growth() < 2 * THREADS * PER_CLIENT + 8 * MEBIBYTE
