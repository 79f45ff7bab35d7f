"""Starlette: as it is (`bare`), and with deferit around it (`app`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deferit import ASGIMiddleware, deferred

if TYPE_CHECKING:
    from starlette.requests import Request


async def report(_: Request) -> Response:
    return JSONResponse({"pages": 12})


async def fixed(_: Request) -> Response:
    return JSONResponse({"id": "1", "status": "accepted"}, 202)


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


PLAIN = [
    Route("/plain", report),
    Route("/echo", echo, methods=["POST"]),
    Route("/routed", report, methods=["POST"]),
]

bare = Starlette(routes=[*PLAIN, Route("/fixed", fixed, methods=["GET", "POST"])])

app = Starlette(
    routes=[
        *PLAIN,
        Route("/reports", deferred(report), methods=["POST"]),
        Route("/auto", deferred(mode="auto", wait=5)(report), methods=["POST"]),
    ]
)
app.add_middleware(ASGIMiddleware, routes=["POST /routed"])
