"""The applications that real servers run for the tests of this folder, one for each web interface, alike."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from flask import Flask
from flask import Response as FlaskResponse
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from deferit import ASGIMiddleware, WSGIMiddleware, deferred, progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request

MEBIBYTE = 1 << 20
NOISE = os.urandom(MEBIBYTE)
"""The same for all parts of a result: what is measured is the server, not the making of noise."""


def is_open() -> bool:
    """Whether the file is in the working directory for which a handler waits."""
    return Path("gate").exists()


logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")

flask = Flask(__name__)


@flask.get("/")
def ready() -> str:
    return "ready"


@flask.post("/pages")
@deferred
def pages() -> Any:
    return {"pages": len(flask_request.get_data())}


@flask.post("/upload")
@deferred
def upload() -> Any:
    digest = hashlib.sha256()
    while data := flask_request.stream.read(MEBIBYTE):
        digest.update(data)
    return digest.hexdigest()


@flask.post("/download/<int:mebibytes>")
@deferred
def download(mebibytes: int) -> FlaskResponse:
    def parts() -> Iterator[bytes]:
        for _ in range(mebibytes):
            yield NOISE

    return FlaskResponse(parts(), mimetype="application/octet-stream")


@flask.post("/plain")
def plain() -> Any:
    return json.dumps(len(flask_request.get_data()))


@flask.post("/wait")
@deferred
def wait() -> str:
    while not is_open():
        time.sleep(0.01)
    return "at last"


@flask.post("/talk")
@deferred
def talk() -> str:
    while True:
        progress(0.5, "words " * 1_000 + str(time.monotonic()))
        time.sleep(0.01)


wsgi = WSGIMiddleware(flask.wsgi_app, routes=["* /configured*"])


async def aready(_: Request) -> Response:
    return PlainTextResponse("ready")


@deferred
async def apages(request: Request) -> Response:
    return JSONResponse({"pages": len(await request.body())})


@deferred
async def aupload(request: Request) -> Response:
    digest = hashlib.sha256()
    async for data in request.stream():
        digest.update(data)
    return PlainTextResponse(digest.hexdigest())


@deferred
async def adownload(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(request.path_params["mebibytes"]):
            yield NOISE

    return StreamingResponse(parts(), media_type="application/octet-stream")


async def aplain(request: Request) -> Response:
    return JSONResponse(len(await request.body()))


@deferred
async def await_gate(_: Request) -> Response:
    while not is_open():
        await anyio.sleep(0.01)
    return PlainTextResponse("at last")


@deferred
async def atalk(_: Request) -> Response:
    while True:
        progress(0.5, "words " * 1_000 + str(time.monotonic()))
        await anyio.sleep(0.01)


asgi = ASGIMiddleware(
    Starlette(
        routes=[
            Route("/", aready),
            Route("/pages", apages, methods=["POST"]),
            Route("/plain", aplain, methods=["POST"]),
            Route("/wait", await_gate, methods=["POST"]),
            Route("/talk", atalk, methods=["POST"]),
            Route("/upload", aupload, methods=["POST"]),
            Route("/download/{mebibytes:int}", adownload, methods=["POST"]),
        ]
    ),
    routes=["* /configured*"],
)
