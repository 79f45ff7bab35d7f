"""Large bodies in little memory, and a refusal while they come; the full form is `make big-bodies`."""

from __future__ import annotations

import select
import socket
import sys
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING

import pytest
from tests.hostile.big_bodies import (
    GUNICORN,
    KEY,
    MEBIBYTE,
    NOISE,
    Meter,
    measure,
    serving,
)
from tests.ports import HOST
from tests.servers.harness import UVICORN, Kind, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]

LENGTH = 64
"""MiB of a body."""

LIMIT = 24 * MEBIBYTE
"""What a process may grow by: far less than a body, and half of what `make big-bodies` allows."""


@pytest.mark.parametrize("kind", [UVICORN, GUNICORN], ids=str)
@pytest.mark.parametrize("environment", [{}, {"DEFERIT_ENCRYPT": KEY}], ids=["plain", "encrypted"])
def test_a_large_upload_and_a_large_result_cost_little_memory(
    kind: Kind, environment: dict[str, str], tmp_path: Path
) -> None:
    growth = measure(kind, tmp_path, LENGTH, **environment)

    assert growth.most < LIMIT, str(growth)


@pytest.mark.parametrize("kind", [UVICORN, GUNICORN], ids=str)
def test_a_body_without_an_end_is_refused_while_it_comes(kind: Kind, tmp_path: Path) -> None:
    """The client would go on for ever: only an answer before its end can end the test."""

    with serving(kind, tmp_path, DEFERIT_MAX_BODY=str(4 * MEBIBYTE)) as (server, client):
        meter = Meter(server)
        answer = _refusal(server.port, repeat(NOISE))

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"request-too-large"' in answer
        assert meter.growth() < LIMIT
        assert client.post("/upload", content=NOISE).status_code == 202


def _refusal(port: int, parts: Iterator[bytes]) -> bytes:
    """Send a chunked body until there is an answer, as clients that listen do; return what there is of it."""
    with socket.create_connection((HOST, port), 30) as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with suppress(ConnectionError):
            while not select.select([connection], [], [], 0)[0]:
                part = next(parts)
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        answer = b""
        with suppress(ConnectionError):
            while b"}" not in answer and (data := connection.recv(65_536)):
                answer += data
        return answer


@pytest.mark.parametrize("kind", [UVICORN, GUNICORN], ids=str)
def test_a_result_without_an_end_is_cut_off_while_it_comes(kind: Kind, tmp_path: Path) -> None:
    with serving(kind, tmp_path, DEFERIT_MAX_RESULT=str(4 * MEBIBYTE)) as (server, client):
        meter = Meter(server)
        monitor = client.post(f"/download/{10**9}").headers["Location"]
        until(lambda: client.get(monitor).status_code == 200, "the end of the job")

        result = client.get(monitor + "/result")
        assert (result.status_code, result.json()["code"]) == (500, "result-too-large")
        assert meter.growth() < LIMIT
        assert "Traceback" not in server.log
