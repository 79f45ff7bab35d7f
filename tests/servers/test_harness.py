from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from tests.ports import port_of
from tests.servers.harness import KINDS, UVICORN, Server, ServerFailed, until
from tests.servers.twins import plain_twin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.harness import Kind

pytestmark = pytest.mark.server


@pytest.mark.parametrize("kind", [UVICORN, KINDS[2]], ids=str)
def test_a_server_that_does_not_come_up_shows_its_log(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ZeroDivisionError('while importing')")

    with pytest.raises(ServerFailed, match="ZeroDivisionError: while importing"):
        Server(kind, "broken:app", tmp_path, path=tmp_path).start()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_killed_server_is_gone_and_comes_back_at_the_same_url(kind: Kind, tmp_path: Path) -> None:
    with plain_twin(kind, tmp_path) as server, server.client() as client:
        server.kill_all()

        with pytest.raises(httpx.ConnectError):
            client.get("/")
        server.start()
        assert client.get("/").text == "ready"


def test_a_port_is_kept_while_no_server_listens_there(tmp_path: Path) -> None:
    server = Server(UVICORN, "nothing:app", tmp_path)

    with pytest.raises(OSError, match="in use"):
        port_of(server, server.port)


def test_a_port_is_free_when_its_owner_is_gone(tmp_path: Path) -> None:
    port = Server(UVICORN, "nothing:app", tmp_path).port
    another = Server(UVICORN, "nothing:app", tmp_path)

    assert port_of(another, port) == port


def test_what_never_comes_true_is_said_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"0\.1 s for a number; last seen: 0"):
        until(int, "a number", within=0.1)
