"""Whatever a request is made of, the middleware answers it, and not with an error of its own."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from tests.description.states import OWNER, put
from tests.hostile.requests import Hostile, requests
from tests.web.sites import FRAMEWORKS, site

from deferit import WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.sites import Framework, Site

EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "300"))
"""Requests to each framework; `make hostile` sends thousands."""

LONGEST_WAIT = 0.01
ALLOWED = {"https://hooks.example/": "whsec_" + 40 * "A"}
"""Nothing of what is sent: a callback is read, and refused."""

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t -~\x80-\xff]*")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def hostile_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site of which all visitors are the owner, so that every request reaches the job."""
    with open_to_all(request.param) as built:
        yield built


@contextmanager
def open_to_all(framework: Framework) -> Iterator[Site]:
    """Build a site of which all visitors are the owner, and where nobody is kept waiting."""
    options: dict[str, Any] = {
        "store": "memory://",
        "owner": lambda _request: OWNER,
        "max_wait": LONGEST_WAIT,
        "wait": LONGEST_WAIT,
        "routes": ["* /configured*"],
        "callbacks": ALLOWED,
    }
    with site(framework, **options) as built:
        yield built


@pytest.mark.timeout(900)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=requests())
def test_every_request_is_answered_and_none_with_an_error_of_ours(
    hostile_site: Site, asked: Hostile
) -> None:
    answer = ask(hostile_site, asked)

    assert is_fit(answer, asked), answer


def is_fit(answer: Answer, asked: Hostile) -> bool:
    """Whether an answer is one that HTTP allows, and no error but a handler's own."""
    length = answer.header("content-length")
    return (
        (answer.status < 500 or answer.header("asyncresult") is not None)
        and all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in answer.headers)
        and (
            length is None
            or asked.method == "HEAD"
            or answer.status == 304
            or int(length) == len(answer.body)
        )
    )


def ask(built: Site, asked: Hostile) -> Answer:
    path = asked.path
    if asked.state is not None:
        store, application = built.middleware.options.store, built.middleware.application
        path = f"/jobs/{put(store, asked.state, application)}{asked.path}"
    if isinstance(built.middleware, WSGIMiddleware):
        return _ask_wsgi(built.middleware, asked, path)
    return anyio.run(_ask_asgi, built.middleware, asked, path)


def _ask_wsgi(app: Any, asked: Hostile, path: str) -> Answer:
    """Ask as PEP 3333 has it; fields of one name are one, with commas."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": asked.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": str(asked.query),
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(asked.body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ["CONTENT_LENGTH"] = asked.length or str(len(asked.body))
    for name, value in ((name, str(value)) for name, value in asked.headers):
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    heads: list[tuple[str, list[tuple[str, str]]]] = []
    body = app(environ, lambda status, headers, _exc_info=None: heads.append((status, headers)))
    parts: list[bytes] = []
    for part in body:
        parts.append(part)
        if "text/event-stream" in dict(heads[-1][1]).get("Content-Type", ""):
            break
    getattr(body, "close", lambda: None)()
    status, headers = heads[-1]
    return Answer(int(status[:3]), tuple(headers), b"".join(parts))


async def _ask_asgi(app: Any, asked: Hostile, path: str) -> Answer:
    """Ask as uvicorn does; behind the body comes the end of the connection."""
    headers = [
        *((name, str(value)) for name, value in asked.headers),
        ("content-length", asked.length or str(len(asked.body))),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": unquote_to_bytes(path.encode("latin-1")).decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": str(asked.query).encode(_codec(path)),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("203.0.113.7", 50000),
        "server": ("testserver", 80),
    }
    body = [{"type": "http.request", "body": asked.body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if body:
            return body.pop()
        await anyio.sleep(LONGEST_WAIT)  # as a client that reads an answer before it leaves
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return Answer(start["status"], tuple(fields), b"".join(part["body"] for part in parts))


def _codec(path: str) -> str:
    """Starlette itself raises if a query is not UTF-8, as soon as a handler or its router asks for the URL."""
    return "latin-1" if path.startswith(("/jobs/job_", "/pages")) or path == "/jobs" else "utf-8"
