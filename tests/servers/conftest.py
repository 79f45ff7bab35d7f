"""Servers that tests share: the twin applications, deferred and plain, under each kind of server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.matrix import STORE
from tests.servers.harness import KINDS, Kind, Server
from tests.servers.twins import plain_twin, twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx


@pytest.fixture(scope="session", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    if STORE == "memory" and found.workers > 1:
        pytest.skip("memory:// is seen by one process only")
    return found


@pytest.fixture(scope="session")
def server(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared by all tests of a kind: they must leave it running."""
    with twin(kind, tmp_path_factory.mktemp(str(kind))) as running:
        yield running


@pytest.fixture(scope="session")
def plain_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Kind], Server]]:
    """One plain twin for each web interface is enough: its answers don't depend on processes."""
    servers: dict[str, Server] = {}
    with ExitStack() as stack:

        def plain(kind: Kind) -> Server:
            if kind.interface not in servers:
                folder = tmp_path_factory.mktemp("plain")
                servers[kind.interface] = stack.enter_context(plain_twin(kind, folder))
            return servers[kind.interface]

        yield plain


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def plain_client(kind: Kind, plain_servers: Callable[[Kind], Server]) -> Iterator[httpx.Client]:
    with plain_servers(kind).client() as client:
        yield client
