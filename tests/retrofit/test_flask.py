"""docs/retrofit-flask.md: its diffs, applied to an application in the shape of Flask's tutorial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from tests.retrofit.conftest import DOCS
from tests.retrofit.diffs import changed, diffs

from deferit._core.queries import List

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from tests.retrofit.conftest import Retrofitted
    from werkzeug.test import TestResponse

ANSWER = "Days\fMONDAY\fTUESDAY"

Open = Callable[[int], "FlaskClient"]


class Press:
    """Prints a page when it is let."""

    def __init__(self) -> None:
        self.runs = Event()
        self.runs.set()

    def __call__(self, text: str) -> str:
        assert self.runs.wait(60)
        return text.upper()


@pytest.fixture
def press() -> Press:
    return Press()


@pytest.fixture
def open_client(
    retrofitted: Retrofitted, press: Press, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Start the application after so many of the diffs, with somebody who has written two entries."""
    monkeypatch.setenv("DEFERIT_STORE", "memory://")
    apps: list[Any] = []

    def started(count: int) -> FlaskClient:
        app: Flask = retrofitted("flask", count).create_app(
            {"DATABASE": f"journal-{count}.db", "PRESS": press}
        )
        apps.append(app)
        with app.app_context():
            assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
        client = app.test_client()
        credentials = {"name": "ada", "password": "enchantress"}
        client.post("/auth/register", data=credentials)
        assert client.post("/auth/login", data=credentials).location == "/"
        for text in ("Monday", "Tuesday"):
            client.post("/entries", data={"text": text})
        return client

    yield started
    press.runs.set()
    for app in apps:
        close = getattr(app.wsgi_app, "close", None)
        if close:
            close()


def printed(client: FlaskClient) -> TestResponse:
    return client.post("/print", data={"title": "Days"})


def result(client: FlaskClient, accepted: TestResponse) -> TestResponse:
    assert accepted.json is not None
    return client.get(accepted.json["resultUrl"], headers={"Prefer": "wait=30"})


def jobs(client: FlaskClient) -> int:
    """How many jobs the application's store has."""
    middleware: Any = client.application.wsgi_app
    return len(middleware.options.store.read(List(middleware.application, None, None, 10, None)))


def test_each_diff_changes_three_lines_at_the_most() -> None:
    first, second = diffs(DOCS / "retrofit-flask.md")

    assert changed(first) == 2
    assert changed(second) == 3


def test_undeferred_it_answers_with_the_book(open_client: Open) -> None:
    answer = printed(open_client(0))

    assert (answer.status_code, answer.text) == (201, ANSWER)


def test_with_two_lines_a_quick_book_is_the_answer(open_client: Open) -> None:
    client = open_client(1)

    answer = printed(client)

    assert (answer.status_code, answer.text) == (201, ANSWER)
    assert jobs(client) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_slow_book_is_202_and_its_result_the_undeferred_answer(
    open_client: Open, press: Press, count: int
) -> None:
    undeferred = printed(open_client(0))
    client = open_client(count)
    press.runs.clear()

    accepted = printed(client)

    assert accepted.status_code == 202
    monitor = client.get(accepted.location)
    assert (monitor.status_code, monitor.json and monitor.json["done"]) == (202, False)
    press.runs.set()
    found = result(client, accepted)
    assert (found.status_code, found.data) == (undeferred.status_code, undeferred.data)
    assert found.content_type == undeferred.content_type
    monitor = client.get(accepted.location)
    assert (monitor.status_code, monitor.json and monitor.json["status"]) == (200, "succeeded")
    assert jobs(client) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_who_is_not_logged_in_is_redirected_at_once(open_client: Open, count: int) -> None:
    client = open_client(count)
    stranger = client.application.test_client()

    refused = printed(stranger)

    assert (refused.status_code, refused.location) == (302, "/auth/login")
    assert jobs(client) == 0


@pytest.mark.parametrize("count", [1, 2])
def test_the_form_is_shown_as_before(open_client: Open, count: int) -> None:
    shown = open_client(0).get("/print")
    client = open_client(count)

    answer = client.get("/print")

    assert (answer.status_code, answer.data) == (200, shown.data)
    assert jobs(client) == 0


def test_with_two_lines_a_book_without_a_title_is_refused_at_once(open_client: Open) -> None:
    client = open_client(1)

    refused = client.post("/print", data={"title": ""})

    assert refused.status_code == 400
    assert jobs(client) == 0


def test_with_the_mark_it_is_the_result_of_its_job(open_client: Open) -> None:
    client = open_client(2)

    accepted = client.post("/print", data={"title": ""})

    assert accepted.status_code == 202
    assert result(client, accepted).status_code == 400


def test_what_the_job_leaves_in_the_session_is_not_in_the_202(open_client: Open) -> None:
    client = open_client(2)

    accepted = printed(client)

    assert "Set-Cookie" not in accepted.headers
    assert "Set-Cookie" not in result(client, accepted).headers
