"""Counts what a request costs, in a process of its own: ``python -m tests.costs.counting`` prints it as JSON.

Counted are calls that deferit's code receives or makes, in all threads but the keeper's, which looks around by the
clock; what the store is asked; and its transactions. Neither the speed of the machine nor a framework's release changes
the numbers: only deferit's code does, and the version of Python.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import statistics
import sys
import tempfile
import threading
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import deferit
from deferit import ASGIMiddleware, WSGIMiddleware, deferred
from deferit._core.commands import Finish, Observe, Renew, Sweep
from deferit.stores import store_from_url
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import CodeType, FrameType

    from deferit._core.commands import Command
    from deferit._core.queries import Query

CODE = str(Path(deferit.__file__).parent)
KEEPER = "deferit-keeper"
HOUSEKEEPING = (Observe, Renew, Sweep)
NOTHING = Renew((), 0.0)
"""Executed behind the end of a job: when that is answered, nobody has anything to do with the job any more."""
TIMES = 50
WARM_UP = 10
BODY = json.dumps({"customer": "c-4711", "pages": 12, "note": "x" * 150}).encode()
HEADERS = {
    "Host": "example.com",
    "Content-Type": "application/json",
    "Accept": "*/*",
    "User-Agent": "count",
}


class Cost(NamedTuple):
    """What one request costs: for a job, from its submission until its result is on disk.

    Calls are the median's, for once a second the committer does what the keeper asks; all else is the average.
    """

    calls: float
    commands: float
    transactions: float
    reads: float


class Counts:
    """Takes notes while it is switched on."""

    def __init__(self) -> None:
        self.is_on = False
        self.asked: Counter[str] = Counter()
        self._by_thread: list[list[int]] = []
        self._calls: list[int] = []
        self._ours: dict[CodeType, bool] = {}

    def watch(self) -> None:
        """Watch this thread, and those that will be started."""
        threading.setprofile(self._begin)
        sys.setprofile(self._counter())

    def end_request(self) -> None:
        """Take down what was called since the last one's end."""
        self._calls.append(sum(count[0] for count in self._by_thread) - sum(self._calls))

    def cost(self) -> Cost:
        """Return what requests cost after the first few, and begin anew."""
        self.is_on = False
        calls, self._calls = self._calls, []
        asked, self.asked = self.asked, Counter()
        for count in self._by_thread:
            count[0] = 0
        names = ("commands", "transactions", "reads")
        return Cost(statistics.median(calls), *(asked[name] / len(calls) for name in names))

    def _begin(self, frame: FrameType, event: str, arg: object) -> None:
        """Watch a thread from its first event on, unless it is the keeper's."""
        is_keeper = threading.current_thread().name == KEEPER
        sys.setprofile(None if is_keeper else self._counter())

    def _counter(self) -> Callable[[FrameType, str, object], None]:
        """Return what a thread calls; each has its own number, so that none is lost."""
        count = [0]
        self._by_thread.append(count)

        def profile(frame: FrameType, event: str, _: object) -> None:
            if not self.is_on or event not in {"call", "c_call"}:
                return
            if self._is_ours(frame) or (event == "call" and self._is_ours(frame.f_back)):
                count[0] += 1

        return profile

    def _is_ours(self, frame: FrameType | None) -> bool:
        if frame is None:
            return False
        code = frame.f_code
        if code not in self._ours:
            self._ours[code] = code.co_filename.startswith(CODE)
        return self._ours[code]


class Counted(Store):
    """Has another store do what it is asked, and counts that; says when a job is finished."""

    def __init__(self, store: Store, counts: Counts) -> None:
        self.url = store.url
        self.reads_are_quick = store.reads_are_quick
        self.is_shared = store.is_shared
        self._store = store
        self._counts = counts
        self.on_finish: Callable[[], object] = bool

    def open(self) -> None:
        self._store.open()

    def execute(self, batch: Sequence[Command]) -> list[object]:
        outcomes = self._store.execute(batch)
        commands = [command for command in batch if not isinstance(command, HOUSEKEEPING)]
        if self._counts.is_on and commands:
            self._counts.asked["transactions"] += 1
            self._counts.asked["commands"] += len(commands)
        for command in commands:
            if isinstance(command, Finish):
                self.on_finish()
        return outcomes

    def read(self, query: Query) -> object:
        if self._counts.is_on and threading.current_thread().name != KEEPER:
            self._counts.asked["reads"] += 1
        return self._store.read(query)

    def version(self) -> int:
        return self._store.version()

    def close(self) -> None:
        self._store.close()


# --- Starlette -------------------------------------------------------------------------------------------------------


def starlette_costs(counts: Counts, store: Counted) -> dict[str, Cost]:
    """Return what requests of a Starlette application cost."""
    from starlette.applications import Starlette  # noqa: PLC0415  only one framework is imported
    from starlette.responses import JSONResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def report(_: Any) -> Any:
        return JSONResponse({"pages": 12})

    app = Starlette(
        routes=[
            Route("/plain", report, methods=["POST"]),
            Route("/reports", deferred(report), methods=["POST"]),
            Route("/auto", deferred(mode="auto", wait=5)(report), methods=["POST"]),
            Route("/routed", report, methods=["POST"]),
        ]
    )
    around = ASGIMiddleware(app, store=store, routes=["POST /routed"])
    return asyncio.run(_starlette_costs(around, counts, store))


async def _starlette_costs(app: ASGIMiddleware, counts: Counts, store: Counted) -> dict[str, Cost]:
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    store.on_finish = lambda: loop.call_soon_threadsafe(finished.set)

    async def job(path: str) -> str:
        finished.clear()
        head = await asgi_request(app, "POST", path)
        await finished.wait()
        await app.engine.aperform(NOTHING)
        return head["location"].removeprefix("http://example.com")

    async def cost(ask: Callable[[], Any]) -> Cost:
        for _ in range(WARM_UP):
            await ask()
        counts.is_on = True
        for _ in range(TIMES):
            await ask()
            counts.end_request()
        return counts.cost()

    async with lifespan(app):
        monitor = await job("/reports")
        return {
            "job": await cost(lambda: job("/reports")),
            "job of a configured route": await cost(lambda: job("/routed")),
            "poll of a finished job": await cost(lambda: asgi_request(app, "GET", monitor)),
            "result": await cost(lambda: asgi_request(app, "GET", f"{monitor}/result")),
            "unmarked": await cost(lambda: asgi_request(app, "POST", "/plain")),
            "auto, in time": await cost(lambda: asgi_request(app, "POST", "/auto")),
        }


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Do what a server does when it starts and ends."""
    messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, messages.get, answers.put))
    for event in ("startup", "shutdown"):
        messages.put_nowait({"type": f"lifespan.{event}"})
        assert (await answers.get())["type"] == f"lifespan.{event}.complete"
        if event == "startup":
            yield
    await task


async def asgi_request(app: Any, method: str, path: str) -> dict[str, str]:
    """Have the application answer as a server does; return the header."""
    body = BODY if method == "POST" else b""
    fields = HEADERS | {"Content-Length": str(len(body))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
    }
    came = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not came:
            await asyncio.Event().wait()  # the client stays
        return came.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] < 300, sent
    return {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}


# --- Flask -----------------------------------------------------------------------------------------------------------


def flask_costs(counts: Counts, store: Counted) -> dict[str, Cost]:
    """Return what requests of a Flask application cost."""
    from flask import Flask  # noqa: PLC0415  only one framework is imported

    def report() -> dict[str, int]:
        return {"pages": 12}

    app = Flask("costs")
    app.add_url_rule("/plain", "plain", report, methods=["POST"])
    app.add_url_rule("/reports", "reports", deferred(report), methods=["POST"])
    app.add_url_rule("/auto", "auto", deferred(mode="auto", wait=5)(report), methods=["POST"])
    app.add_url_rule("/routed", "routed", report, methods=["POST"])
    around = WSGIMiddleware(app.wsgi_app, store=store, routes=["POST /routed"])
    app.wsgi_app = around  # type: ignore[method-assign]
    finished = threading.Semaphore(0)
    store.on_finish = finished.release

    def job(path: str) -> str:
        head = wsgi_request(app, "POST", path)
        finished.acquire()
        around.engine.perform(NOTHING)
        return head["location"].removeprefix("http://example.com")

    def cost(ask: Callable[[], Any]) -> Cost:
        for _ in range(WARM_UP):
            ask()
        counts.is_on = True
        for _ in range(TIMES):
            ask()
            counts.end_request()
        return counts.cost()

    monitor = job("/reports")
    costs = {
        "job": cost(lambda: job("/reports")),
        "job of a configured route": cost(lambda: job("/routed")),
        "poll of a finished job": cost(lambda: wsgi_request(app, "GET", monitor)),
        "result": cost(lambda: wsgi_request(app, "GET", f"{monitor}/result")),
        "unmarked": cost(lambda: wsgi_request(app, "POST", "/plain")),
        "auto, in time": cost(lambda: wsgi_request(app, "POST", "/auto")),
    }
    around.close()
    return costs


def wsgi_request(app: Any, method: str, path: str) -> dict[str, str]:
    """Have the application answer as a server does; return the header."""
    body = BODY if method == "POST" else b""
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()},
        "CONTENT_TYPE": HEADERS["Content-Type"],
    }
    head: dict[str, str] = {}

    def start_response(status: str, fields: list[tuple[str, str]], *_: Any) -> None:
        assert status < "3", status
        head.update((name.lower(), value) for name, value in fields)

    answer = app(environ, start_response)
    list(answer)
    if hasattr(answer, "close"):
        answer.close()
    return head


COSTS = {"starlette": starlette_costs, "flask": flask_costs}


def main() -> None:
    """Print what requests cost with the framework that is asked for."""
    gc.disable()
    counts = Counts()
    counts.watch()
    with tempfile.TemporaryDirectory() as folder:
        store = Counted(store_from_url(f"sqlite:///{folder}/jobs.db"), counts)
        costs = COSTS[sys.argv[1]](counts, store)
    sys.setprofile(None)
    sys.stdout.write(json.dumps({name: cost._asdict() for name, cost in costs.items()}))


if __name__ == "__main__":
    main()
