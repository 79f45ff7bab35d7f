"""DESIGN.md §2.1: what the handler of a job sees is the request as it came."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import flask
import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from tests.web.apps.bench import digest
from tests.web.clients import ADDRESS, BASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from tests.web.conftest import Build
    from tests.web.sites import Framework, Site

DROPPED = {
    *("accept-encoding", "range", "if-match", "if-none-match", "if-modified-since"),
    *("if-unmodified-since", "if-range", "expect", "connection", "te", "keep-alive"),
    *("upgrade", "transfer-encoding", "proxy-authorization", "prefer"),
}


def both(
    site: Site, method: str, url: str, headers: list[tuple[str, str]] | None = None, body: Any = b""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the handler sees of a request that is answered at once, and of the same one deferred."""
    headers = headers or []
    body_again = body
    if not isinstance(body, bytes):
        body_again = list(body)
        body = iter(body_again)
    plain = site.ask(method, url, headers, body)
    deferred = site.ask(method, url, [*headers, ("Prefer", "respond-async, wait=20")], body_again)
    assert plain.status == deferred.status == 200, (plain, deferred)
    assert "AsyncResult" in deferred
    return json.loads(plain.body), json.loads(deferred.body)


def without_job(facts: dict[str, Any]) -> dict[str, Any]:
    headers = [pair for pair in facts["headers"] if pair[0] not in DROPPED]
    return {**facts, "headers": headers, "job": None}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_request_is_the_same(shared: Site, method: str) -> None:
    plain, deferred = both(shared, method, "/facts/x?a=1&b=2&a=3", [("X-Own", "yes")], b"body")

    assert without_job(deferred) == without_job(plain)
    assert (plain["method"], plain["url"]) == (method, f"{BASE}/facts/x?a=1&b=2&a=3")
    assert plain["body"] == [4, digest(b"body")]
    assert plain["client"] == [*ADDRESS]
    assert (plain["job"], deferred["job"]["attempt"]) == (None, 1)


@pytest.mark.parametrize(
    "target",
    ["m%C3%BCller/%E4%BD%A0?n%C3%A4me=%F0%9F%98%80", "a%20b+c?d+e=%2B%20", "x%2Fy?z=%FF", "x?"],
)
def test_unicode_paths_and_queries_are_the_same(shared: Site, target: str) -> None:
    plain, deferred = both(shared, "GET", f"/facts/{target}")

    assert without_job(deferred) == without_job(plain)


def test_the_host_and_the_cookies_are_the_same(shared: Site) -> None:
    headers = [("Host", "shop.example:8443"), ("Cookie", 'a=1; b="x y"')]

    plain, deferred = both(shared, "GET", "/facts/x", headers)

    assert without_job(deferred) == without_job(plain)
    assert deferred["cookies"] == {"a": "1", "b": "x y"}
    assert deferred["url"] == "http://shop.example:8443/facts/x"


def test_the_scheme_is_the_same(shared: Site) -> None:
    plain, deferred = both(shared, "GET", "https://testserver/facts/x")

    assert without_job(deferred) == without_job(plain)
    assert deferred["url"] == "https://testserver/facts/x"


def test_a_form_is_the_same(shared: Site) -> None:
    form = [("Content-Type", "application/x-www-form-urlencoded")]

    plain, deferred = both(shared, "POST", "/facts/x", form, b"a=1&b=%C3%BC&a=2+3")

    assert deferred["form"] == plain["form"]
    assert sorted(deferred["form"]) == [["a", "1"], ["a", "2 3"], ["b", "ü"]]


@pytest.mark.parametrize("size", [0, 10, 700_000, 2_500_000])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_is_the_same(shared: Site, size: int, is_chunked: bool) -> None:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    body = (
        b"--limit\r\nContent-Disposition: form-data; name=note\r\n\r\nhello\r\n"
        b'--limit\r\nContent-Disposition: form-data; name=file; filename="\xc3\xbc.bin"\r\n'
        b"Content-Type: application/x-orders\r\n\r\n" + content + b"\r\n--limit--\r\n"
    )
    multipart = [("Content-Type", "multipart/form-data; boundary=limit")]

    plain, deferred = both(shared, "POST", "/facts/x", multipart, pieces(body, is_chunked))

    assert deferred["form"] == plain["form"]
    file = ["file", "ü.bin", "application/x-orders", digest(content)]
    assert deferred["form"] == [["note", "hello"], file]


def pieces(body: bytes, is_chunked: bool) -> bytes | list[bytes]:
    if not is_chunked:
        return body
    return [body[start : start + 60_000] for start in range(0, len(body), 60_000)]


def test_what_speaks_of_the_submitters_connection_is_not_replayed(shared: Site) -> None:
    headers = [
        *(("Accept-Encoding", "br"), ("Range", "bytes=0-1"), ("If-None-Match", '"x"')),
        *(("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Expect", "100-continue")),
        *(("Connection", "keep-alive"), ("TE", "trailers"), ("Accept", "text/x")),
    ]

    _, deferred = both(shared, "GET", "/facts/x", headers)

    names = {name for name, _ in deferred["headers"]}
    assert not names & (DROPPED - {"prefer"})
    assert names >= {"accept", "host", "user-agent"} - {"user-agent"}


def test_repeated_header_fields_are_the_same(shared: Site) -> None:
    plain, deferred = both(shared, "GET", "/facts/x", [("X-Many", "1"), ("X-Many", "2")])

    assert without_job(deferred) == without_job(plain)
    assert [value for name, value in deferred["headers"] if name == "x-many"]


def test_header_values_beyond_ascii_are_the_same(shared: Site) -> None:
    plain, deferred = both(shared, "GET", "/facts/x", [("X-Own", "caf\xe9".encode("latin-1"))])  # type: ignore[list-item]  # httpx and Werkzeug take bytes too

    assert without_job(deferred) == without_job(plain)


def test_an_environment_like_the_servers_own_is_replayed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gunicorn takes the root from a variable of its environment, named SCRIPT_NAME too."""
    monkeypatch.setitem(os.environ, "SCRIPT_NAME", "/api")
    monkeypatch.setitem(os.environ, "REMOTE_ADDR", ADDRESS[0])
    site = build(root="/api")

    plain, deferred = both(site, "GET", f"{BASE}/api/facts/x")

    assert without_job(deferred) == without_job(plain)
    assert deferred["url"] == f"{BASE}/api/facts/x"


# --- the body, read before the mark ----------------------------------------------------------------------------------


def reads_some(app: Any, framework: Framework) -> None:
    """Have an inner layer look at the first bytes of every body."""
    if framework == "flask":
        inner = app.wsgi_app

        def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
            environ["first"] = environ["wsgi.input"].read(3)
            environ["wsgi.input"] = Joined(environ["first"], environ["wsgi.input"])
            return inner(environ, start_response)

        app.wsgi_app = wsgi
        return

    class Peeking:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            first = [await receive()]

            async def again() -> Any:
                return first.pop() if first else await receive()

            await self.app(scope, again, send)

    app.add_middleware(Peeking)


class Joined:
    """An input whose first bytes were read already."""

    def __init__(self, first: bytes, rest: Any) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        rest = self._rest.read(size if size < 0 else max(size - len(first), 0))
        return first + bytes(rest)


@pytest.mark.parametrize("body", [b"ab", b"abcdef", 400_000 * b"xyz"], ids=len)
def test_a_body_that_an_inner_layer_has_begun_to_read_is_whole(
    build: Build, framework: Framework, body: bytes
) -> None:
    site = build(inside=lambda app: reads_some(app, framework))

    result = site.result_after("/length", pieces(body, True), Content_Type="application/x")  # type: ignore[arg-type]

    assert json.loads(result.body) == [len(body), digest(body)]


class Measures(BaseHTTPMiddleware):
    """Reads the whole body in front of the handler."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Any]) -> Response:
        length = len(await request.body())
        response: Response = await call_next(request)
        response.headers["X-Length"] = str(length)
        return response


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_body_that_an_inner_layer_has_read_is_whole(
    build: Build, framework: Framework, size: int
) -> None:
    def inside(app: Any) -> None:
        if framework == "flask":

            @app.before_request  # type: ignore[untyped-decorator]
            def read() -> None:
                flask.g.length = len(flask.request.get_data())

            @app.after_request  # type: ignore[untyped-decorator]
            def tell(response: Any) -> Any:
                response.headers["X-Length"] = str(flask.g.length)
                return response
        else:
            app.add_middleware(Measures)

    site = build(inside=inside)
    accepted = site.post("/length", size * b"x", Content_Type="application/x")
    result = site.result_of(accepted["Location"])

    assert accepted["X-Length"] == result["X-Length"] == str(size)
    assert json.loads(result.body) == [size, digest(size * b"x")]


def test_a_handler_need_not_read_the_body(shared: Site) -> None:
    result = shared.result_after("/pages", 1_500_000 * b"x")

    assert result.status == 201


def test_a_body_that_a_streamed_answer_reads_late_is_not_kept(
    build: Build, framework: Framework
) -> None:
    """Only WSGI has answers that are made after the application has returned; nothing is left on disk."""
    if framework != "flask":
        pytest.skip("an ASGI application returns when its answer is sent")
    site = build()

    @site.app.post("/copy")  # type: ignore[untyped-decorator]
    def copy() -> flask.Response:
        stream = flask.request.stream
        return flask.Response(iter(partial(stream.read, 65_536), b""))

    answer = site.post("/copy", 3_000_000 * b"x")

    assert len(answer.body) == 3_000_000
