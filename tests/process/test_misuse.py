"""What a newcomer does wrong, and is told."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deferit import ASGIMiddleware, WSGIMiddleware, deferred
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOST = r"report is routed without its mark.*move @deferred below that, right above the function"


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFERIT_STORE", "memory://")


@pytest.fixture
def app() -> Iterator[Any]:
    app: Any = Flask(__name__)
    app.wsgi_app = WSGIMiddleware(app.wsgi_app)
    yield app
    app.wsgi_app.close()


def report() -> dict[str, int]:
    return {"pages": 12}


def test_a_mark_above_flasks_route_is_told_once(app: Flask) -> None:
    deferred(app.post("/reports")(report))

    with pytest.warns(RuntimeWarning, match=LOST) as told:
        assert app.test_client().post("/reports").status_code == 200

    assert told[0].filename == __file__
    with warnings.catch_warnings(record=True) as again:
        app.test_client().post("/reports")
    assert again == []


@pytest.mark.parametrize("is_included", [False, True])
def test_a_mark_above_fastapis_route_is_told(is_included: bool) -> None:
    app, router = FastAPI(), APIRouter()
    deferred((router if is_included else app).post("/reports")(report))
    app.include_router(router)
    app.add_middleware(ASGIMiddleware)

    with TestClient(app) as client, pytest.warns(RuntimeWarning, match=LOST):
        answer = client.post("/reports")

    assert answer.status_code == 200


def test_a_mark_in_its_place_is_nothing_to_tell(app: Flask) -> None:
    app.post("/reports")(deferred(report))

    assert app.test_client().post("/reports").status_code == 202


def test_a_handler_that_is_routed_with_and_without_its_mark_is_meant_so(app: Flask) -> None:
    app.add_url_rule("/slow", "slow", deferred(report), methods=["POST"])
    app.add_url_rule("/quick", "quick", report, methods=["POST"])

    assert app.test_client().post("/quick").status_code == 200
    assert app.test_client().post("/slow").status_code == 202


@pytest.mark.parametrize("inner", [Starlette(), FastAPI(), Starlette().router])
def test_the_middleware_of_wsgi_refuses_asgi(inner: Any) -> None:
    with pytest.raises(OptionError, match=r"which is ASGI; write app.add_middleware\(ASGI"):
        WSGIMiddleware(inner)


def test_the_middleware_of_asgi_refuses_wsgi() -> None:
    app = Flask(__name__)

    for inner in (app, app.wsgi_app):
        with pytest.raises(OptionError, match=r"which is WSGI; write app.wsgi_app = WSGI"):
            ASGIMiddleware(inner)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_the_middleware_of_wsgi_in_starlettes_stack_is_refused() -> None:
    app = Starlette()
    app.add_middleware(WSGIMiddleware)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    with pytest.raises(OptionError, match="which is ASGI"):
        TestClient(app).get("/")


def test_a_middleware_around_the_application_that_it_is_in_is_refused() -> None:
    app: Any = Flask(__name__)
    app.wsgi_app = WSGIMiddleware(app)

    for _ in range(2):
        with pytest.raises(OptionError, match=r"each calls the other; write app.wsgi_app = WSGI"):
            app.test_client().get("/")
