"""The application of the tests, written for Starlette."""

from __future__ import annotations

import functools
import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from tests.web.apps import bench as shared

import deferit
from deferit import current_job, deferred, progress, track

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket
    from tests.web.apps.bench import Bench

    Handler = Callable[[Request], Awaitable[Response]]


def application(bench: Bench) -> Starlette:
    return Starlette(routes=[*simple(), *special(bench)])


# --- what FastAPI would write in another way -------------------------------------------------------------------------


def simple() -> list[BaseRoute]:
    @deferred
    def pages(_: Request) -> Response:
        response = Response(shared.PAGES, 201, media_type="application/json")
        response.headers.append("X-Tag", "one")
        response.headers.append("X-Tag", "two")
        return response

    @requires_token
    @deferred
    async def private(_: Request) -> Response:
        return PlainTextResponse("for your eyes only")

    @requires_amount
    @deferred
    async def checked(request: Request) -> Response:
        return JSONResponse(await request.json())

    @deferred
    async def length(request: Request) -> Response:
        body = await request.body()
        return JSONResponse([len(body), shared.digest(body)])

    return [
        Route("/pages", pages, methods=["POST"]),
        Route("/private", private, methods=["POST"]),
        Route("/checked", checked, methods=["POST"]),
        Route("/length", length, methods=["POST"]),
    ]


def requires_token(view: Handler) -> Handler:
    @functools.wraps(view)
    async def guarded(request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer sesame":
            return PlainTextResponse("who are you?", 401, {"WWW-Authenticate": "Bearer"})
        return await view(request)

    return guarded


def requires_amount(view: Handler) -> Handler:
    @functools.wraps(view)
    async def validated(request: Request) -> Response:
        if request.headers.get("content-type") != "application/json":
            return PlainTextResponse("JSON, please", 415)
        if not isinstance((await request.json()).get("amount"), int):
            return JSONResponse({"amount": "not an integer"}, 422)
        return await view(request)

    return validated


# --- what FastAPI takes over as it is --------------------------------------------------------------------------------


def special(bench: Bench) -> list[BaseRoute]:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [
        Route("/facts/{name:path}", deferred(mode="prefer")(facts), methods=methods),
        Route("/say", deferred(say), methods=methods),
        Route("/patient", deferred(mode="auto", wait=shared.PATIENCE)(say), methods=["POST"]),
        Route("/impatient", deferred(wait=shared.PATIENCE)(say), methods=["POST"]),
        Route("/preferring", deferred(mode="prefer")(say), methods=["POST"]),
        Route("/narrow", deferred(methods="PUT")(say), methods=["POST", "PUT"]),
        Route("/brief", deferred(retention=0)(say), methods=["POST"]),
        Route("/plain", say, methods=["GET", "POST"]),
        Route("/view", View),
        Route("/jobs", plain, methods=["GET", "POST"]),
        Route("/jobs/{rest:path}", plain, methods=["GET"]),
        WebSocketRoute("/socket", socket),
        *_endings(bench),
        *_gated(bench),
        *_working(bench),
        *_refusing(),
    ]


async def facts(request: Request) -> Response:
    is_form = "form" in request.headers.get("content-type", "")
    async with request.form() as fields:
        form = [await _field(name, value) for name, value in fields.multi_items()]
    body = b"" if is_form else await request.body()
    job = current_job()
    return JSONResponse(
        {
            "method": request.method,
            "url": str(request.url),
            "name": request.path_params["name"],
            "path": request.scope["path"],
            "raw_path": request.scope["raw_path"].decode("latin-1"),
            "root": request.scope.get("root_path", ""),
            "query": request.query_params.multi_items(),
            "headers": sorted(request.headers.items()),
            "cookies": request.cookies,
            "client": request.client and [*request.client],
            "server": request.scope["server"],
            "form": form,
            "body": [len(body), shared.digest(body)],
            "job": job and {"id": job.id, "owner": job.owner, "attempt": job.attempt},
        }
    )


async def _field(name: str, value: UploadFile | str) -> list[str | None]:
    if isinstance(value, UploadFile):
        return [name, value.filename, value.content_type, shared.digest(await value.read())]
    return [name, value]


async def say(request: Request) -> Response:
    """Answer what the request's body asks for."""
    answer: dict[str, Any] = json.loads(await request.body() or b"{}")
    response = Response(b64decode(answer.get("body", "")), answer.get("status", 200))
    for name, value in answer.get("headers", []):
        response.headers.append(name, value)
    return response


async def plain(request: Request) -> Response:
    return PlainTextResponse(f"the application's own {request.url.path}")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text((await websocket.receive_text()).upper())
    await websocket.close()


class View(HTTPEndpoint):
    @deferred
    async def post(self, request: Request) -> Response:
        return PlainTextResponse(f"posted {(await request.body()).decode()}")

    @deferred
    def put(self, _: Request) -> Response:
        return PlainTextResponse("put in its place")

    @deferred
    async def get(self, _: Request) -> Response:
        return PlainTextResponse("got")

    async def delete(self, _: Request) -> Response:
        return PlainTextResponse("deleted at once")


def _endings(bench: Bench) -> list[BaseRoute]:
    @deferred
    async def boom(_: Request) -> Response:
        raise RuntimeError(shared.SECRET)

    @deferred
    async def abort(request: Request) -> Response:
        raise HTTPException(int(request.query_params["status"]), "not here")

    @deferred
    async def stream(request: Request) -> Response:
        return StreamingResponse(_chunks("fail" in request.query_params), media_type="text/plain")

    @deferred
    async def background(request: Request) -> Response:
        task = BackgroundTask(afterwards, bench, "fail" in request.query_params)
        return PlainTextResponse("answered", background=task)

    return [
        Route("/boom", boom, methods=["POST"]),
        Route("/abort", abort, methods=["POST"]),
        Route("/stream", stream, methods=["POST"]),
        Route("/background", background, methods=["POST"]),
    ]


async def _chunks(fails: bool) -> AsyncIterator[bytes]:
    for chunk in shared.CHUNKS:
        yield chunk
    if fails:
        raise RuntimeError(shared.SECRET)


def afterwards(bench: Bench, fails: bool) -> None:
    bench.note("the answer is made")
    bench.pass_gate("background")
    if fails:
        raise RuntimeError(shared.SECRET)


def _gated(bench: Bench) -> list[BaseRoute]:
    @deferred
    async def gated(request: Request) -> Response:
        name = request.path_params["name"]
        bench.note(f"started {name}")
        await anyio.to_thread.run_sync(bench.pass_gate, name, abandon_on_cancel=True)
        bench.note(f"ended {name}")
        return PlainTextResponse(name)

    @deferred
    def gated_thread(request: Request) -> Response:
        name = request.path_params["name"]
        bench.note(f"started {name}")
        bench.pass_gate(name)
        bench.note(f"ended {name}")
        return PlainTextResponse(name)

    @deferred
    async def reluctant(_: Request) -> Response:
        """Take a while to be stopped, and don't stop reporting."""
        try:
            bench.note("started reluctant")
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)
        raise AssertionError

    return [
        Route("/gated/{name}", gated, methods=["POST"]),
        Route("/waits/{name}", gated, methods=["POST", "PUT"]),
        Route("/gated-thread/{name}", gated_thread, methods=["POST"]),
        Route("/reluctant", reluctant, methods=["POST"]),
    ]


def _working(bench: Bench) -> list[BaseRoute]:
    @deferred
    async def reporting(_: Request) -> Response:
        progress(0.5, "half of it")
        await anyio.to_thread.run_sync(bench.pass_gate, "half")
        progress(1.0)
        await anyio.to_thread.run_sync(bench.pass_gate, "whole")
        return PlainTextResponse("reported")

    @deferred
    def tracking(_: Request) -> Response:
        for order in track(shared.ORDERS):
            shared.work_on(bench, order)
        return PlainTextResponse("tracked")

    @deferred
    def counting(_: Request) -> Response:
        for order in track(_uncounted()):
            shared.work_on(bench, order)
        return PlainTextResponse("counted")

    @deferred
    async def nested(_: Request) -> Response:
        return JSONResponse([await inner(1), await inner(2)])

    @deferred(mode="prefer")
    async def nested_preferring(_: Request) -> Response:
        return JSONResponse([await inner(1), await inner(2)])

    @deferred
    async def inner(number: int) -> int:
        return 2 * number

    return [
        Route("/reporting", reporting, methods=["POST"]),
        Route("/tracking", tracking, methods=["POST"]),
        Route("/counting", counting, methods=["POST"]),
        Route("/nested", nested, methods=["POST"]),
        Route("/nested-preferring", nested_preferring, methods=["POST"]),
    ]


def _uncounted() -> Iterator[str]:
    yield from shared.ORDERS


def _refusing() -> list[BaseRoute]:
    return [
        Route("/refusing", deferred(accept=refuses)(say), methods=["POST"]),
        Route("/configured", say, methods=["GET", "POST"]),
        Route("/configured/{rest:path}", say, methods=["GET", "POST"]),
    ]


def refuses(request: deferit.Request) -> int | tuple[int, str] | deferit.Response | None:
    """Refuse in each way there is, by the field X-Refuse."""
    return {
        None: None,
        "status": 409,
        "sentence": (409, "There is one already."),
        "response": deferit.Response(418, (("X-Own", "yes"),), b"own"),
    }[request.headers.get("X-Refuse")]
