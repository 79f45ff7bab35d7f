"""One and the same application for each framework: routes /{label}/{act} with the marks that a test wants."""

# FastAPI reads the annotations at run time, so no `from __future__ import annotations`.
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import anyio.to_thread
import flask
from fastapi import Depends, FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from tests.contract.stage import Said, Stage

from deferit import deferred

Marks = Mapping[str, Mapping[str, Any] | None]
"""The marks of the handlers behind each label; None: the handler has no mark."""

METHODS = ["GET", "POST", "PUT", "DELETE"]


def starlette_app(stage: Stage, marks: Marks) -> Starlette:
    async def work(request: Request) -> Response:
        name, body = request.path_params["act"], await request.body()
        said = await anyio.to_thread.run_sync(stage.act, name, body, abandon_on_cancel=True)
        return _asgi_response(said)

    return Starlette(
        routes=[
            Route(f"/{label}/{{act}}", _marked(work, mark), methods=METHODS)
            for label, mark in marks.items()
        ]
    )


def fastapi_app(stage: Stage, marks: Marks) -> FastAPI:
    async def whole(request: Request) -> bytes:
        return await request.body()

    def work(act: str, body: Annotated[bytes, Depends(whole)]) -> Response:
        return _asgi_response(stage.act(act, body))

    app = FastAPI()
    for label, mark in marks.items():
        app.api_route(f"/{label}/{{act}}", methods=[*METHODS, "HEAD"])(_marked(work, mark))
    return app


def flask_app(stage: Stage, marks: Marks) -> flask.Flask:
    def work(act: str) -> flask.Response:
        said = stage.act(act, flask.request.get_data())
        response = flask.Response(_made(said), said.status, content_type="text/plain")
        response.headers.extend(said.headers)
        return response

    app = flask.Flask(__name__)
    for label, mark in marks.items():
        app.add_url_rule(f"/{label}/<act>", label, _marked(work, mark), methods=METHODS)
    return app


def _marked(work: Any, mark: Mapping[str, Any] | None) -> Any:
    return work if mark is None else deferred(**mark)(work)


def _asgi_response(said: Said) -> Response:
    body = _made(said)
    make: Any = Response if isinstance(body, bytes) else StreamingResponse
    response: Response = make(body, said.status, media_type="text/plain")
    for name, value in said.headers:
        response.headers.append(name, value)
    return response


def _made(said: Said) -> bytes | Iterator[bytes]:
    return said.body if isinstance(said.body, bytes) else iter(said.body)
