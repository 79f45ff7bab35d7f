"""A token that is good when a job is accepted, and not any more when it runs: docs/security.md."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import flask
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from tests.elsewhere import slots
from tests.elsewhere.desk import Away
from tests.elsewhere.promises import needs_references
from tests.web.sites import site

from deferit import current_job, deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import HTTPConnection, Request
    from tests.web.conftest import Build
    from tests.web.sites import Framework, Site

    import deferit


Found: TypeAlias = "Callable[[str | None], str | None]"
Find: TypeAlias = "Callable[[Tokens, str | None], str | None]"


class Tokens:
    """Who a token belongs to, for as long as it is good."""

    def __init__(self) -> None:
        self.users = {"old": "ann"}

    def __reduce__(self) -> Any:
        """Let handlers in other processes ask this very one."""
        return Away, (slots.keep(self),)

    def user(self, header: str | None) -> str | None:
        return self.users.get((header or "").removeprefix("Bearer "))

    def expire(self) -> None:
        self.users = {"new": "ann", "other": "bob"}

    def owner(self, request: deferit.Request) -> str | None:
        return self.user(request.headers.get("Authorization"))


OLD, NEW, OTHER = ({"Authorization": f"Bearer {name}"} for name in ("old", "new", "other"))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


# --- a layer outside the middleware ----------------------------------------------------------------------------------


def outer_layer(framework: Framework, tokens: Tokens) -> Callable[[Any], Any]:
    """Refuse what has no good token, and leave the user for those inside."""

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser]:
            name = tokens.user(conn.headers.get("Authorization"))
            return AuthCredentials(["authenticated"] if name else []), SimpleUser(name or "")

    def asgi(app: Any) -> Any:
        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["user"].username:
                await app(scope, receive, send)
            else:
                await PlainTextResponse("who are you?", 401)(scope, receive, send)

        return AuthenticationMiddleware(guarded, backend=Backend())

    def wsgi(app: Any) -> Any:
        def guarded(environ: Any, start_response: Any) -> Any:
            name = tokens.user(environ.get("HTTP_AUTHORIZATION"))
            if name is None:
                return flask.Response("who are you?", 401)(environ, start_response)
            environ["REMOTE_USER"] = name
            return app(environ, start_response)

        return guarded

    return wsgi if framework == "flask" else asgi


def greet_who_was_let_in(app: Any) -> None:
    """Add a handler that knows its user from the outer layer alone."""
    if isinstance(app, flask.Flask):
        app.post("/greet")(deferred(lambda: flask.request.remote_user))
    else:
        app.add_route("/greet", deferred(_greet), methods=["POST"])


async def _greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.username)


def test_what_an_outer_layer_let_in_stays_in_though_its_token_has_expired(
    build: Build, framework: Framework, tokens: Tokens
) -> None:
    needs_references(framework)
    built = build(
        outside=outer_layer(framework, tokens), inside=greet_who_was_let_in, concurrency=1
    )
    assert built.ask("POST", "/greet").status == 401
    built.ask("POST", "/gated/a", OLD)
    monitor = built.ask("POST", "/greet", OLD)["Location"]

    tokens.expire()
    built.bench.open("a")

    ended = built.ask("GET", monitor, {**NEW, "Prefer": "wait=20"})
    assert (ended.status, ended.document["status"]) == (200, "succeeded")
    assert built.ask("GET", monitor + "/result", NEW).body == b"ann"
    assert built.ask("GET", monitor + "/result", OLD).status == 401
    assert built.ask("GET", monitor + "/result", OTHER).status == 404


# --- authentication inside -------------------------------------------------------------------------------------------


def naive(tokens: Tokens, header: str | None) -> str | None:
    return tokens.user(header)


def trusting(tokens: Tokens, header: str | None) -> str | None:
    """Return the user: in the replay, whom the same function has let in when the job was accepted."""
    job = current_job()
    return job.owner if job else tokens.user(header)


def inner_layer(tokens: Tokens, find: Find) -> Callable[[Any], None]:
    """Return what adds to an application a handler, and what authenticates in front of it."""
    return lambda app: _LAYERS.get(type(app), _starlette)(app, partial(find, tokens))


def _flask(app: flask.Flask, find: Found) -> None:
    @app.before_request
    def authenticate() -> Any:
        if flask.request.path != "/greet":
            return None
        flask.g.user = find(flask.request.headers.get("Authorization"))
        return None if flask.g.user else ("who are you?", 401)

    app.post("/greet")(deferred(lambda: flask.g.user))


def _fastapi(app: FastAPI, find: Found) -> None:
    def user(authorization: Annotated[str | None, Header()] = None) -> str:
        found = find(authorization)
        if found is None:
            raise HTTPException(401)
        return found

    @app.post("/greet", response_class=PlainTextResponse)
    @deferred
    def greet(name: str = Depends(user)) -> str:  # noqa: FAST002  an annotation cannot name what is local
        return name


def _starlette(app: Any, find: Found) -> None:
    greet = deferred(_greet_of_state)

    async def guarded(request: Request) -> Any:
        request.state.name = find(request.headers.get("Authorization"))
        if request.state.name is None:
            return PlainTextResponse("who are you?", 401)
        return await greet(request)

    app.add_route("/greet", guarded, methods=["POST"])


_LAYERS: dict[type, Callable[[Any, Found], None]] = {flask.Flask: _flask, FastAPI: _fastapi}


async def _greet_of_state(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.name)


@pytest.fixture
def guarded(framework: Framework, tokens: Tokens, request: Any) -> Iterator[Site]:
    inside = inner_layer(tokens, request.param)
    with site(framework, owner=tokens.owner, concurrency=1, inside=inside) as built:
        yield built


def greeted_later(built: Site, tokens: Tokens) -> bytes:
    """Return the result of a job whose token expires before it runs."""
    built.ask("POST", "/gated/a", OLD)
    monitor = built.ask("POST", "/greet", OLD)["Location"]
    tokens.expire()
    built.bench.open("a")
    assert built.ask("GET", monitor, {**NEW, "Prefer": "wait=20"}).status == 200
    return built.ask("GET", monitor + "/result", NEW).body


@pytest.mark.parametrize("guarded", [trusting], indirect=True)
def test_a_layer_inside_that_asks_current_job_lets_the_replay_in(
    guarded: Site, tokens: Tokens
) -> None:
    assert guarded.ask("POST", "/greet").status == 401
    assert guarded.ask("POST", "/greet", {"Authorization": "Bearer forged"}).status == 401

    assert greeted_later(guarded, tokens) == b"ann"


@pytest.mark.parametrize("guarded", [naive], indirect=True)
def test_one_that_does_not_refuses_it(guarded: Site, tokens: Tokens) -> None:
    """The job fails, and its result is the refusal, as it stands in the recipe."""
    assert greeted_later(guarded, tokens) != b"ann"
