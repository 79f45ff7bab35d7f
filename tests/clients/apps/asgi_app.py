"""A Starlette application whose slow endpoints have the methods that the examples lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.clients.apps.common import IN_USE, PAUSE, THING
from tests.executors.apps.setting import celery_app, executing

from deferit import ASGIMiddleware, deferred

if TYPE_CHECKING:
    from starlette.requests import Request


@deferred
async def change(request: Request) -> Response:
    outcome = request.path_params["outcome"]
    await anyio.sleep(PAUSE)
    if outcome == "cancellation":
        await anyio.sleep_forever()
    if outcome == "failure":
        return JSONResponse(IN_USE, 409)
    return JSONResponse(THING, 201) if request.method == "PUT" else Response(status_code=204)


app = ASGIMiddleware(
    Starlette(routes=[Route("/things/{outcome}", change, methods=["PUT", "DELETE"])]),
    **executing("tests.clients.apps.asgi_app:app"),
)
__all__ = ["app", "celery_app"]
