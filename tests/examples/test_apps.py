"""Both example applications: as they are without deferit, and through it."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.testclient import TestClient

if TYPE_CHECKING:
    from pathlib import Path

import orders

HEADER = "number,customer,placed,product,quantity,price"
ROWS = [
    "9001,C-0001,2031-05-31,lamp,2,12.50",
    '9002,C-0002,2031-05-31,"étagère, oak",1,175.00',
    "9003,C-0002,2031-02-30,lamp,1,1.00",
]

# The plain applications are marked too, and nothing defers them: that is what this warning says.
pytestmark = pytest.mark.filterwarnings("ignore:.* is marked @deferred:RuntimeWarning")

OpenClient = Callable[[], AbstractContextManager[httpx2.Client]]


@pytest.fixture(scope="session")
def open_client(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OpenClient]:
    """How to open a client of each application; they are imported once, as a server does it."""
    folder = tmp_path_factory.mktemp("applications")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ORDERS_DB", str(folder / "orders.db"))
        monkeypatch.setenv("ORDERS_COUNT", "1")
        monkeypatch.setenv("DEFERIT_STORE", f"sqlite:///{folder / 'deferit.db'}")
        from flask_app.app import app as flask_app  # noqa: PLC0415
        from starlette_app.app import app as starlette_app  # noqa: PLC0415

        starlette_app.middleware_stack = starlette_app.build_middleware_stack()
    plain_flask = functools.partial(Flask.wsgi_app, flask_app)
    plain_starlette = Starlette(
        routes=starlette_app.routes, exception_handlers=starlette_app.exception_handlers
    )
    return {
        "flask": functools.partial(wsgi_client, flask_app),
        "plain flask": functools.partial(wsgi_client, plain_flask),
        "starlette": functools.partial(TestClient, starlette_app),
        "plain starlette": functools.partial(TestClient, plain_starlette),
    }


@pytest.fixture(params=["flask", "plain flask", "starlette", "plain starlette"])
def client(
    request: pytest.FixtureRequest, open_client: dict[str, OpenClient]
) -> Iterator[httpx2.Client]:
    with open_client[request.param]() as client:
        yield client


@pytest.fixture(params=["flask", "starlette"])
def deferring(
    request: pytest.FixtureRequest, open_client: dict[str, OpenClient]
) -> Iterator[httpx2.Client]:
    with open_client[request.param]() as client:
        yield client


def wsgi_client(app: Any) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.WSGITransport(app=app), base_url="http://testserver")


def as_upload(*rows: str, content_type: str = "text/csv") -> dict[str, Any]:
    content = "\n".join([HEADER, *rows, ""]).encode()
    return {"files": {"file": ("orders.csv", content, content_type)}}


def ask(client: httpx2.Client, method: str, url: str, **options: Any) -> httpx2.Response:
    """Return the answer, whether it comes at once or by way of a 202."""
    response = client.request(method, url, **options)
    if response.status_code != 202:
        return response
    job = follow(client, response, until=lambda job: job["done"])
    return client.get(job["resultUrl"])


def follow(
    client: httpx2.Client, accepted: httpx2.Response, until: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Ask the monitor until the job is as wanted."""
    deadline = time.monotonic() + 30
    job = accepted.json()
    while not until(job):
        assert time.monotonic() < deadline, job
        time.sleep(0.01)
        job = client.get(accepted.headers["Location"]).json()
    return dict(job)


# --- with deferit and without ---


def test_an_upload_is_imported(client: httpx2.Client) -> None:
    response = ask(client, "POST", "/imports", **as_upload(*ROWS))

    assert response.status_code == 201
    assert response.json() == {
        "imported": 2,
        "rejected": 1,
        "errors": [{"line": 4, "error": "placed: day is out of range for month"}],
    }
    assert client.get("/orders").json() == {"orders": 502}
    assert client.get("/orders?year=2031").json() == {"orders": 2}


def test_an_export_is_the_whole_year(client: httpx2.Client) -> None:
    response = ask(client, "GET", "/exports/orders.csv?year=2024")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.text == "".join(orders.export_csv(2024))


def test_a_report_answers_the_question(client: httpx2.Client) -> None:
    question = {"year": 2024, "customers": ["C-0001", "C-0002"]}

    response = ask(client, "POST", "/reports", json=question)

    assert response.status_code == 200
    assert response.json() == orders.report(orders.Question(**question))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "url", "options", "status"),
    [
        ("POST", "/imports", {}, 400),
        ("POST", "/imports", {"data": {"file": HEADER}}, 400),
        ("POST", "/imports", as_upload(content_type="image/png"), 415),
        ("POST", "/imports", {"files": {"file": ("a.csv", b"a;b\n", "text/csv")}}, 422),
        ("GET", "/exports/orders.csv?year=soon", {}, 422),
        ("POST", "/reports", {"data": {"year": "2024"}}, 415),
        ("POST", "/reports", {"json": {"year": "2024"}}, 422),
    ],
)
def test_what_cannot_be_worked_on_is_refused_at_once(
    client: httpx2.Client, method: str, url: str, options: dict[str, Any], status: int
) -> None:
    response = client.request(method, url, **options)

    assert response.status_code == status
    assert response.json()["error"]
    assert "Location" not in response.headers


def test_a_csv_that_breaks_off_is_refused_when_its_turn_comes(client: httpx2.Client) -> None:
    response = ask(client, "POST", "/imports", **as_upload(ROWS[0], '"' + "x" * 200_000))

    assert response.status_code == 422
    assert response.json()["error"].startswith("This is not a CSV any more")
    assert client.get("/orders").json() == {"orders": 500}


# --- twins ---


@pytest.mark.parametrize(
    "sent",
    [
        ("POST", "/imports", as_upload(*ROWS)),
        ("POST", "/imports", as_upload(content_type="image/png")),
        ("GET", "/exports/orders.csv", {}),
        ("GET", "/exports/orders.csv?year=2022", {}),
        ("GET", "/exports/orders.csv?year=22", {}),
        ("POST", "/reports", {"json": {"year": 2022}}),
        ("POST", "/reports", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        ("GET", "/orders", {}),
    ],
)
def test_all_give_the_same_answer(
    open_client: dict[str, OpenClient],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: tuple[str, str, dict[str, Any]],
) -> None:
    method, url, options = sent

    answers = []
    for name, opening in open_client.items():
        monkeypatch.setenv("ORDERS_DB", str(tmp_path / f"{name}.db"))
        orders.prepare()
        with opening() as client:
            answers.append(comparable(ask(client, method, url, **options)))

    assert answers == answers[:1] * 4


def comparable(response: httpx2.Response) -> tuple[int, str, Any]:
    """Return what must be the same; how JSON is laid out is each framework's own affair."""
    content_type = response.headers["Content-Type"]
    is_json = content_type == "application/json"
    return response.status_code, content_type, response.json() if is_json else response.content


# --- through deferit ---


@pytest.mark.parametrize(
    ("method", "url", "options"),
    [
        ("POST", "/imports", as_upload(*ROWS)),
        ("GET", "/exports/orders.csv?year=2024", {}),
        ("POST", "/reports", {"json": {}}),
    ],
)
def test_what_is_slow_is_accepted_with_a_monitor(
    deferring: httpx2.Client, method: str, url: str, options: dict[str, Any]
) -> None:
    accepted = deferring.request(method, url, **options)
    job = follow(deferring, accepted, until=lambda job: job["done"])

    assert accepted.status_code == 202
    assert accepted.json()["status"] in {"accepted", "running"}
    assert accepted.headers["Location"] == job["monitorUrl"]
    assert job["status"] == "succeeded"


def test_a_canceled_import_leaves_nothing(deferring: httpx2.Client, database: Path) -> None:
    # The more orders a customer has, the longer each takes: these would need the better part of a minute.
    rows = [f"{number},C-0001,2031-05-31,lamp,1,0.01" for number in range(10_001, 60_001)]
    accepted = deferring.post("/imports", **as_upload(*rows))
    job = follow(deferring, accepted, until=lambda job: job.get("progress", 0) > 0)

    canceled = deferring.post(job["cancelUrl"])
    with closing(sqlite3.connect(database, timeout=30)) as db:
        db.execute("BEGIN IMMEDIATE")  # granted when the import has let go

    assert canceled.json()["status"] == "canceled"
    assert orders.count_orders() == 500
