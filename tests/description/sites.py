"""Applications that answer problems of their own, with deferit around them and a list."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask import Response as FlaskResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from tests.description.states import OWNER, put
from tests.web.clients import BASE, Client, StarletteClient, WSGITransportClient

from deferit import ASGIMiddleware, WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from tests.web.clients import Answer
    from werkzeug.exceptions import HTTPException

SECONDS = 0.05
"""How long a client may wait at the most."""

PROBLEM = {
    "type": "https://shop.example/problems/not-found",
    "title": "Not found",
    "status": 404,
    "detail": "The application has no such page.",
    "code": "job-not-found",
}
"""What the applications answer to paths that are theirs: a segment under the prefix that is no id."""


@contextmanager
def site(framework: str) -> Iterator[ASGIMiddleware | WSGIMiddleware]:
    """Build an application in its middleware; its jobs are in memory, and all visitors are their owner."""
    wrap = _flask if framework == "flask" else _starlette
    middleware: ASGIMiddleware | WSGIMiddleware
    middleware = wrap(store="memory://", owner=lambda _request: OWNER, max_wait=SECONDS)
    try:
        yield middleware
    finally:
        middleware.close()


@dataclass(frozen=True)
class Visitor:
    """Asks such an application, and has jobs put into its store."""

    client: Client
    middleware: ASGIMiddleware | WSGIMiddleware

    def put(self, state: str) -> str:
        """Return the id of a new job in this state."""
        return put(self.middleware.options.store, state, self.middleware.application)

    def ask(self, method: str, url: str) -> Answer:
        return self.client.ask(method, BASE + url, [], b"")

    def ask_about(self, state: str, method: str, resource: str) -> Answer:
        """Ask for what is behind the id of a new job in this state."""
        return self.ask(method, "/".join(filter(None, ("/jobs", self.put(state), resource))))


@contextmanager
def visitor(framework: str) -> Iterator[Visitor]:
    with site(framework) as middleware:
        client: Client
        if isinstance(middleware, ASGIMiddleware):
            client = StarletteClient(middleware)
        else:
            client = WSGITransportClient(middleware)
        with client:
            yield Visitor(client, middleware)


def _flask(**options: Any) -> WSGIMiddleware:
    app = Flask(__name__, static_folder=None)

    @app.errorhandler(404)
    def not_found(_: HTTPException) -> FlaskResponse:
        return FlaskResponse(json.dumps(PROBLEM), 404, HEADERS)

    return WSGIMiddleware(app.wsgi_app, **options)


def _starlette(**options: Any) -> ASGIMiddleware:
    async def not_found(_request: Request, _exc: Exception) -> JSONResponse:
        return JSONResponse(PROBLEM, 404, HEADERS)

    return ASGIMiddleware(Starlette(exception_handlers={404: not_found}), **options)


HEADERS = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
