"""A Starlette application whose only endpoint is slow; its gate is a file that the body names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.client.apps.common import LONG, PAUSE, STEPS

from deferit import ASGIMiddleware, deferred, track

if TYPE_CHECKING:
    from starlette.requests import Request


@deferred(repeatable=True)
async def work(request: Request) -> Response:
    what = request.path_params["what"]
    for _ in track(range(STEPS)):
        await anyio.sleep(PAUSE)
    body = (await request.body()).decode()
    while what == "gate" and not await anyio.Path(body).exists():
        await anyio.sleep(PAUSE)
    if what == "refusal":
        return JSONResponse({"detail": "No."}, 409)
    if what == "crash":
        raise ZeroDivisionError
    if what == "long":
        return Response(LONG, media_type="application/json")
    return JSONResponse({"method": request.method, "body": body}, 201)


app = ASGIMiddleware(
    Starlette(routes=[Route("/work/{what}", work, methods=["POST", "PUT", "GET"])])
)
