"""Clients of applications in this process, all with one interface: httpx's, Starlette's and Flask's own."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import httpx
from anyio.from_thread import start_blocking_portal
from starlette.testclient import TestClient
from werkzeug.test import Client as WerkzeugClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from _typeshed.wsgi import WSGIApplication
    from starlette.types import ASGIApp

BASE = "http://testserver"
ADDRESS = ("203.0.113.7", 50000)

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """What a client got, the same for all of them."""

    status: int
    fields: Fields
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of a field that must not stand there twice."""
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.fields}

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


class Client(ABC):
    """Asks an application in this process; keeps cookies as a browser does."""

    @abstractmethod
    def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: Iterable[bytes] | bytes,
    ) -> Answer:
        """Ask for an absolute URL; a body that is not bytes goes in chunks, without a length."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:  # noqa: B027  not every client holds something
        """Let go of what it holds; with a lifespan, shut the application down; idempotent."""


class StarletteClient(Client):
    """Starlette's `TestClient`; outside its ``with`` every request has an event loop of its own."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        lifespan: bool = False,
        backend: Literal["asyncio", "trio"] = "asyncio",
        root: str = "",
    ) -> None:
        self.client = TestClient(
            app,
            BASE,
            root_path=root,
            backend=backend,
            client=ADDRESS,
            follow_redirects=False,
        )
        self._lifespan = lifespan
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._lifespan:
            self._stack.enter_context(self.client)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.client.close()

    def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: Iterable[bytes] | bytes,
    ) -> Answer:
        answer = self.client.request(
            method, url, headers=list(headers), content=_content(body, iter)
        )
        fields = [(name.decode(), value.decode("latin-1")) for name, value in answer.headers.raw]
        return Answer(answer.status_code, tuple(fields), answer.content)


class TransportClient(Client):
    """httpx over its `ASGITransport`, in an event loop that lasts as long as the client."""

    def __init__(self, app: ASGIApp, backend: Literal["asyncio", "trio"], root: str = "") -> None:
        transport = httpx.ASGITransport(app, root_path=root, client=ADDRESS)
        self._client = httpx.AsyncClient(transport=transport, base_url=BASE)
        self._backend = backend
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal(self._backend))
        return self

    def __exit__(self, *_: object) -> None:
        self._portal.call(self._client.aclose)
        self._stack.close()

    def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: Iterable[bytes] | bytes,
    ) -> Answer:
        content = _content(body, _achunks)
        ask = partial(self._client.request, method, url, headers=list(headers), content=content)
        return _from_httpx(self._portal.call(ask))


class WSGITransportClient(Client):
    """httpx over its `WSGITransport`."""

    def __init__(self, app: WSGIApplication, root: str = "") -> None:
        transport = httpx.WSGITransport(app, script_name=root, remote_addr=ADDRESS[0])
        self._client = httpx.Client(transport=transport, base_url=BASE)

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: Iterable[bytes] | bytes,
    ) -> Answer:
        content = _content(body, iter)
        return _from_httpx(
            self._client.request(method, url, headers=list(headers), content=content)
        )


class FlaskClient(Client):
    """Werkzeug's test client, which Flask's is too."""

    def __init__(self, client: WerkzeugClient, root: str = "") -> None:
        self._client = client
        # The jar of cookies would replace a field that a test sends itself.
        self._bare = WerkzeugClient(client.application, use_cookies=False)
        self._root = root

    def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: Iterable[bytes] | bytes,
    ) -> Answer:
        parts = urlsplit(url)
        environ: dict[str, Any] = {"REMOTE_ADDR": ADDRESS[0], "REMOTE_PORT": ADDRESS[1]}
        if not isinstance(body, bytes):
            # What gunicorn makes of a chunked body: an input that ends by itself.
            environ |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        has_cookies = any(name.lower() == "cookie" for name, _ in headers)
        answer = (self._bare if has_cookies else self._client).open(
            parts.path.removeprefix(self._root),
            method=method,
            base_url=f"{parts.scheme}://{parts.netloc}{self._root}",
            query_string=parts.query,
            headers=list(headers),
            input_stream=BytesIO(body if isinstance(body, bytes) else b"".join(body)),
            content_length=len(body) if isinstance(body, bytes) else None,
            environ_base=environ,
        )
        return Answer(answer.status_code, tuple(answer.headers.items()), answer.data)


def _content(body: Iterable[bytes] | bytes, chunks: Callable[[Iterable[bytes]], Any]) -> Any:
    return body if isinstance(body, bytes) else chunks(body)


async def _achunks(body: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in body:
        yield chunk


def _from_httpx(answer: httpx.Response) -> Answer:
    fields = [(name.decode(), value.decode("latin-1")) for name, value in answer.headers.raw]
    return Answer(answer.status_code, tuple(fields), answer.content)
