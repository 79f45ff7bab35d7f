"""Servers to follow jobs of, and the clients of both libraries, blocking and awaiting, behind one face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import anyio
import httpx
import httpx2
import pytest
from tests.servers.harness import UVICORN, Kind, Server

from deferit.client import AsyncFollowTransport, FollowTransport, await_, wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = (UVICORN, Kind("gunicorn"))


class Client(Protocol):
    """A client that follows: blocking, whatever it is inside."""

    def request(self, method: str, url: str, **options: Any) -> Any:
        """Send a request; ``follow`` are options of the transport, all else is the library's."""
        ...

    def wait(self, job: str, **options: Any) -> Any:
        """Wait for a job by its URL."""
        ...


class Blocking:
    def __init__(self, library: Any) -> None:
        self.library = library

    def request(self, method: str, url: str, *, follow: Any = None, **options: Any) -> Any:
        chosen: dict[str, Any] = follow or {}
        transport = FollowTransport(**chosen)
        with self.library.Client(transport=transport) as client:
            return client.request(method, url, **options)

    def wait(self, job: str, **options: Any) -> Any:
        with self.library.Client(trust_env=False) as client:
            return wait(job, client, **options)


class Awaiting:
    def __init__(self, library: Any, backend: str) -> None:
        self.library = library
        self.backend = backend

    def request(self, method: str, url: str, *, follow: Any = None, **options: Any) -> Any:
        async def send() -> Any:
            chosen: dict[str, Any] = follow or {}
            transport = AsyncFollowTransport(**chosen)
            async with self.library.AsyncClient(transport=transport) as client:
                return await client.request(method, url, **options)

        return anyio.run(send, backend=self.backend)

    def wait(self, job: str, **options: Any) -> Any:
        async def send() -> Any:
            async with self.library.AsyncClient(trust_env=False) as client:
                return await await_(job, client, **options)

        return anyio.run(send, backend=self.backend)


CLIENTS: dict[str, Client] = {
    "httpx": Blocking(httpx),
    "httpx2": Blocking(httpx2),
    "httpx-asyncio": Awaiting(httpx, "asyncio"),
    "httpx2-trio": Awaiting(httpx2, "trio"),
}

Library: TypeAlias = "Any"


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture(params=[httpx, httpx2], ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> Library:
    return request.param


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """Clients that are made for a call heed the environment's proxies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session", params=KINDS, ids=str)
def things(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Deferit's server, of whose things PUT and DELETE are slow."""
    kind: Kind = request.param
    with things_server(kind, tmp_path_factory.mktemp("things")) as running:
        yield running


def things_server(kind: Kind, folder: Path) -> Server:
    """Return that server, not started."""
    app = f"tests.client.apps.{kind.interface}_app:app"
    return Server(
        kind,
        app,
        folder,
        environment={"DEFERIT_STORE": f"sqlite:///{folder / 'jobs.db'}", "DEFERIT_LEASE": "2"},
    )


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Servers that have never heard of deferit."""
    with Server(
        UVICORN, "tests.client.apps.others:app", tmp_path_factory.mktemp("others")
    ) as running:
        yield running
