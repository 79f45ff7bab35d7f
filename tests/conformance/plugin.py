"""A pytest plugin that takes a framework's own test suite through deferit.

It runs in the foreign suite's process only. DEFERIT_CONFORMANCE says how:

    baseline     nothing is changed
    nothing      the middleware stands around every application and defers nothing
    everything   every request but HEAD and OPTIONS is answered 202; the framework's test client
                 polls the monitor, fetches the result, and hands that to the test

What a test sees in `everything` is what the result route sent. Only that is undone which the wire
contract says is done to requests and responses on their way: a capture leaves out what speaks of
the submitter's connection, and the result route adds fields and makes a Location absolute. What
a test client tells its test that never was on a wire comes from a witness inside the middleware:
the exception that the application raised, and the template that it rendered.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote, urljoin

import flask
import httpx2
import werkzeug.test
from starlette import testclient
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wsgi import ClosingIterator, get_current_url

from deferit import ASGIMiddleware, WSGIMiddleware, current_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    import pytest
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Pairs = list[tuple[str, str]]
    Ask = Callable[[str, dict[str, str]], "Answer"]

MODE = os.environ["DEFERIT_CONFORMANCE"]
RECORD = Path(os.environ["DEFERIT_CONFORMANCE_RECORD"])
PATIENCE = 15.0

ADDED = frozenset({"cache-control", "content-length", "etag", "sunset", "vary"})
"""What the result route adds to a response that came without."""

OF_THE_SUBMITTER = frozenset(
    {
        *("accept-encoding", "range", "connection", "te"),
        *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    }
)
"""What a capture leaves out of a request. Here the submitter fetches the result, so it holds."""

LEFT_OUT = "conformance.left_out"
"""The entry of a scope or environ by which an outer layer hands that to the witness."""


@dataclass
class Deed:
    """What the application did in one job."""

    headers: Pairs | None = None
    raised: BaseException | None = None
    debug: dict[str, Any] | None = None
    """What the application told Starlette's test client by the extension `http.response.debug`."""


@dataclass
class Record:
    """How each test ended, and how many requests went which way; run.py reads it."""

    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    deferred: Counter[str] = field(default_factory=Counter)
    direct: Counter[str] = field(default_factory=Counter)


class Answer(NamedTuple):
    """A response, whichever test client got it."""

    status: int
    headers: Pairs
    body: bytes


record = Record()
deeds: dict[str, Deed] = {}


# --- pytest ----------------------------------------------------------------------------------------


def pytest_configure() -> None:
    if MODE == "nothing":
        surround_applications()
    if MODE == "everything":
        surround_applications(routes=["* /*"], store="memory://", set_cookie=True)
        follow_in_starlette()
        follow_in_flask()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call" and report.passed:
        return
    record.outcomes[report.nodeid] = "xfailed" if hasattr(report, "wasxfail") else report.outcome
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        record.reasons[report.nodeid] = (crash.message if crash else str(report.longrepr)).strip()


def pytest_sessionfinish() -> None:
    RECORD.write_text(json.dumps(vars(record)))


# --- the server's side: what stands around an application, and in it ------------------------------


def surround_applications(**options: Any) -> None:
    """Put the middleware around what test clients are given to call."""
    make_client = testclient.TestClient.__init__
    call_flask = flask.Flask.__call__

    def init(self: testclient.TestClient, *args: Any, **kwargs: Any) -> None:
        make_client(self, *args, **kwargs)
        transport = cast("testclient._TestClientTransport", self._transport)
        middleware = ASGIMiddleware(asgi_witness(self.app), **options)
        transport.app = self.app = asgi_porter(middleware)

    def call(self: flask.Flask, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if "deferit" not in vars(self):
            middleware = WSGIMiddleware(wsgi_witness(partial(call_flask, self)), **options)
            vars(self)["deferit"] = wsgi_porter(middleware)
        app: WSGIApplication = vars(self)["deferit"]
        return app(environ, start)

    testclient.TestClient.__init__ = init  # type: ignore[method-assign]
    flask.Flask.__call__ = call  # type: ignore[method-assign, assignment]


def asgi_porter(app: ASGIApp) -> ASGIApp:
    """Stand outside the middleware and hand what a capture leaves out to the witness inside."""

    async def carrying(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            fields = scope["headers"]
            left_out = [field for field in fields if field[0].decode() in OF_THE_SUBMITTER]
            scope = {**scope, LEFT_OUT: left_out}
        await app(scope, receive, send)

    return carrying


def wsgi_porter(app: WSGIApplication) -> WSGIApplication:
    """Same as `asgi_porter`, but for WSGI."""

    def carrying(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        fields = {f"HTTP_{name.upper().replace('-', '_')}" for name in OF_THE_SUBMITTER}
        left_out = environ.keys() & (fields | {"wsgi.errors"})
        environ[LEFT_OUT] = {name: environ[name] for name in left_out}
        return app(environ, start)

    return carrying


def asgi_witness(app: ASGIApp) -> ASGIApp:
    """Stand between the middleware and the application and take down what that does in a job."""

    async def witnessed(scope: Scope, receive: Receive, send: Send) -> None:
        job = current_job()
        if job is None:
            return await app(scope, receive, send)
        deed = deeds.setdefault(job.id, Deed())

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.debug":
                deed.debug = message["info"]
                return
            if message["type"] == "http.response.start":
                deed.headers = [
                    (key.decode(), value.decode()) for key, value in message.get("headers", [])
                ]
            await send(message)

        scope["headers"] = [*scope["headers"], *scope[LEFT_OUT]]
        if "extensions" in scope:
            scope["extensions"] = {**scope["extensions"], "http.response.debug": {}}
        try:
            await app(scope, receive, noting)
        except Exception as exc:
            deed.raised = exc
            raise

    return witnessed


def wsgi_witness(app: WSGIApplication) -> WSGIApplication:
    """Same as `asgi_witness`, but for WSGI."""

    def witnessed(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        job = current_job()
        if job is None:
            return app(environ, start)
        return replayed(environ, start, deeds.setdefault(job.id, Deed()))

    def replayed(environ: WSGIEnvironment, start: StartResponse, deed: Deed) -> Iterator[bytes]:
        def noting(status: str, headers: Pairs, *exc_info: Any) -> Callable[[bytes], object]:
            deed.headers = [*headers]
            return start(status, headers, *exc_info)

        try:
            body = app(environ | environ[LEFT_OUT], noting)
            with closing(ClosingIterator(body)):
                yield from body
        except BaseException as exc:
            deed.raised = exc
            raise

    return witnessed


# --- the client's side: from the 202 to the result ------------------------------------------------


def follow_in_starlette() -> None:
    handle = testclient._TestClientTransport.handle_request

    def handle_and_follow(
        self: testclient._TestClientTransport, request: httpx2.Request
    ) -> httpx2.Response:
        def ask(path: str, headers: dict[str, str]) -> Answer:
            url = request.url.copy_with(path=path, query=None)
            host = request.headers["host"]
            return buffered(
                handle(self, httpx2.Request("GET", url, headers={"Host": host, **headers}))
            )

        response = handle(self, request)
        server = f"{request.url.scheme}://{request.headers['host']}"
        monitor = monitor_of(request.method, response.status_code, response.headers, server)
        if monitor is None:
            return response
        buffered(response)
        answer, deed = see_through(monitor, ask)
        if deed.raised and self.raise_server_exceptions:
            raise deed.raised
        if deed.headers is None:  # the client's own stand-in for an application that gave no answer
            return httpx2.Response(500, request=request)
        status, headers, body = as_direct(answer, deed, str(request.url))
        result = httpx2.Response(
            status, headers=headers, stream=httpx2.ByteStream(body), request=request
        )
        if deed.debug is not None:
            result.extensions["http.response.debug"] = deed.debug
            told = deed.debug.keys() & {"template", "context"}
            vars(result).update({name: deed.debug[name] for name in told})
        return result

    testclient._TestClientTransport.handle_request = handle_and_follow  # type: ignore[method-assign]


def buffered(response: httpx2.Response) -> Answer:
    body = b"".join(response.iter_raw())
    return Answer(response.status_code, response.headers.multi_items(), body)


def follow_in_flask() -> None:
    run = werkzeug.test.run_wsgi_app

    def run_and_follow(
        app: WSGIApplication, environ: WSGIEnvironment, buffered: bool = False
    ) -> tuple[Iterable[bytes], str, Headers]:
        def ask(path: str, headers: dict[str, str]) -> Answer:
            chunks, status, received = run(app, asking(environ, path, headers), buffered=True)
            return Answer(int(status[:3]), [*received], b"".join(chunks))

        chunks, status, headers = run(app, environ, buffered)
        if not isinstance(app, flask.Flask):  # Flask itself runs the response that a view returned
            return chunks, status, headers
        server = f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"
        monitor = monitor_of(environ["REQUEST_METHOD"], int(status[:3]), headers, server)
        if monitor is None:
            return chunks, status, headers
        answer, deed = see_through(monitor, ask)
        if deed.raised:
            raise deed.raised
        code, fields, body = as_direct(answer, deed, get_current_url(environ))
        return [body], f"{code} {HTTP_STATUS_CODES.get(code, 'UNKNOWN').upper()}", Headers(fields)

    werkzeug.test.run_wsgi_app = run_and_follow


def asking(environ: WSGIEnvironment, path: str, headers: dict[str, str]) -> WSGIEnvironment:
    """Return the environ of a GET to the same server."""
    question = {
        key: value
        for key, value in environ.items()
        if not key.startswith(("HTTP_", "CONTENT_", "werkzeug.", "flask.")) or key == "HTTP_HOST"
    }
    question |= {f"HTTP_{name.upper().replace('-', '_')}": headers[name] for name in headers}
    return question | {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": unquote(path).removeprefix(environ["SCRIPT_NAME"]),
        "QUERY_STRING": "",
        "wsgi.input": BytesIO(),
    }


def monitor_of(
    method: str, status: int, headers: Headers | httpx2.Headers, server: str
) -> str | None:
    """Return the path at which to follow a deferred request; None: this is its answer.

    The server is cut off as it was asked for: some tests send a Host that no URL can have.
    """
    url = headers.get("Operation-Location") if status == HTTPStatus.ACCEPTED else None
    (record.deferred if url else record.direct)[method] += 1
    return url and url.removeprefix(server)


def see_through(monitor: str, ask: Ask) -> tuple[Answer, Deed]:
    """Poll the monitor until the job is finished; return its result and what its witness saw."""
    deadline = time.monotonic() + PATIENCE
    while (answer := ask(monitor, {"Prefer": "wait=5"})).status == HTTPStatus.ACCEPTED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {PATIENCE} s the monitor still says {answer.body.decode()}")
    return ask(f"{monitor}/result", {}), deeds.pop(monitor.rpartition("/")[2], Deed())


def as_direct(answer: Answer, deed: Deed, url: str) -> Answer:
    """Undo what the result route does to a response, as CONTRACT.md says, and no more."""
    own = {name.lower(): value for name, value in deed.headers or ()}
    status = answer.status
    headers: Pairs = []
    for name, value in answer.headers:
        match name.lower():
            case "asyncresult":
                status = HTTPStatus.ACCEPTED if value == "202" else status
            case "link" if 'rel="monitor"' in value and "/jobs/job_" in value:
                pass
            case added if added in ADDED and added not in own:
                pass
            case "location" if urljoin(url, own.get("location")) == value:
                headers.append((name, own["location"]))
            case "cache-control" if value == "private":
                headers.append((name, own["cache-control"]))
            case _:
                headers.append((name, value))
    return Answer(status, headers, answer.body)
