"""A Starlette application whose handlers do what a worker has to live with, and whose start may not come to an end."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import multiprocessing
import os
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deferit import ASGIMiddleware, deferred

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.middleware.base import RequestResponseEndpoint
    from starlette.requests import Request


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    if "UNRULY_START" in os.environ:
        logging.getLogger("deferit").info("starting")
        await anyio.sleep_forever()
    yield


@deferred
async def plain(_: Request) -> Response:
    return JSONResponse(os.getpid())


@deferred
async def gated(_: Request) -> Response:
    while not Path("gate").exists():  # noqa: ASYNC240  a look into a folder takes no time
        await anyio.sleep(0.01)
    return JSONResponse(os.getpid())


@deferred
def forks(_: Request) -> Response:
    """End a process by a signal, as pools do."""
    process = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    process.start()
    process.terminate()
    process.join()
    return JSONResponse(process.exitcode)


@deferred
def leaves(request: Request) -> Response:
    """Fork a process that goes on, note its number, and end without it, or wait for it."""
    process = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    process.start()
    Path(request.query_params["note"]).write_text(str(process.pid))
    if request.query_params["then"] == "exit":
        os._exit(3)
    process.join()
    raise AssertionError


@deferred
async def exits(_: Request) -> Response:
    sys.exit(3)


@deferred
def hangs(_: Request) -> Response:
    threading.Event().wait()
    raise AssertionError


@deferred
async def hangs_in_thread(request: Request) -> Response:
    return await asyncio.to_thread(hangs, request)


async def in_a_task(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Have the handler in a task of its own, as middlewares do."""
    return await call_next(request)


if "UNRULY_LOGGING" in os.environ:
    logging.config.dictConfig({"version": 1})

HANDLERS = (plain, gated, forks, leaves, exits, hangs, hangs_in_thread)

inner = Starlette(
    lifespan=lifespan,
    routes=[Route(f"/{handler.__name__}", handler, methods=["POST"]) for handler in HANDLERS],
)
inner.add_middleware(BaseHTTPMiddleware, dispatch=in_a_task)
app = ASGIMiddleware(inner)
