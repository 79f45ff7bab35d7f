"""The life of an ASGI application around its jobs."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.web.apps import starlette_app
from tests.web.apps.bench import PATIENCE, Bench
from tests.web.sites import site

from deferit import ASGIMiddleware, deferred

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Literal

    from starlette.requests import Request

WAIT = {"Prefer": f"wait={PATIENCE:g}"}


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Leave in the state a lock that is bound to the server's event loop, as pools and clients are."""
    yield {"loop": asyncio.get_running_loop(), "lock": asyncio.Lock(), "plain": "a text"}


@deferred
async def uses_state(request: Request) -> Response:
    async with request.state.lock:
        request.state.mine = "only in this request"
        is_here = request.state.loop is asyncio.get_running_loop()
        return JSONResponse({"is_here": is_here, "plain": request.state.plain})


@deferred
async def sees_state(request: Request) -> Response:
    return JSONResponse(sorted(request.state._state))


def test_a_handler_runs_in_the_servers_loop_with_the_state_of_its_lifespan() -> None:
    routes = [
        Route("/uses", uses_state, methods=["POST"]),
        Route("/sees", sees_state, methods=["POST"]),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(ASGIMiddleware, store="memory://")

    with TestClient(app) as client:
        used = client.post("/uses", headers=WAIT)
        seen = client.post("/sees", headers=WAIT)

    assert used.json() == {"is_here": True, "plain": "a text"}
    assert seen.json() == ["lock", "loop", "plain"]
    assert used.headers["AsyncResult"] == "200"


def test_many_handlers_share_what_the_lifespan_made() -> None:
    app = Starlette(routes=[Route("/uses", uses_state, methods=["POST"])], lifespan=lifespan)
    app.add_middleware(ASGIMiddleware, store="memory://")

    with TestClient(app) as client:
        monitors = [client.post("/uses").headers["Location"] for _ in range(20)]
        ends = [client.get(monitor, headers=WAIT).json() for monitor in monitors]

    assert {end["status"] for end in ends} == {"succeeded"}


def test_an_application_may_be_started_again() -> None:
    bench = Bench()
    app = starlette_app.application(bench)
    app.add_middleware(ASGIMiddleware, store="memory://")

    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/pages", headers=WAIT).headers["AsyncResult"] == "201"


def test_an_application_that_knows_no_lifespan_is_served_all_the_same() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse("served")(scope, receive, send)

    with TestClient(ASGIMiddleware(app, store="memory://", routes=["POST /x"])) as client:
        answer = client.post("/x", headers=WAIT)

    assert (answer.text, answer.headers["AsyncResult"]) == ("served", "200")


def test_an_application_that_fails_to_start_says_so() -> None:
    @asynccontextmanager
    async def broken(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = Starlette(lifespan=broken)
    app.add_middleware(ASGIMiddleware, store="memory://")

    with pytest.raises(RuntimeError, match="no database"), TestClient(app):
        pass


def test_a_store_that_cannot_be_opened_fails_the_start_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    middleware = ASGIMiddleware(Starlette(), store=f"sqlite:///{file}")
    file.write_bytes(b"this is no database")
    said = []

    async def start() -> None:
        async def receive() -> dict[str, str]:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            said.append(message)

        await middleware({"type": "lifespan", "state": {}}, receive, send)

    anyio.run(start)

    (message,) = said
    assert message["type"] == "lifespan.startup.failed"
    assert str(file) in message["message"]
    assert "not a database" in message["message"]


def test_a_job_that_runs_at_the_end_is_given_its_grace() -> None:
    with site("starlette", client="TestClient-lifespan", store="memory://") as built:
        monitor = built.defer("/gated/a")
        built.bench.wait_for("started a")
        store = built.middleware.options.store
        job_id = monitor.rpartition("/")[2]
        built.bench.open("a")

    (job,) = jobs_of(store, job_id)
    assert job.status.value == "succeeded"


def jobs_of(store: Any, *ids: str) -> list[Any]:
    from deferit._core.commands import Get  # noqa: PLC0415

    return [store.read(Get(job_id)) for job_id in ids]


def test_a_job_that_outlasts_its_grace_is_given_back(caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"store": "memory://", "grace": 0}
    with site("starlette", client="TestClient-lifespan", **options) as built:
        unsafe = built.defer("/gated/a")
        safe = built.ask("PUT", "/waits")["Location"] if has_put(built) else None
        built.bench.wait_for("started a")
        store = built.middleware.options.store

    (job,) = jobs_of(store, unsafe.rpartition("/")[2])
    assert (job.status.value, job.error.code) == ("failed", "interrupted")
    assert safe is None


def has_put(_: Any) -> bool:
    return False


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_websockets_pass_through(backend: Literal["asyncio", "trio"]) -> None:
    app = starlette_app.application(Bench())
    app.add_middleware(ASGIMiddleware, store="memory://", routes=["* /*"])

    with TestClient(app, backend=backend) as client, client.websocket_connect("/socket") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "HELLO"


def test_the_middleware_may_be_added_the_frameworks_way() -> None:
    app = starlette_app.application(Bench())
    app.add_middleware(ASGIMiddleware, store="memory://", prefix="/operations")

    with TestClient(app) as client:
        submitted = client.post("/pages")
        end = client.get(submitted.headers["Location"], headers=WAIT)

    assert "/operations/job_" in submitted.headers["Location"]
    assert end.json()["status"] == "succeeded"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_body_that_is_read_in_part_is_let_go(backend: Literal["asyncio", "trio"]) -> None:
    @deferred
    async def peeks(request: Request) -> Response:
        async for chunk in request.stream():
            return JSONResponse(len(chunk))
        raise AssertionError

    app = Starlette(routes=[Route("/peeks", peeks, methods=["POST"])])
    app.add_middleware(ASGIMiddleware, store="memory://")

    with TestClient(app, backend=backend) as client:
        answer = client.post("/peeks", content=600_000 * b"x", headers=WAIT)

    assert 0 < json.loads(answer.text) < 600_000


def test_a_handler_that_is_canceled_by_what_it_called_has_raised() -> None:
    """Nobody stopped the job: the cancellation is the handler's own failure, not a lost worker."""

    @deferred
    async def canceled(_: Request) -> Response:
        task = asyncio.ensure_future(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task
        raise AssertionError

    app = Starlette(routes=[Route("/canceled", canceled, methods=["POST", "PUT"])])
    app.add_middleware(ASGIMiddleware, store="memory://")

    with TestClient(app) as client:
        for method in ("POST", "PUT"):
            monitor = client.request(method, "/canceled").headers["Location"]
            end = client.get(monitor, headers=WAIT).json()
            assert (end["status"], end["error"]["code"], end["attempt"]) == (
                "failed",
                "handler-exception",
                1,
            )
