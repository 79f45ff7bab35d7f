"""CONTRACT.md, notation and §7: URLs behind proxies and mounts, and what CORS layers leave readable."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import flask
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount
from tests.contract.apps import fastapi_app, starlette_app
from tests.contract.clients import Answer, ASGIExchange, Asked
from tests.contract.stage import PATIENCE, Stage
from tests.contract.support import BASE, MARKS, lifespan, only
from tests.stores.places import usual
from werkzeug.middleware.proxy_fix import ProxyFix

from deferit import ASGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.conftest import Build

    Ask = Callable[..., Answer]

ORIGIN = "https://elsewhere.example"


def mounts(answer: Answer) -> set[str]:
    """Return what stands in front of the id, in all URLs that an answer names."""
    document = answer.document
    named = [
        answer.get("Location"),
        answer.get("Content-Location"),
        answer.get("Operation-Location"),
    ]
    named += [value.partition(">")[0].strip(" <") for value in answer["Link"].split(",")]
    named += [value for name, value in document.items() if name.endswith(("Url", "Location"))]
    return {url.partition(f"/{document['id']}")[0] for url in named if url}


# --- proxies ---------------------------------------------------------------------------------------------------------


@only("flask")
def test_proxy_fix_in_front_is_believed(build: Build) -> None:
    shop = build(outside=lambda app: ProxyFix(app, x_host=1, x_proto=1, x_prefix=1))
    proxied = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https"}
    proxied["X-Forwarded-Prefix"] = "/api"

    answer = shop.post("/always/echo", **proxied)
    end = shop.get(f"/jobs/{answer.document['id']}", Prefer="wait=20", **proxied)

    assert mounts(answer) == mounts(end) == {"https://shop.example/api/jobs"}
    assert (end.status, end.document["status"]) == (200, "succeeded")


def test_without_somebody_who_believes_them_forwarded_fields_mean_nothing(build: Build) -> None:
    shop = build()

    answer = shop.post("/always/echo", X_Forwarded_Host="evil.example", X_Forwarded_Proto="https")

    assert mounts(answer) == {f"{BASE}/jobs"}


def test_the_base_url_is_believed_whatever_the_request_says(build: Build) -> None:
    shop = build(base_url="https://shop.example/api", prefix="/operations")

    answer = shop.post("/always/echo", Host="evil.example")
    end = shop.end_of(f"{BASE}/operations/{answer.document['id']}")

    assert mounts(answer) == mounts(end) == {"https://shop.example/api/operations"}


# --- mounted applications --------------------------------------------------------------------------------------------


@contextmanager
def asking(app: Any, **scope: Any) -> Iterator[Ask]:
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        stack.enter_context(lifespan(portal, app))

        def ask(method: str, url: str, **headers: str) -> Answer:
            named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
            return ASGIExchange(portal, app, Asked(method, url, named), **scope).answer()

        yield ask


def followed(ask: Ask, url: str) -> tuple[set[str], str]:
    """Submit and follow; return what URLs begin with, and the status in the end."""
    answer = ask("POST", url)
    assert answer.status == 202, answer
    end = ask("GET", answer["Location"], Prefer=f"wait={PATIENCE:g}")
    result = ask("GET", answer["Location"] + "/result")
    assert result.status == 200, result
    return mounts(answer) | mounts(end), end.document["status"]


def test_a_mounted_fastapi_application_has_jobs_of_its_own() -> None:
    inner = fastapi_app(Stage(), MARKS)
    inner.add_middleware(ASGIMiddleware, store=usual())
    outer = FastAPI()
    outer.mount("/sub", inner)

    with asking(outer) as ask:
        assert followed(ask, f"{BASE}/sub/always/echo") == ({f"{BASE}/sub/jobs"}, "succeeded")


def test_the_middleware_of_an_application_serves_those_mounted_in_it() -> None:
    outer = FastAPI()
    outer.mount("/sub", fastapi_app(Stage(), MARKS))
    outer.add_middleware(ASGIMiddleware, store=usual())

    with asking(outer) as ask:
        assert followed(ask, f"{BASE}/sub/always/echo") == ({f"{BASE}/jobs"}, "succeeded")


def test_a_mount_in_a_mount_has_its_whole_path_in_the_urls() -> None:
    inner = starlette_app(Stage(), MARKS)
    inner.add_middleware(ASGIMiddleware, store=usual())
    outer = Starlette(routes=[Mount("/a", Starlette(routes=[Mount("/b", inner)]))])

    with asking(outer) as ask:
        assert followed(ask, f"{BASE}/a/b/always/echo") == ({f"{BASE}/a/b/jobs"}, "succeeded")


def test_a_root_path_that_a_proxy_took_off_the_path_is_in_the_urls() -> None:
    app = fastapi_app(Stage(), MARKS)
    app.add_middleware(ASGIMiddleware, store=usual())

    with asking(app, root_path="/api") as ask:
        answer = ask("POST", f"{BASE}/always/echo")
        end = ask("GET", f"{BASE}/jobs/{answer.document['id']}", Prefer="wait=20")

    assert mounts(answer) == mounts(end) == {f"{BASE}/api/jobs"}
    assert end.document["status"] == "succeeded"


def test_the_root_path_of_the_server_is_in_the_urls() -> None:
    """As uvicorn has it since 0.26: the root path stands in the scope, and in front of its path."""
    app = ASGIMiddleware(starlette_app(Stage(), MARKS), store=usual())

    with asking(app, root_path="/api") as ask:
        assert followed(ask, f"{BASE}/api/always/echo") == ({f"{BASE}/api/jobs"}, "succeeded")
    app.close()


# --- CORS ------------------------------------------------------------------------------------------------------------

EXPOSED = {
    *("Location", "Content-Location", "Operation-Location", "Link", "Retry-After"),
    *("Preference-Applied", "ETag", "AsyncResult", "Sunset", "Idempotent-Replayed"),
}


def starlette_cors(app: Any, **options: Any) -> Any:
    return CORSMiddleware(app, allow_origins=[ORIGIN], **options)


@only("starlette")
def test_a_cors_layer_outside_lets_a_page_read_everything(build: Build) -> None:
    shop = build(outside=starlette_cors)
    submitted = shop.post("/always/echo", Origin=ORIGIN)
    monitor = submitted["Location"]
    shop.end_of(monitor)

    answers = [
        submitted,
        *(shop.get(monitor + way, Origin=ORIGIN) for way in ("", "/result", "/events")),
    ]

    for answer in answers:
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.members("Access-Control-Expose-Headers") == EXPOSED
        assert "Origin" in answer.members("Vary")


@only("starlette")
def test_a_cors_layer_outside_that_exposes_fields_has_the_last_word(build: Build) -> None:
    shop = build(
        outside=lambda app: starlette_cors(app, expose_headers=["X-Own", *sorted(EXPOSED)])
    )

    answer = shop.post("/always/echo", Origin=ORIGIN)

    assert answer.members("Access-Control-Expose-Headers") == EXPOSED | {"X-Own"}


@only("starlette")
def test_a_preflight_is_answered_by_the_cors_layer(build: Build) -> None:
    shop = build(
        outside=lambda app: starlette_cors(app, allow_methods=["POST"], allow_headers=["Prefer"])
    )
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Prefer"}

    answer = shop.ask("OPTIONS", "/always/echo", b"", *wish.items(), Origin=ORIGIN)

    assert (answer.status, answer["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    assert shop.stage.calls["echo"] == 0


def with_cors(app: Any) -> None:
    """Put the CORS layer inside, as applications have it."""
    if isinstance(app, flask.Flask):
        flask_cors = pytest.importorskip("flask_cors", reason="flask-cors is not installed")
        flask_cors.CORS(app, origins=[ORIGIN], expose_headers=["X-Own"])
    else:
        app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], expose_headers=["X-Own"])


@pytest.mark.parametrize("prefer", ["respond-async", "wait=20"])
def test_a_cors_layer_inside_is_joined_on_the_202_and_the_final_response(
    build: Build, prefer: str
) -> None:
    shop = build(inside=with_cors)

    answer = shop.post("/always/echo", Origin=ORIGIN, Prefer=prefer)

    assert answer.status == (202 if prefer == "respond-async" else 200)
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.members("Access-Control-Expose-Headers") == EXPOSED | {"X-Own"}


def test_without_an_origin_nothing_is_exposed(build: Build) -> None:
    assert "Access-Control-Expose-Headers" not in build().post("/always/echo")
