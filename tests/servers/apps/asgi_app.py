"""The Starlette twin: the handlers of wsgi_app.py, and what only ASGI has."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from tests.executors.apps.setting import celery_app, executing
from tests.servers.apps import common

from deferit import ASGIMiddleware, deferred

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from starlette.websockets import WebSocket

    View = Callable[[Request], Awaitable[Response]]


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"loop": asyncio.get_running_loop()}


def requires_token(view: View) -> View:
    @functools.wraps(view)
    async def guarded(request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer sesame":
            return PlainTextResponse("who are you?", 401, {"WWW-Authenticate": "Bearer"})
        return await view(request)

    return guarded


def requires_amount(view: View) -> View:
    @functools.wraps(view)
    async def validated(request: Request) -> Response:
        order = await request.json()
        if not isinstance(order.get("amount"), int):
            return JSONResponse({"amount": "not an integer"}, 422)
        return await view(request)

    return validated


async def ready(_: Request) -> Response:
    return PlainTextResponse("ready")


@deferred
async def echo(request: Request) -> Response:
    body = await request.body()
    client = request.client or ("nobody", 0)
    return JSONResponse(
        {
            "method": request.method,
            "url": str(request.url),
            "path": request.url.path,
            "decoded": request.scope["path"],
            "raw": request.scope["raw_path"].decode("latin-1"),
            "query": request.query_params.multi_items(),
            "headers": sorted(request.headers.items()),
            "cookies": request.cookies,
            "length": len(body),
            "sha256": common.sha256(body),
            "client": [*client],
        }
    )


@deferred
async def answer_json(request: Request) -> Response:
    order = await request.json()
    return JSONResponse({"order": order, "said": "žluťoučký kůň"}, 201, {"Location": "/orders/7"})


@deferred
async def big(_: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in common.big_chunks():
            yield chunk

    return StreamingResponse(chunks(), media_type="application/octet-stream")


@deferred
def empty(_: Request) -> Response:
    return Response(status_code=204)


@deferred
async def unchanged(_: Request) -> Response:
    return Response(status_code=304, headers={"ETag": '"v1"'})


@deferred
async def repeated(_: Request) -> Response:
    response = PlainTextResponse("twice")
    for value in ("one", "two; with=parts", "Größe"):
        response.headers.append("X-Part", value)
    return response


@deferred
async def upload(request: Request) -> Response:
    fields: list[list[Any]] = []
    async with request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                content = await value.read()
                fields.append(
                    [name, value.filename, value.content_type, common.sha256(content), len(content)]
                )
            else:
                fields.append([name, value])
    return JSONResponse(fields)


@deferred
async def form(request: Request) -> Response:
    async with request.form() as fields:
        return JSONResponse(fields.multi_items())


@deferred
async def slow(request: Request) -> Response:
    await common.apass_gate(request.query_params["gate"])
    return PlainTextResponse("at last")


async def work(request: Request) -> Response:
    name = request.path_params["name"]
    common.note("start", name)
    await common.apass_gate(request.query_params.get("gate"))
    await asyncio.sleep(float(request.query_params.get("seconds", "0")))
    common.note("end", name)
    return PlainTextResponse(name)


@deferred
def fail(_: Request) -> Response:
    raise RuntimeError("the handler's own trouble")


@deferred
async def refuse(_: Request) -> Response:
    return JSONResponse({"sorry": "already shipped"}, 409)


@requires_token
@deferred
async def private(_: Request) -> Response:
    return PlainTextResponse("for your eyes only")


@requires_amount
@deferred
async def order(request: Request) -> Response:
    return JSONResponse(await request.json())


@deferred
async def is_on_the_servers_loop(request: Request) -> Response:
    return JSONResponse(request.state.loop is asyncio.get_running_loop())


async def job_42(_: Request) -> Response:
    return PlainTextResponse("the application's own job 42")


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        yield "first\n"
        await common.apass_gate(request.query_params["gate"])
        yield "last\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def websocket_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{websocket.url.path}: {text}")


def naming_its_worker(inner: ASGIApp) -> ASGIApp:
    """Wrap everything, deferit included: every answer tells the process that wrote it.

    A request that gives itself a name has that in the ledger once it has come.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (name := Headers(scope=scope).get("X-Name")):
            common.note("came", name)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Worker"] = str(os.getpid())
            await send(message)

        await inner(scope, receive, send_named)

    return app


starlette = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", ready),
        Route("/echo/{rest:path}", echo, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        Route("/json", answer_json, methods=["POST"]),
        Route("/big", big),
        Route("/empty", empty),
        Route("/unchanged", unchanged),
        Route("/repeated", repeated),
        Route("/upload", upload, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/slow", slow, methods=["POST"]),
        Route("/work/{name}", deferred(work), methods=["POST", "PUT"]),
        Route("/repeatable/{name}", deferred(repeatable=True)(work), methods=["POST"]),
        Route("/fail", fail, methods=["POST"]),
        Route("/refuse", refuse, methods=["POST"]),
        Route("/private", private, methods=["POST"]),
        Route("/orders", order, methods=["POST"]),
        Route("/loop", is_on_the_servers_loop),
        Route("/jobs/42", job_42),
        Route("/stream", stream),
        WebSocketRoute("/websocket", websocket_echo),
    ],
)
common.log_as_json()
if not common.IS_PLAIN:
    given = executing("tests.servers.apps.asgi_app:starlette")
    starlette.add_middleware(ASGIMiddleware, **given)
app = naming_its_worker(starlette)
__all__ = ["app", "celery_app"]
