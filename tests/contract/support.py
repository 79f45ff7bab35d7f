"""One application of the tests with its middleware, store and client: what a test talks to."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from tests.contract.apps import fastapi_app, flask_app, starlette_app
from tests.contract.clients import Answer, ASGIExchange, Asked, Exchange, WSGIExchange
from tests.contract.stage import PATIENCE, AwayStage, Stage
from tests.elsewhere.running import employed
from tests.matrix import IS_CHOSEN, STORE
from tests.servers.harness import until
from tests.stores.around import Around
from tests.stores.places import need, usual

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit._core.commands import Claim, Renew, Sweep
from deferit._core.job import Job
from deferit._core.queries import Get
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.contract.apps import Marks

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit._process.worker import Worker
    from deferit.stores.base import Store

BASE = "http://testserver"

Framework: TypeAlias = Literal["starlette", "fastapi", "flask"]
Backend: TypeAlias = Literal["asyncio", "trio"]
Variant: TypeAlias = tuple[Framework, Backend, str]
"""Which kind of site: its framework, the event loop of its server, the store."""


def in_the_matrix(*variants: Variant) -> list[Variant]:
    """Return the variants; with the matrix, those that differ on the store that it names."""
    if not IS_CHOSEN:
        return list(variants)
    return list(dict.fromkeys((framework, backend, STORE) for framework, backend, _ in variants))


few = pytest.mark.parametrize(
    "variant",
    in_the_matrix(("fastapi", "asyncio", "memory"), ("flask", "asyncio", "sqlite")),
    ids="-".join,
)
"""For long tables, whose rows differ in the core: one site of each web interface, one of each store."""


def only(framework: Framework) -> pytest.MarkDecorator:
    """Return the mark of a test that is about one framework."""
    return pytest.mark.parametrize(
        "variant", in_the_matrix((framework, "asyncio", "memory")), ids="-".join
    )


MARKS: Marks = {
    "always": {},
    "prefer": {"mode": "prefer"},
    "auto": {"mode": "auto", "wait": PATIENCE},
    "brief": {"mode": "auto", "wait": 0.05},
    "shared": {"coalesce": True},
    "fleeting": {"retention": 0},
    "plain": None,
}

APPS: dict[Framework, Callable[[Stage, Marks], Any]] = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "flask": flask_app,
}


@dataclass
class Site:
    """What a test talks to; ``owner`` is the owner of the jobs of whoever sends X-Owner."""

    framework: Framework
    stage: Stage
    middleware: ASGIMiddleware | WSGIMiddleware
    whole: Any
    portal: BlockingPortal | None

    def __reduce__(self) -> Any:
        """Let acts in other processes have what they need of it."""
        return AwaySite, (self.stage,)

    @property
    def is_wsgi(self) -> bool:
        return self.portal is None

    def open(
        self, method: str, url: str, body: bytes = b"", /, *lines: tuple[str, str], **headers: str
    ) -> Exchange:
        """Begin a request; ``If_None_Match`` is the field If-None-Match."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        asked = Asked(method, url if "://" in url else BASE + url, (*lines, *named), body)
        if self.portal:
            return ASGIExchange(self.portal, self.whole, asked)
        return WSGIExchange(self.whole, asked)

    def ask(
        self, method: str, url: str, body: bytes = b"", /, *lines: tuple[str, str], **headers: str
    ) -> Answer:
        return self.open(method, url, body, *lines, **headers).answer()

    def get(self, url: str, /, **headers: str) -> Answer:
        return self.ask("GET", url, **headers)

    def post(self, url: str, body: bytes = b"", /, **headers: str) -> Answer:
        return self.ask("POST", url, body, **headers)

    def defer(self, url: str = "/always/echo", body: bytes = b"", /, **headers: str) -> str:
        """Have a request deferred; return the URL of its monitor."""
        answer = self.post(url, body, **headers)
        assert answer.status == 202, answer
        return answer["Location"]

    def end_of(self, monitor: str, /, **headers: str) -> Answer:
        """Return the monitor's answer when the job is finished."""
        answer = self.get(monitor, Prefer=f"wait={PATIENCE:g}", **headers)
        assert answer.status == 200, answer
        return answer

    def result_of(self, monitor: str, /, **headers: str) -> Answer:
        """Return the result's answer when the job is finished."""
        self.end_of(monitor)
        return self.get(monitor + "/result", **headers)

    # --- what only a test may look at --------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        return self.middleware.options.store

    @property
    def worker(self) -> Worker:
        return self.middleware.engine._worker

    def await_watchers(self, monitor: str, count: int) -> None:
        """Wait until so many clients wait for a job to change."""
        watches = self.middleware.engine._ledger.signals._watches
        job_id = id_of(monitor)
        until(lambda: len(watches.get(job_id, ())) == count, f"{count} clients that wait")

    def assert_nothing_left(self) -> None:
        """Check that no run, no watcher and no slot is held once all is over."""
        worker = self.worker
        signals = self.middleware.engine._ledger.signals
        offers = self.middleware.engine._offers
        free = 0 if offers else self.middleware.options.concurrency
        until(lambda: worker.slots._free == free, "all slots to be free")
        until(lambda: not (worker.runs or worker.trials or worker.carried), "no run to be kept")
        until(lambda: not (offers and (offers._waiting or offers._running)), "no offer to be kept")
        until(lambda: not signals._watches, "nobody to wait")


@dataclass
class AwaySite:
    """A site as acts in other processes have it."""

    stage: AwayStage


def id_of(monitor: str) -> str:
    return monitor.rpartition("/")[2]


@contextmanager
def site(
    framework: Framework,
    *,
    backend: Backend = "asyncio",
    marks: Marks | None = None,
    inside: Callable[[Any], object] = lambda _: None,
    outside: Callable[[Any], Any] = lambda app: app,
    **options: Any,
) -> Iterator[Site]:
    """Build an application and its middleware, for as long as the context lasts.

    ``inside`` may change the application before the middleware wraps it, ``outside`` wraps the middleware. FastAPI's
    has a lifespan; Starlette's hasn't, so that its handlers run in a loop of deferit's own.
    """
    stage = Stage()
    options.setdefault("store", usual())
    need(options["store"])
    build = partial(_built, framework, stage, MARKS if marks is None else marks, inside, outside)
    with ExitStack() as stack:
        middleware, whole = stack.enter_context(employed(build, options))
        portal = None
        if framework != "flask":
            portal = stack.enter_context(start_blocking_portal(backend))
            if framework == "fastapi":
                stack.enter_context(lifespan(portal, whole))
        stack.callback(middleware.close)
        stack.callback(stage.close)
        yield Site(framework, stage, middleware, whole, portal)


def _built(
    framework: Framework,
    stage: Stage,
    marks: Marks,
    inside: Callable[[Any], object],
    outside: Callable[[Any], Any],
    options: dict[str, Any],
) -> tuple[ASGIMiddleware | WSGIMiddleware, Any]:
    """Return the middleware, and what a server calls."""
    app = APPS[framework](stage, marks)
    inside(app)
    if framework != "flask":
        asgi = ASGIMiddleware(app, **options)
        return asgi, outside(asgi)
    wsgi = WSGIMiddleware(app.wsgi_app, **options)
    return wsgi, outside(wsgi)


@contextmanager
def lifespan(portal: BlockingPortal, app: Any) -> Iterator[None]:
    """Start an ASGI application as a server does, and end it."""
    with portal.wrap_async_context_manager(_Lifespan(app)):
        yield


class _Lifespan:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __aenter__(self) -> None:
        self._to_app, from_server = anyio.create_memory_object_stream[Any](1)
        to_server, self._from_app = anyio.create_memory_object_stream[Any](1)
        self._streams = (self._to_app, from_server, to_server, self._from_app)
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._app, scope, from_server.receive, to_server.send)
        await self._say("startup")

    async def __aexit__(self, *_: object) -> None:
        await self._say("shutdown")
        await self._group.__aexit__(None, None, None)
        for stream in self._streams:
            stream.close()

    async def _say(self, what: str) -> None:
        await self._to_app.send({"type": f"lifespan.{what}"})
        answer = await self._from_app.receive()
        assert answer["type"] == f"lifespan.{what}.complete", answer


class CountingStore(Around):
    """Takes down what is asked of it; ``failure`` is raised in place of each batch, while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Command] = []
        self.queries: list[Query] = []
        self.failure: Exception | None = None

    def execute(self, batch: Sequence[Command]) -> list[object]:
        try:
            if self.failure:
                raise self.failure
            return super().execute(batch)
        finally:  # so that what was taken down is there to be read
            self.written += [
                command for command in batch if not isinstance(command, Claim | Renew | Sweep)
            ]

    def read(self, query: Query) -> object:
        self.queries.append(query)
        return super().read(query)


@contextmanager
def beside(store: Store) -> Iterator[Store]:
    """Use a store as another process would: a file through connections of one's own."""
    other = store_from_url(store.url) if store.is_shared else store
    other.open()
    try:
        yield other
    finally:
        if other is not store:
            other.close()


def execute(store: Store, *commands: Command) -> list[object]:
    """Execute commands beside the process that uses the store; raise the first exception among the answers."""
    with beside(store) as other:
        answers = other.execute(commands)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def stored(store: Store, job_id: str) -> Job:
    """Return a job as it is kept."""
    with beside(store) as other:
        job = other.read(Get(job_id))
    assert isinstance(job, Job)
    return job
