"""Same as `asgi_app`, but with Flask."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from typing import Any

from flask import Flask, request
from tests.executors.apps.setting import celery_app, executor
from tests.servers.apps import common

from deferit import WSGIMiddleware, deferred, progress

app = Flask(__name__)
app.wsgi_app = WSGIMiddleware(  # type: ignore[method-assign]
    app.wsgi_app, executor=executor("tests.executors.apps.wsgi_app:app")
)


@app.get("/")
def ready() -> str:
    return "ready"


@app.route("/work/<name>", methods=["POST", "PUT"])
@deferred
def work(name: str) -> Any:
    common.note("start", name)
    common.pass_gate(request.args.get("gate"))
    common.note("end", name)
    return {"name": name, "process": os.getpid(), "is_started_here": True}


def compute(name: str) -> str:
    """Never end, nor listen."""
    common.note("start", name)
    while True:
        pass


app.post("/compute/<name>")(deferred(compute))
app.post("/late/<name>", endpoint="late")(deferred(timeout=2)(compute))


@app.post("/crash/<how>")
@deferred
def crash(how: str) -> str:
    common.note("start", "crash")
    if how == "exit":
        os._exit(7)
    ctypes.string_at(0)  # not `os.kill`: another thread may get that, and later
    raise AssertionError


@app.post("/tell")
@deferred
def tell() -> str:
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    return "told"


@app.post("/report")
@deferred
def report() -> str:
    progress(0.5, "half of it")
    common.pass_gate("report")
    return "all of it"


if "DEFERIT_TEST_VERSION" not in os.environ:

    @app.post("/versioned")
    @deferred(name="the handler of v1")
    def versioned() -> str:
        return "versioned"


common.log_as_json()
__all__ = ["app", "celery_app"]
