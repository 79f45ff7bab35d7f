"""CONTRACT.md §6: who may see a job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    BaseUser,
    SimpleUser,
)
from starlette.middleware.authentication import AuthenticationMiddleware
from tests.web.clients import BASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection
    from tests.web.conftest import Build
    from tests.web.sites import Site

    import deferit

UNKNOWN = f"{BASE}/jobs/job_{26 * '0'}"

EVERYTHING = [
    ("GET", ""),
    ("HEAD", ""),
    ("GET", "/result"),
    ("HEAD", "/result"),
    ("DELETE", ""),
    ("POST", "/cancel"),
]


class HeaderBackend(AuthenticationBackend):
    """Believes what the client says of itself."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.headers.get("x-user")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


def authenticated(app: Any) -> Any:
    return AuthenticationMiddleware(app, backend=HeaderBackend())


def remote_user(app: Any) -> Any:
    def outer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_X_USER"):
            environ["REMOTE_USER"] = environ["HTTP_X_USER"]
        return app(environ, start_response)

    return outer


def outer_layer(framework: str) -> Callable[[Any], Any]:
    return remote_user if framework == "flask" else authenticated


@pytest.fixture
def site(build: Build, framework: str) -> Site:
    """A site with an outer layer that authenticates by the field X-User."""
    return build(outside=outer_layer(framework))


def test_the_owner_sees_the_job(site: Site) -> None:
    monitor = site.defer("/pages", X_User="ann")

    assert site.end_of(monitor, X_User="ann").document["status"] == "succeeded"
    assert site.get(monitor + "/result", X_User="ann").status == 201
    assert site.delete(monitor, X_User="ann").status == 204


@pytest.mark.parametrize(("method", "rest"), EVERYTHING)
@pytest.mark.parametrize("headers", [{}, {"X-User": "bob"}], ids=["nobody", "bob"])
@pytest.mark.parametrize("is_finished", [False, True], ids=["running", "finished"])
def test_someone_elses_job_is_told_from_an_unknown_one_by_nothing(
    site: Site, method: str, rest: str, headers: dict[str, str], is_finished: bool
) -> None:
    monitor = site.defer("/gated/a", X_User="ann")
    if is_finished:
        site.bench.open("a")
        site.end_of(monitor, X_User="ann")

    theirs, unknown = (site.ask(method, url + rest, headers) for url in (monitor, UNKNOWN))

    assert theirs == unknown
    assert theirs.status == 404
    assert site.get(monitor, X_User="ann").status in {200, 202}


def test_someone_elses_expired_job_is_unknown_too(site: Site) -> None:
    monitor = site.defer("/brief", X_User="ann")
    while site.get(monitor, Prefer="wait=1", X_User="ann").status != 410:
        pass

    assert site.get(monitor, X_User="bob") == site.get(UNKNOWN)


def test_a_job_of_nobody_answers_to_whoever_knows_its_url(site: Site) -> None:
    monitor = site.defer("/pages")

    assert site.end_of(monitor, X_User="bob").document["status"] == "succeeded"
    assert site.delete(monitor).status == 204


def test_the_owner_is_no_part_of_the_document(site: Site) -> None:
    monitor = site.defer("/pages", X_User="ann-the-owner")

    assert b"ann-the-owner" not in site.end_of(monitor, X_User="ann-the-owner").body


def test_the_handler_knows_the_owner(site: Site) -> None:
    answer = site.get("/facts/x", Prefer="respond-async, wait=20", X_User="ann")

    assert json.loads(answer.body)["job"]["owner"] == "ann"


def test_a_function_says_to_whom_a_job_belongs(build: Build) -> None:
    def tenant(request: deferit.Request) -> str | None:
        return request.headers.get("X-Tenant")

    site = build(owner=tenant)
    monitor = site.defer("/pages", X_Tenant="acme")

    assert site.get(monitor).status == 404
    assert site.get(monitor, X_Tenant="ACME").status == 404
    assert site.end_of(monitor, X_Tenant="acme").status == 200


def test_a_function_wins_over_the_user_of_an_outer_layer(build: Build, framework: str) -> None:
    site = build(outside=outer_layer(framework), owner=lambda _: None)

    assert site.end_of(site.defer("/pages", X_User="ann"), X_User="bob").status == 200


def test_the_owner_of_a_configured_route_is_known_too(build: Build, framework: str) -> None:
    site = build(outside=outer_layer(framework), routes=["POST /configured"])
    monitor = site.defer("/configured", X_User="ann")

    assert site.get(monitor).status == 404
    assert site.end_of(monitor, X_User="ann").status == 200
