"""CONTRACT.md, notation and §7: which URLs the answers name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.stores.places import usual
from tests.web.apps import flask_app, starlette_app
from tests.web.apps.bench import Bench
from tests.web.clients import BASE, FlaskClient, StarletteClient
from tests.web.sites import saying
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client as WerkzeugClient

from deferit import ASGIMiddleware, WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.clients import Answer, Client
    from tests.web.conftest import Build


def urls(answer: Answer) -> set[str]:
    """Return the mount URLs, in front of the id, of all that an answer names."""
    document = answer.document
    named = [answer.get("Location"), answer.get("Content-Location")]
    named += [answer.get("Operation-Location"), answer["Link"].partition(">")[0].strip("<")]
    named += [value for name, value in document.items() if name.endswith(("Url", "Location"))]
    return {url.partition(f"/{document['id']}")[0] for url in named if url}


def test_urls_follow_the_request_that_is_answered(build: Build) -> None:
    site = build()

    submitted = site.post("/pages", Host="one.example:8080")
    path = submitted["Location"].removeprefix("http://one.example:8080")
    site.end_of(BASE + path)
    end = site.get(path, Host="two.example")

    assert urls(submitted) == {"http://one.example:8080/jobs"}
    assert urls(end) == {"http://two.example/jobs"}


def test_the_base_url_wins_over_the_request(build: Build) -> None:
    site = build(base_url="https://api.example/v1/")

    submitted = site.post("/pages", Host="one.example:8080")

    assert urls(submitted) == {"https://api.example/v1/jobs"}


def test_the_prefix_is_the_users_choice(build: Build) -> None:
    site = build(prefix="/api/operations")

    submitted = site.post("/pages")
    end = site.end_of(submitted["Location"])

    assert urls(submitted) == urls(end) == {f"{BASE}/api/operations"}
    assert site.get(f"/jobs/{end.document['id']}").body.startswith(b"the application's own")


@pytest.mark.parametrize("root", ["/api", "/api/v2"])
def test_the_root_path_of_the_server_is_part_of_the_urls(build: Build, root: str) -> None:
    site = build(root=root)

    submitted = site.post(f"{BASE}{root}/pages")
    end = site.end_of(submitted["Location"])

    assert urls(submitted) == urls(end) == {f"{BASE}{root}/jobs"}
    assert end.document["status"] == "succeeded"


def test_a_relative_location_of_the_handlers_is_seen_from_the_root(build: Build) -> None:
    site = build(root="/api")

    submitted = site.post(f"{BASE}/api/say", saying(201, b"", [["Location", "x"]]))

    assert site.result_of(submitted["Location"])["Location"] == f"{BASE}/api/x"


def test_a_configured_route_begins_behind_the_root(build: Build) -> None:
    site = build(root="/api", routes=["POST /configured"])

    assert site.post(f"{BASE}/api/configured").status == 202


@pytest.fixture(params=["asgi", "wsgi"])
def mounted(request: pytest.FixtureRequest) -> Iterator[Client]:
    """The application with its middleware, mounted under /sub in another."""
    bench = Bench()
    middleware: ASGIMiddleware | WSGIMiddleware
    client: Client
    if request.param == "asgi":
        middleware = ASGIMiddleware(starlette_app.application(bench), store=usual())
        client = StarletteClient(Starlette(routes=[Mount("/sub", middleware)]))
    else:
        app = flask_app.application(bench)
        middleware = WSGIMiddleware(app.wsgi_app, store=usual())
        outer = DispatcherMiddleware(_nothing, {"/sub": middleware})
        client = FlaskClient(WerkzeugClient(outer))
    with client:
        yield client
    bench.close()
    middleware.close()


def _nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return [b""]


def test_a_mounted_application_has_its_jobs_under_its_mount(mounted: Client) -> None:
    submitted = mounted.ask("POST", f"{BASE}/sub/pages", [], b"")
    end = mounted.ask("GET", submitted["Location"], [("Prefer", "wait=20")], b"")

    assert urls(submitted) == urls(end) == {f"{BASE}/sub/jobs"}
    assert end.document["status"] == "succeeded"


def test_the_handler_of_a_mounted_application_sees_its_own_url(mounted: Client) -> None:
    url = f"{BASE}/sub/facts/x?a=1"

    plain = mounted.ask("GET", url, [], b"")
    deferred = mounted.ask("GET", url, [("Prefer", "respond-async, wait=20")], b"")

    for answer in (plain, deferred):
        facts = json.loads(answer.body)
        assert (facts["url"], facts["root"].rstrip("/")) == (url, "/sub")


def test_a_path_outside_the_mount_is_not_the_middlewares(mounted: Client) -> None:
    submitted = mounted.ask("POST", f"{BASE}/sub/pages", [], b"")

    job_id = submitted.document["id"]
    assert mounted.ask("GET", f"{BASE}/jobs/{job_id}", [], b"").status == 404
