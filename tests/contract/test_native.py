"""Routes that Flask itself mounts, so that layers inside the application serve them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask
import pytest
from flask_cors import CORS
from starlette.applications import Starlette
from tests.stores.places import usual

from deferit import ASGIMiddleware, WSGIMiddleware, deferred
from deferit.exceptions import OptionError
from deferit.frameworks.flask import mount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient

ORIGIN = "https://page.example"
ASKS = {"Origin": ORIGIN}
NOBODYS = "/jobs/job_" + "x" * 35


def owner(request: Any) -> str | None:
    found: str | None = request.headers.get("X-User")
    return found


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = flask.Flask(__name__)
    CORS(app, origins=[ORIGIN])
    mount(app, with_list=True)

    @app.post("/pages")
    @deferred
    def pages() -> str:
        return "a page"

    @app.get("/jobs/<name>")
    def vacancy(name: str) -> str:
        return f"we look for a {name}"

    middleware = WSGIMiddleware(app.wsgi_app, store=usual(), native=True, owner=owner)
    app.wsgi_app = middleware  # type: ignore[method-assign]
    yield app.test_client()
    middleware.close()


def test_a_cors_layer_inside_serves_monitor_result_and_events(client: FlaskClient) -> None:
    monitor = client.post("/pages", headers=ASKS).headers["Location"]

    finished = client.get(monitor, headers={**ASKS, "Prefer": "wait=20"})
    result = client.get(monitor + "/result", headers=ASKS)
    events = client.get(monitor + "/events", headers=ASKS)

    assert finished.json
    assert finished.json["status"] == "succeeded"
    assert (result.text, result.headers["AsyncResult"]) == ("a page", "200")
    assert events.text.count("event: status") == 1
    for answer in (finished, result, events):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_it_answers_the_preflight_of_a_purge_and_the_purge(client: FlaskClient) -> None:
    monitor = client.post("/pages", headers=ASKS).headers["Location"]
    client.get(monitor, headers={"Prefer": "wait=20"})

    preflight = client.options(monitor, headers={**ASKS, "Access-Control-Request-Method": "DELETE"})
    purge = client.delete(monitor, headers=ASKS)

    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
    assert (purge.status_code, purge.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    assert client.get(monitor).status_code == 404


def test_what_is_refused_is_refused_in_the_words_of_the_contract(client: FlaskClient) -> None:
    unknown = client.get(NOBODYS)
    wrong = client.put(NOBODYS)

    assert unknown.json
    assert unknown.json["code"] == "job-not-found"
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, DELETE")


def test_the_list_is_mounted_where_there_is_one(client: FlaskClient) -> None:
    client.post("/pages", headers={"X-User": "ada"})

    answer = client.get("/jobs", headers={"X-User": "ada", **ASKS})

    assert answer.json
    assert len(answer.json["jobs"]) == 1
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_other_paths_below_the_prefix_stay_the_applications(client: FlaskClient) -> None:
    assert client.get("/jobs/plumber").text == "we look for a plumber"


def test_without_the_middleware_nothing_is_there() -> None:
    app = flask.Flask(__name__)
    mount(app)

    assert app.test_client().get(NOBODYS).status_code == 404


def test_asgi_has_no_need_of_it() -> None:
    with pytest.raises(OptionError, match="put the CORS middleware outside"):
        ASGIMiddleware(Starlette(), native=True)
