"""The Starlette application under attack: the handlers of wsgi_app.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.chaos.apps.common import AUTO_WAIT, PARTS, Deed
from tests.chaos.apps.elsewhere import elsewhere

from deferit import ASGIMiddleware, deferred, progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


async def ready(_: Request) -> Response:
    return PlainTextResponse("ready")


async def work(request: Request) -> Response:
    deed = Deed(request.path_params["name"])
    await asyncio.sleep(_seconds(request))
    return Response(deed.answers(int(request.query_params.get("size", "0"))))


@deferred
async def report(request: Request) -> Response:
    deed = Deed(request.path_params["name"])
    for number in range(PARTS):
        progress(number / PARTS, f"part {number}")
        await asyncio.sleep(_seconds(request) / PARTS)
    return Response(deed.answers(0))


@deferred
async def stream(request: Request) -> Response:
    deed = Deed(request.path_params["name"])

    async def parts() -> AsyncIterator[bytes]:
        for part in deed.parts():
            yield part
            await asyncio.sleep(_seconds(request) / PARTS)

    return StreamingResponse(parts())


@deferred
async def echo(request: Request) -> Response:
    deed = Deed(request.path_params["name"])
    body = await request.body()
    await asyncio.sleep(_seconds(request))
    return Response(deed.ends_with(body))


@deferred
async def fail(request: Request) -> Response:
    deed = Deed(request.path_params["name"])
    await asyncio.sleep(_seconds(request))
    deed.answers(0)
    raise RuntimeError("the handler's own trouble")


def _seconds(request: Request) -> float:
    return float(request.query_params.get("seconds", "0"))


app = Starlette(
    routes=[
        Route("/", ready),
        Route("/work/{name}", deferred(work), methods=["POST", "PUT"]),
        Route("/repeatable/{name}", deferred(repeatable=True)(work), methods=["POST"]),
        Route("/auto/{name}", deferred(mode="auto", wait=AUTO_WAIT)(work), methods=["POST", "PUT"]),
        Route("/report/{name}", report, methods=["POST", "PUT"]),
        Route("/stream/{name}", stream, methods=["POST", "PUT"]),
        Route("/echo/{name}", echo, methods=["POST", "PUT"]),
        Route("/fail/{name}", fail, methods=["POST"]),
    ],
)
celery_app, options = elsewhere("tests.chaos.apps.asgi_app:app")
app.add_middleware(ASGIMiddleware, **options)
