"""A Starlette application whose handlers work, compute without end, and end their process."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tests.executors.apps.setting import celery_app, executor
from tests.servers.apps import common

from deferit import ASGIMiddleware, current_job, deferred, progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, int]]:
    common.note("startup", str(os.getpid()))
    yield {"started_in": os.getpid()}
    common.note("shutdown", str(os.getpid()))


async def ready(_: Request) -> Response:
    return PlainTextResponse("ready")


async def work(request: Request) -> Response:
    name = request.path_params["name"]
    common.note("start", name)
    await common.apass_gate(request.query_params.get("gate"))
    common.note("end", name)
    state, job = request.state, current_job()
    assert job is not None
    is_started_here = state.started_in == os.getpid()
    return JSONResponse({"name": name, "process": os.getpid(), "is_started_here": is_started_here})


def compute(request: Request) -> Response:
    """Never end, nor listen."""
    common.note("start", request.path_params["name"])
    while True:
        pass


@deferred
def crash(request: Request) -> Response:
    common.note("start", "crash")
    if request.path_params["how"] == "exit":
        os._exit(7)
    ctypes.string_at(0)  # not `os.kill`: another thread may get that, and later
    raise AssertionError


@deferred
def report(_: Request) -> Response:
    progress(0.5, "half of it")
    common.pass_gate("report")
    return PlainTextResponse("all of it")


@deferred(name="the handler of v1")
async def versioned(_: Request) -> Response:
    return PlainTextResponse("versioned")


starlette = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", ready),
        Route("/work/{name}", deferred(work), methods=["POST", "PUT"]),
        Route("/compute/{name}", deferred(compute), methods=["POST"]),
        Route("/late/{name}", deferred(timeout=2)(compute), methods=["POST"]),
        Route("/crash/{how}", crash, methods=["POST"]),
        Route("/report", report, methods=["POST"]),
        *(
            [Route("/versioned", versioned, methods=["POST"])]
            if "DEFERIT_TEST_VERSION" not in os.environ
            else []
        ),
    ],
)
starlette.add_middleware(
    ASGIMiddleware, executor=executor("tests.executors.apps.asgi_app:starlette")
)
common.log_as_json()
__all__ = ["app", "celery_app"]
app = starlette
