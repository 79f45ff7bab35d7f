"""DESIGN.md §2.2: what the application's own layers put on an answer, they put on the 202 too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import flask
import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.web.apps.bench import PAGES
from tests.web.sites import saying

from deferit import deferred

if TYPE_CHECKING:
    from starlette.requests import Request
    from tests.web.conftest import Build
    from tests.web.sites import Framework

ORIGIN = "https://elsewhere.example"


def members(value: str) -> set[str]:
    return {member.strip() for member in value.split(",")}


def with_session(app: Any) -> None:
    """Have the application count, in a signed cookie, the requests that reach it."""
    if isinstance(app, flask.Flask):
        app.secret_key = "a secret"

        @app.before_request
        def count() -> None:
            flask.session["count"] = flask.session.get("count", 0) + 1

        return

    class Counting:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                scope["session"]["count"] = scope["session"].get("count", 0) + 1
            await self.app(scope, receive, send)

    app.add_middleware(Counting)
    app.add_middleware(SessionMiddleware, secret_key="a secret")


def test_the_session_cookie_goes_with_the_202(build: Build) -> None:
    site = build(inside=with_session)

    first, second = site.post("/pages"), site.post("/pages")

    assert first["Set-Cookie"].startswith("session=")
    assert second["Set-Cookie"] != first["Set-Cookie"]
    assert "Set-Cookie" not in site.result_of(first["Location"])


def with_fields(app: Any) -> None:
    """Put on every answer fields of the application's, and some that speak of the body."""
    if isinstance(app, flask.Flask):

        @app.after_request
        def tag(response: flask.Response) -> flask.Response:
            response.headers.extend(FIELDS)
            response.set_etag("of the placeholder")
            return response

        return

    class Tagging:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def tagging(message: Any) -> None:
                if message["type"] == "http.response.start":
                    fields = [*FIELDS, ("ETag", '"of the placeholder"')]
                    own = [(name.lower().encode(), value.encode()) for name, value in fields]
                    message = {**message, "headers": [*message["headers"], *own]}
                await send(message)

            await self.app(scope, receive, tagging)

    app.add_middleware(Tagging)


FIELDS = [
    *(("X-Own", "1"), ("X-Own", "2"), ("Vary", "Cookie"), ("Link", '</help>; rel="help"')),
    *(("Content-Language", "de"), ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")),
    *(("Cache-Control", "max-age=60"), ("Location", "/own"), ("Retry-After", "77")),
    *(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Access-Control-Expose-Headers", "X-Own")),
]


@pytest.mark.parametrize("prefer", ["", "return=minimal"])
def test_the_202_has_the_fields_of_inner_layers_but_not_the_placeholders_own(
    build: Build, prefer: str
) -> None:
    site = build(inside=with_fields)

    answer = site.post("/pages", Origin=ORIGIN, Prefer=prefer)

    assert answer.status == 202
    assert answer.all("X-Own") == ["1", "2"]
    assert answer.all("Set-Cookie") == ["a=1", "b=2"]
    assert members(answer["Vary"]) == {"Accept", "Cookie", "Prefer"}
    assert '</help>; rel="help"' in answer.all("Link")
    assert len(answer.all("Link")) == 2
    assert not answer.names & {"etag", "last-modified", "content-language"}
    assert (answer["Cache-Control"], answer["Retry-After"]) == ("no-store", "1")
    assert answer["Location"].startswith("http://testserver/jobs/job_")
    assert members(answer["Access-Control-Expose-Headers"]) > {"X-Own", "Location"}
    assert answer["Content-Length"] == str(len(answer.body))


def test_a_refusal_of_the_middleware_has_them_too(build: Build) -> None:
    site = build(inside=with_fields, max_body=3)

    answer = site.post("/length", b"12345", Content_Type="application/x")

    assert (answer.status, answer.document["code"]) == (413, "request-too-large")
    assert answer.all("X-Own") == ["1", "2"]
    assert "ETag" not in answer


def test_the_result_has_the_fields_of_inner_layers(build: Build) -> None:
    site = build(inside=with_fields)

    result = site.result_after("/pages")

    assert result.all("X-Own") == ["1", "2"]
    assert result["ETag"] == '"of the placeholder"'


# --- layers of Starlette ---------------------------------------------------------------------------------------------


@pytest.fixture
def asgi(framework: Framework) -> Framework:
    if framework == "flask":
        pytest.skip("Flask has no such layer of its own")
    return framework


def test_an_inner_cors_layer_is_kept_and_completed(asgi: Framework, build: Build) -> None:
    def inside(app: Any) -> None:
        app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], expose_headers=["X-Own"])

    answer = build(inside=inside).post("/pages", Origin=ORIGIN)

    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert members(answer["Access-Control-Expose-Headers"]) >= {"X-Own", "Location", "AsyncResult"}
    assert members(answer["Vary"]) >= {"Origin", "Prefer"}


def test_an_outer_cors_layer_serves_the_mounted_routes_too(asgi: Framework, build: Build) -> None:
    def outside(app: Any) -> Any:
        return CORSMiddleware(app, allow_origins=[ORIGIN], allow_methods=["DELETE"])

    site = build(outside=outside)
    submitted = site.post("/pages", Origin=ORIGIN)
    preflight = site.ask(
        "OPTIONS",
        submitted["Location"],
        {"Origin": ORIGIN, "Access-Control-Request-Method": "DELETE"},
    )

    for answer in (
        submitted,
        preflight,
        site.end_of(submitted["Location"], Origin=ORIGIN),
        site.get(submitted["Location"] + "/result", Origin=ORIGIN),
    ):
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert preflight.status == 200
    assert "Location" in members(submitted["Access-Control-Expose-Headers"])


def test_an_inner_gzip_layer_does_not_speak_of_the_202s_body(asgi: Framework, build: Build) -> None:
    site = build(inside=lambda app: app.add_middleware(GZipMiddleware, minimum_size=0))

    submitted = site.post("/pages", Accept_Encoding="gzip")
    result = site.result_of(submitted["Location"], Accept_Encoding="gzip")

    assert "Content-Encoding" not in submitted
    assert submitted.document["id"]
    assert (result.body, result.get("Content-Encoding")) == (PAGES, None)


@deferred
async def whoami(request: Request) -> Response:
    return JSONResponse(dict(request.session))


async def login(request: Request) -> Response:
    request.session["user"] = "ann"
    return Response()


def test_an_outer_session_is_seen_by_the_handler(asgi: Framework, build: Build) -> None:
    def inside(app: Any) -> None:
        app.router.routes.append(Route("/whoami", whoami, methods=["POST"]))
        app.router.routes.append(Route("/login", login, methods=["POST"]))

    site = build(inside=inside, outside=lambda app: SessionMiddleware(app, secret_key="a secret"))
    site.post("/login")

    assert json.loads(site.result_after("/whoami").body) == {"user": "ann"}


def test_a_response_of_an_inner_error_handler_is_no_placeholder(build: Build) -> None:
    """A layer that makes something else of the placeholder has the last word."""

    def inside(app: Any) -> None:
        if isinstance(app, flask.Flask):
            app.after_request(lambda _: flask.Response("closed", 503))
        else:
            app.add_middleware(Closed)

    site = build(inside=inside)

    assert (site.post("/pages").status, site.post("/plain", saying()).status) == (503, 503)


class Closed:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def closing(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "status": 503}
            await send(message)

        await self.app(scope, receive, closing)
