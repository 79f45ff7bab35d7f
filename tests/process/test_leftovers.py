"""A job that is over leaves nothing behind that only the garbage collector could free."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import flask
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.process.parts import eventually

from deferit import ASGIMiddleware, WSGIMiddleware, current_job, deferred

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def seen_of_job() -> weakref.ref[object]:
    job = current_job()
    assert job is not None
    return weakref.ref(job)


def test_a_run_in_a_thread_is_gone_with_its_end() -> None:
    app, seen = flask.Flask(__name__), []

    @app.post("/reports")
    @deferred
    def report() -> bytes:
        seen.append(seen_of_job())
        return flask.request.get_data()

    around = WSGIMiddleware(app.wsgi_app, store="memory://")
    app.wsgi_app = around  # type: ignore[method-assign]

    answer = app.test_client().post("/reports", data=b"body", headers={"Prefer": "wait=10"})

    assert answer.data == b"body"
    eventually(lambda: seen[0]() is None)
    around.close()


def test_a_run_in_an_event_loop_is_gone_with_its_end() -> None:
    seen = []

    @deferred
    async def report(request: Request) -> PlainTextResponse:
        seen.append(seen_of_job())
        return PlainTextResponse(await request.body())

    app = Starlette(routes=[Route("/reports", report, methods=["POST"])])

    with TestClient(ASGIMiddleware(app, store="memory://")) as client:
        answer = client.post("/reports", content=b"body", headers={"Prefer": "wait=10"})

        assert answer.text == "body"
        eventually(lambda: seen[0]() is None)
