"""Starlette as it is; ``/reports`` answers a fixed 202."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request


async def fixed(_: Request) -> Response:
    return JSONResponse({"id": "1", "status": "accepted"}, 202)


async def status(_: Request) -> Response:
    return JSONResponse({"id": "1", "status": "succeeded"})


async def report(_: Request) -> Response:
    return JSONResponse({"pages": 12})


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


PLAIN = [Route("/plain", report), Route("/echo", echo, methods=["POST"])]

app = Starlette(
    routes=[
        *PLAIN,
        Route("/reports", fixed, methods=["POST"]),
        Route("/reports/1", status),
        Route("/auto", report, methods=["POST"]),
    ]
)
