"""The same small application twice, over ASGI and over WSGI: in a test's process or under a server."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.callbacks.receiver import SECRET

from deferit import ASGIMiddleware, WSGIMiddleware, deferred
from deferit.callbacks import Callbacks

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue
    from starlette.requests import Request


def pass_gate(gate: str | None) -> None:
    while gate and not Path(gate).exists():
        time.sleep(0.01)


def make_asgi() -> Starlette:
    async def work(request: Request) -> JSONResponse:
        await run_in_threadpool(pass_gate, request.query_params.get("gate"))
        return JSONResponse({"pages": 12, "asked": request.headers.get("callback-url")})

    async def fail(_: Request) -> JSONResponse:
        return JSONResponse({"sorry": True}, 409)

    return Starlette(
        routes=[
            Route("/work", deferred(work), methods=["POST"]),
            Route("/same", deferred(coalesce=True)(work), methods=["POST"]),
            Route("/auto", deferred(mode="auto", wait=0.01)(work), methods=["POST"]),
            Route("/fail", deferred(fail), methods=["POST"]),
        ]
    )


def make_wsgi() -> Flask:
    app = Flask(__name__)

    def work() -> ResponseReturnValue:
        pass_gate(flask_request.args.get("gate"))
        return {"pages": 12, "asked": flask_request.headers.get("Callback-URL")}

    def fail() -> ResponseReturnValue:
        return {"sorry": True}, 409

    for path, view in {
        "/work": deferred(work),
        "/same": deferred(coalesce=True)(work),
        "/auto": deferred(mode="auto", wait=0.01)(work),
        "/fail": deferred(fail),
    }.items():
        app.add_url_rule(path, path, view, methods=["POST"])
    return app


def served_asgi() -> Any:
    """The factory for uvicorn: the receiver stands in the environment."""
    return ASGIMiddleware(make_asgi(), callbacks=_callbacks())


def served_wsgi() -> Any:
    """Same as `served_asgi`, for gunicorn."""
    return WSGIMiddleware(make_wsgi(), callbacks=_callbacks())


def _callbacks() -> Callbacks:
    return Callbacks({os.environ["TEST_HOOK"]: SECRET}, private=True)
