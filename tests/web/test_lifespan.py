"""The life of an ASGI application around its jobs."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.elsewhere.promises import ends_here
from tests.stores.places import usual
from tests.web.apps import starlette_app
from tests.web.apps.bench import PATIENCE, Bench
from tests.web.sites import opened, site

from deferit import ASGIMiddleware, deferred
from deferit._core.commands import Command, Sweep
from deferit._core.job import Job
from deferit._core.queries import Get
from deferit.exceptions import StoreUnavailable
from deferit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from typing import Literal

    from starlette.requests import Request
    from tests.web.sites import Site

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
    app.add_middleware(ASGIMiddleware, store=usual())

    with TestClient(app) as client:
        used = client.post("/uses", headers=WAIT)
        seen = client.post("/sees", headers=WAIT)

    assert used.json() == {"is_here": True, "plain": "a text"}
    assert seen.json() == ["lock", "loop", "plain"]
    assert used.headers["AsyncResult"] == "200"


def test_many_handlers_share_what_the_lifespan_made() -> None:
    app = Starlette(routes=[Route("/uses", uses_state, methods=["POST"])], lifespan=lifespan)
    app.add_middleware(ASGIMiddleware, store=usual())

    with TestClient(app) as client:
        monitors = [client.post("/uses").headers["Location"] for _ in range(20)]
        ends = [client.get(monitor, headers=WAIT).json() for monitor in monitors]

    assert {end["status"] for end in ends} == {"succeeded"}


def test_an_application_may_be_started_again() -> None:
    bench = Bench()
    app = starlette_app.application(bench)
    app.add_middleware(ASGIMiddleware, store=usual())

    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/pages", headers=WAIT).headers["AsyncResult"] == "201"


async def returns(scope: Any, receive: Any, send: Any) -> None:
    """Know no lifespan, and return from it at once."""
    if scope["type"] == "http":
        await PlainTextResponse("served")(scope, receive, send)


async def raises(scope: Any, receive: Any, send: Any) -> None:
    """Know no lifespan, and say so as the ASGI specification has it."""
    assert scope["type"] == "http"
    await PlainTextResponse("served")(scope, receive, send)


def test_an_application_that_returns_from_its_lifespan_is_served_all_the_same() -> None:
    with TestClient(ASGIMiddleware(returns, store=usual(), routes=["POST /x"])) as client:
        answer = client.post("/x", headers=WAIT)

    assert (answer.text, answer.headers["AsyncResult"]) == ("served", "200")


def test_an_application_that_knows_no_lifespan_lets_the_server_know() -> None:
    """The server goes on without one, as uvicorn does, and so does the middleware."""
    middleware = ASGIMiddleware(raises, store=usual(), routes=["POST /x"])
    client = TestClient(middleware)

    with pytest.raises(AssertionError), client:
        pass
    answer = client.post("/x", headers=WAIT)
    middleware.close()

    assert (answer.text, answer.headers["AsyncResult"]) == ("served", "200")


def test_an_application_that_fails_to_start_says_so() -> None:
    @asynccontextmanager
    async def broken(_: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = Starlette(lifespan=broken)
    app.add_middleware(ASGIMiddleware, store=usual())

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

    with pytest.raises(StoreUnavailable):  # as Starlette does, once it has said so
        anyio.run(start)

    (message,) = said
    assert message["type"] == "lifespan.startup.failed"
    assert str(file) in message["message"]
    assert "not a database" in message["message"]


class Watched(MemoryStore):
    """Tells when it was swept: a keeper does that after it has looked for jobs that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.swept = threading.Event()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        if any(isinstance(command, Sweep) for command in batch):
            self.swept.set()
        return super().execute(batch)


def test_a_job_that_waits_does_not_begin_before_the_application_has_started() -> None:
    store, begun = Watched(), threading.Event()

    @asynccontextmanager
    async def slow(app: Starlette) -> AsyncIterator[None]:
        store.swept.clear()
        assert await anyio.to_thread.run_sync(store.swept.wait, PATIENCE)
        app.state.pool = "made by the start-up"
        yield
        del app.state.pool

    @deferred
    async def uses_pool(request: Request) -> Response:
        if not begun.is_set():
            begun.set()
            await anyio.sleep_forever()
        return PlainTextResponse(request.app.state.pool)

    app = Starlette(routes=[Route("/pool", uses_pool, methods=["PUT"])], lifespan=slow)
    app.add_middleware(ASGIMiddleware, store=store, grace=0, lease=3)
    with TestClient(app) as client:
        monitor = client.put("/pool").headers["Location"]
        assert begun.wait(PATIENCE)

    with TestClient(app) as client:
        end = client.get(monitor, headers=WAIT).json()
        answer = client.get(end["resultUrl"])

    assert (end["attempt"], answer.text) == (2, "made by the start-up")


@ends_here
def test_a_job_that_runs_at_the_end_is_given_its_grace() -> None:
    with site("starlette", client="TestClient-lifespan") as built:
        monitor = built.defer("/gated/a")
        built.bench.wait_for("started a")
        threading.Timer(0.1, built.bench.open, ["a"]).start()
        built.client.__exit__()

    assert kept(built, monitor).status == "succeeded"


@ends_here
@pytest.mark.parametrize(
    ("method", "status", "code"), [("POST", "failed", "interrupted"), ("PUT", "accepted", None)]
)
def test_a_job_that_outlasts_its_grace_is_given_back(
    method: str, status: str, code: str | None
) -> None:
    """A POST may have done half of its work; a PUT is safe to repeat, by whoever opens the store next."""
    with site("starlette", client="TestClient-lifespan", grace=0) as built:
        monitor = built.ask(method, "/waits/a")["Location"]
        built.bench.wait_for("started a")
        built.client.__exit__()

    job = kept(built, monitor)
    assert (job.status, job.error and job.error.code) == (status, code)


def kept(site: Site, monitor: str) -> Job:
    """Return a job as the store has it."""
    with opened(site.middleware.options.store) as store:
        job = store.read(Get(monitor.rpartition("/")[2]))
    assert isinstance(job, Job)
    return job


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_websockets_pass_through(backend: Literal["asyncio", "trio"]) -> None:
    app = starlette_app.application(Bench())
    app.add_middleware(ASGIMiddleware, store=usual(), routes=["* /*"])

    with TestClient(app, backend=backend) as client, client.websocket_connect("/socket") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "HELLO"


def test_the_middleware_may_be_added_the_frameworks_way() -> None:
    app = starlette_app.application(Bench())
    app.add_middleware(ASGIMiddleware, store=usual(), prefix="/operations")

    with TestClient(app) as client:
        submitted = client.post("/pages")
        end = client.get(submitted.headers["Location"], headers=WAIT)

    assert "/operations/job_" in submitted.headers["Location"]
    assert end.json()["status"] == "succeeded"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_body_that_is_read_in_part_is_let_go(backend: Literal["asyncio", "trio"]) -> None:
    @deferred
    async def peeks(request: Request) -> Response:
        first = await request.receive()
        return JSONResponse(len(first["body"]))

    app = Starlette(routes=[Route("/peeks", peeks, methods=["POST"])])
    app.add_middleware(ASGIMiddleware, store=usual())

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
    app.add_middleware(ASGIMiddleware, store=usual())

    with TestClient(app) as client:
        for method in ("POST", "PUT"):
            monitor = client.request(method, "/canceled").headers["Location"]
            end = client.get(monitor, headers=WAIT).json()
            assert (end["status"], end["error"]["code"], end["attempt"]) == (
                "failed",
                "handler-exception",
                1,
            )


def test_behind_its_answer_a_replayed_application_hears_that_the_client_has_gone() -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            await PlainTextResponse("served")(scope, receive, send)
            with anyio.fail_after(PATIENCE):
                heard.append((await receive())["type"])

    with TestClient(ASGIMiddleware(app, store=usual(), routes=["POST /x"])) as client:
        answer = client.post("/x", headers=WAIT)

    assert (answer.text, heard) == ("served", ["http.disconnect"])


def test_an_owner_that_is_no_text_is_refused_before_anything_is_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = starlette_app.application(Bench())
    middleware = ASGIMiddleware(app, store=usual(), owner=lambda _: 7)

    with TestClient(middleware) as client:
        answer = client.post("/pages")

    assert (answer.status_code, answer.json()["code"]) == (500, "hook-failed")
    assert "owner= returned a int, neither a text nor None" in caplog.text
