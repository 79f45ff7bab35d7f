"""One application of the tests with its middleware, store and client: what a test talks to."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tests.elsewhere.running import employed
from tests.stores.places import need, usual
from tests.web.apps import fastapi_app, flask_app, starlette_app
from tests.web.apps.bench import PATIENCE, Bench
from tests.web.clients import (
    BASE,
    Answer,
    Client,
    FlaskClient,
    StarletteClient,
    TransportClient,
    WSGITransportClient,
)

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit._core.commands import Create
from deferit._core.ids import prefix_at
from deferit._core.queries import Changed, Changes
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from deferit._core.job import Job
    from deferit.stores.base import Store

Framework: TypeAlias = Literal["starlette", "fastapi", "flask"]
Layer: TypeAlias = "Callable[[Any], Any]"
"""Wraps an ASGI or WSGI application."""

FRAMEWORKS: tuple[Framework, ...] = ("starlette", "fastapi", "flask")

ASGI_CLIENTS: dict[str, Callable[[Any, str], Client]] = {
    "TestClient": lambda app, root: StarletteClient(app, root=root),
    "TestClient-lifespan": lambda app, root: StarletteClient(app, lifespan=True, root=root),
    "TestClient-trio": lambda app, root: StarletteClient(app, backend="trio", root=root),
    "TestClient-lifespan-trio": lambda app, root: StarletteClient(
        app, lifespan=True, backend="trio", root=root
    ),
    "ASGITransport": lambda app, root: TransportClient(app, "asyncio", root),
    "ASGITransport-trio": lambda app, root: TransportClient(app, "trio", root),
}
WSGI_CLIENTS: dict[str, Callable[[Any, str], Client]] = {
    "test_client": lambda app, root: FlaskClient(app.test_client(), root),
    "WSGITransport": WSGITransportClient,
}
CLIENTS = {"starlette": ASGI_CLIENTS, "fastapi": ASGI_CLIENTS, "flask": WSGI_CLIENTS}
USUAL_CLIENT = {"starlette": "TestClient", "fastapi": "TestClient-lifespan", "flask": "test_client"}


@dataclass
class Site:
    """What a test talks to."""

    framework: Framework
    bench: Bench
    client: Client
    middleware: ASGIMiddleware | WSGIMiddleware
    app: Any
    """The application inside the middleware."""

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        body: Iterable[bytes] | bytes = b"",
    ) -> Answer:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        return self.client.ask(method, url if "://" in url else BASE + url, pairs, body)

    def get(self, url: str, **headers: str) -> Answer:
        """Read; ``If_None_Match`` is the field If-None-Match."""
        return self.ask("GET", url, _fields(headers))

    def head(self, url: str, **headers: str) -> Answer:
        return self.ask("HEAD", url, _fields(headers))

    def post(self, url: str, body: Iterable[bytes] | bytes = b"", **headers: str) -> Answer:
        return self.ask("POST", url, _fields(headers), body)

    def delete(self, url: str, **headers: str) -> Answer:
        return self.ask("DELETE", url, _fields(headers))

    def defer(self, url: str = "/pages", body: bytes = b"", **headers: str) -> str:
        """Have a request deferred; return the URL of its monitor."""
        answer = self.post(url, body, **headers)
        assert answer.status == 202, answer
        return answer["Location"]

    def end_of(self, monitor: str, **headers: str) -> Answer:
        """Return the monitor's answer when the job is finished."""
        answer = self.get(monitor, Prefer=f"wait={PATIENCE:g}", **headers)
        assert answer.status == 200, answer
        return answer

    def result_of(self, monitor: str, **headers: str) -> Answer:
        """Return the result's answer when the job is finished."""
        self.end_of(monitor)
        return self.get(monitor + "/result", **headers)

    def result_after(self, url: str = "/pages", body: bytes = b"", **headers: str) -> Answer:
        """Have a request deferred, and return the result of it."""
        return self.result_of(self.defer(url, body, **headers))

    def say(
        self, status: int = 200, body: bytes = b"", headers: Any = (), url: str = "/say"
    ) -> str:
        """Defer a request for this very response; return the URL of its monitor."""
        return self.defer(url, saying(status, body, headers))

    def jobs_since(self, moment: float) -> list[str]:
        """Return the ids of the jobs that were made after an instant."""
        with opened(self.middleware.options.store) as store:
            changes = store.read(Changes(0))
        assert isinstance(changes, Changed)
        return [job_id for job_id in changes.job_ids if job_id > prefix_at(moment)]


@contextmanager
def opened(store: Store) -> Iterator[Store]:
    """Look into a store beside the process that uses it: a file through connections of one's own."""
    beside = store_from_url(store.url) if store.is_shared else store
    beside.open()
    try:
        yield beside
    finally:
        beside.close()


def keep(store: Store, *jobs: Job) -> None:
    """Have a store keep jobs that some process made, some time."""
    with opened(store) as beside:
        for outcome in beside.execute([Create(job, b"") for job in jobs]):
            assert not isinstance(outcome, Exception), outcome


def saying(status: int = 200, body: bytes = b"", headers: Any = ()) -> bytes:
    """Return the body with which /say answers so."""
    answer = {"status": status, "body": b64encode(body).decode(), "headers": list(headers)}
    return json.dumps(answer).encode()


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


APPLICATIONS: dict[str, Callable[[Bench], Any]] = {
    "starlette": starlette_app.application,
    "fastapi": fastapi_app.application,
    "flask": flask_app.application,
}


@contextmanager
def site(
    framework: Framework,
    *,
    client: str | None = None,
    inside: Callable[[Any], object] = lambda _: None,
    outside: Layer = lambda app: app,
    root: str = "",
    **options: Any,
) -> Iterator[Site]:
    """Build an application, wrap it and connect a client to it, for as long as the context lasts.

    ``inside`` may change the application before the middleware wraps it, ``outside`` wraps the middleware. Jobs are
    kept where nothing has been yet, unless the test names a store.
    """
    bench = Bench()
    options.setdefault("store", usual())
    need(options["store"])
    build = partial(_built, framework, bench, inside, outside)
    connect = CLIENTS[framework][client or USUAL_CLIENT[framework]]
    with (
        employed(build, options) as (middleware, whole, app),
        connect(whole, root) as connected,
        closing(middleware),
        closing(bench),  # the first: who waits would be given the grace
    ):
        yield Site(framework, bench, connected, middleware, app)


def _built(
    framework: Framework,
    bench: Bench,
    inside: Callable[[Any], object],
    outside: Layer,
    options: dict[str, Any],
) -> tuple[ASGIMiddleware | WSGIMiddleware, Any, Any]:
    """Return the middleware, what a server calls, and the application inside."""
    app = APPLICATIONS[framework](bench)
    inside(app)
    if framework != "flask":
        asgi = ASGIMiddleware(app, **options)
        return asgi, outside(asgi), app
    wsgi = WSGIMiddleware(app.wsgi_app, **options)
    app.wsgi_app = outside(wsgi)
    return wsgi, app, app
