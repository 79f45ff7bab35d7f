"""Views of Django's are deferred over both of its interfaces, by marks and by configured routes."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest
from tests.web.apps import django_app as _settings  # noqa: F401  Django wants them first
from tests.web.clients import BASE, StarletteClient, WSGITransportClient

from deferit import ASGIMiddleware, WSGIMiddleware
from deferit.frameworks.django import is_calling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.clients import Answer, Client

WAIT = [("Prefer", "wait=20")]
RESULT = {"body": "of 2024", "in_a_job": True}
ROUTES = ["POST /plain"]


@pytest.fixture(params=["wsgi", "asgi"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    options: dict[str, Any] = {"store": "memory://", "routes": ROUTES}
    if request.param == "wsgi":
        application: Any = get_wsgi_application()  # Django says nothing of its type
        wsgi = WSGIMiddleware(application, **options)
        with closing(wsgi), WSGITransportClient(wsgi) as client:
            yield client
        return
    asgi = ASGIMiddleware(get_asgi_application(), **options)
    with closing(asgi), StarletteClient(asgi) as client:
        yield client


def ask(client: Client, method: str, url: str, *headers: tuple[str, str]) -> Answer:
    return client.ask(method, url if "//" in url else BASE + url, headers, b"of 2024")


def result(client: Client, accepted: Answer) -> Answer:
    return client.ask("GET", f"{accepted['Location']}/result", WAIT, b"")


@pytest.mark.parametrize("path", ["/report", "/areport", "/view", "/plain", "/checked?year=2024"])
def test_a_view_is_deferred_and_its_answer_is_the_result(client: Client, path: str) -> None:
    accepted = ask(client, "POST", path)

    assert accepted.status == 202
    found = result(client, accepted)
    assert (found.status, found.document) == (201, RESULT)
    monitor = client.ask("GET", accepted["Location"], (), b"").document
    assert (monitor["status"], monitor["message"]) == ("succeeded", "sorting")


def test_what_is_quick_is_answered_at_once_in_mode_auto(client: Client) -> None:
    answer = ask(client, "POST", "/quick")

    assert (answer.status, answer.document) == (201, RESULT)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/guarded", 403),
        ("POST", "/checked", 400),
        ("POST", "/nowhere", 404),
        ("PUT", "/view", 405),
    ],
)
def test_what_django_refuses_is_refused_at_once(
    client: Client, method: str, path: str, status: int
) -> None:
    assert ask(client, method, path).status == status


def test_other_methods_of_a_view_are_not_deferred(client: Client) -> None:
    answer = client.ask("GET", f"{BASE}/view", (), b"")

    assert (answer.status, answer.body) == (200, b"a form")


class Wrapped:
    """A request of Django REST framework."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request


def test_a_request_of_the_rest_framework_is_djangos() -> None:
    assert is_calling((object(), Wrapped(HttpRequest())))
    assert not is_calling((object(), "a request"))
