"""docs/security.md: what others see of a job, of a request and of a capability URL."""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import flask
import pytest
from tests.elsewhere.promises import IS_HERE
from tests.web.clients import BASE
from tests.web.sites import FRAMEWORKS, keep, site

from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Failure, Job, Result
from deferit.exceptions import OptionError
from deferit.options import options_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.clients import Answer
    from tests.web.conftest import Build
    from tests.web.sites import Framework, Site

    import deferit

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE")
RESOURCES = ("", "/", "/result", "/events", "/cancel", "/nonsense", "/result/more")
LOOKS: tuple[dict[str, str], ...] = (
    {"Accept": "text/event-stream"},
    {"Accept": "text/html"},
    {"Prefer": "wait=1"},
    {"If-None-Match": "*"},
    {"If-Match": '"1"'},
    {"Range": "bytes=0-1"},
    {"Origin": "https://other.example"},
)
"""Fields that have a route answer in another way, which must not be another way for a job that is there."""

VISITS = [
    *product(METHODS, RESOURCES, [{}, {"X-Visitor": "bob"}]),
    *product(
        METHODS[:1], RESOURCES, [{"X-Visitor": name} for name in ("Ann", "an", "ann ", "annn")]
    ),
    *product(
        ("GET", "POST", "DELETE"), RESOURCES, [{**look, "X-Visitor": "bob"} for look in LOOKS]
    ),
]

NOW = time.time() - 10
LASTING = 100 * 365 * 86_400.0


def visitor(request: deferit.Request) -> str | None:
    return request.headers.get("X-Visitor")


def a_job(number: int, application: str, **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": make_id(NOW + number, number.to_bytes(RANDOM_BYTES)),
        "application": application,
        "route": "POST /reports",
        "method": "POST",
        "created_at": NOW,
        "updated_at": NOW,
        "due_at": NOW + LASTING,  # nobody runs it
        "ttl": LASTING,
        "owner": "ann",
    }
    return Job(**fields | changes)


def in_every_state(application: str) -> dict[str, Job]:
    running = a_job(2, application).claimed(NOW)
    result = Result(200, (("Content-Type", "text/plain"),), 0, 0, '"tag"')
    failure = Failure("handler-exception", "The handler raised KeyError.")
    return {
        "accepted": a_job(1, application),
        "succeeded": a_job(3, application).claimed(NOW).ended(NOW, result, None),
        "failed": a_job(4, application).claimed(NOW).ended(NOW, None, failure),
        "canceled": a_job(5, application).canceled(NOW, "never started"),
        "expired": a_job(6, application, ttl=1.0).claimed(NOW).ended(NOW, result, None),
        "running": running,
    }


@pytest.fixture(params=FRAMEWORKS)
def guarded(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site whose jobs belong to whoever X-Visitor names."""
    with site(request.param, owner=visitor, lease=86_400) as built:
        yield built


@pytest.mark.parametrize("state", ["accepted", "succeeded", "failed", "canceled", "expired"])
def test_on_every_route_and_method_someone_elses_job_is_an_unknown_one(
    guarded: Site, state: str
) -> None:
    """An answer is compared as a whole: status, fields in their order, body."""
    job = in_every_state(guarded.middleware.application)[state]
    store = guarded.middleware.options.store
    guarded.get("/jobs", X_Visitor="ann")  # sweeps before the job is there
    keep(store, job)
    unknown = f"job_{26 * '0'}"
    seen = 0

    for method, resource, headers in VISITS:
        theirs = guarded.ask(method, f"/jobs/{job.id}{resource}", headers)
        nobodys = guarded.ask(method, f"/jobs/{unknown}{resource}", headers)
        assert theirs == nobodys, (method, resource, headers)
        assert theirs.status in {404, 405}
        seen += theirs.status == 404

    assert seen > 100
    assert guarded.get(f"/jobs/{job.id}", X_Visitor="ann").status in {200, 202, 410}
    assert guarded.get("/jobs", X_Visitor="bob").document["jobs"] == []
    assert guarded.get("/jobs").document["jobs"] == []


def test_the_owner_of_every_state_sees_each_route(guarded: Site) -> None:
    """What is refused above is there."""
    jobs = in_every_state(guarded.middleware.application)
    keep(guarded.middleware.options.store, *(jobs[state] for state in ("succeeded", "canceled")))
    mine = {"X-Visitor": "ann"}

    statuses = {
        (state, resource): guarded.ask("GET", f"/jobs/{jobs[state].id}{resource}", mine).status
        for state in ("succeeded", "canceled")
        for resource in ("", "/result", "/events")
    }

    assert statuses == {
        ("succeeded", ""): 200,
        ("succeeded", "/result"): 200,
        ("succeeded", "/events"): 200,
        ("canceled", ""): 200,
        ("canceled", "/result"): 410,
        ("canceled", "/events"): 200,
    }
    assert len(guarded.get("/jobs", X_Visitor="ann").document["jobs"]) == 2


# --- what is captured is shown to nobody -----------------------------------------------------------------------------

MARKER = "hush-4711"
CREDENTIALS = {
    "Authorization": f"Bearer {MARKER}",
    "Cookie": f"session={MARKER}",
    "X-Api-Key": MARKER,
    "User-Agent": MARKER,
    "Referer": f"https://elsewhere.example/?{MARKER}",
}


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that was logged, tracebacks and extras too."""
    formatter = logging.Formatter()
    return "\n".join(f"{formatter.format(record)} {record.__dict__}" for record in caplog.records)


WAYS = [
    ("/pages", {}),
    ("/pages", {"Prefer": "wait=20"}),
    ("/pages", {"Prefer": "return=minimal"}),
    ("/pages", {"Idempotency-Key": "one"}),
    ("/pages", {"Idempotency-Key": "a b"}),
    ("/say?status=500", {}),
    ("/failing", {}),
    ("/failing-in-auto", {}),
    ("/refusing", {"X-Refuse": "sentence"}),
    ("/refusing", {"X-Refuse": "unknown to the hook, which raises KeyError"}),
    ("/stream?fail=1", {}),
    ("/patient", {}),
    ("/private", {}),
    ("/nowhere", {}),
]


@pytest.mark.parametrize(("url", "headers"), WAYS)
def test_no_header_of_a_request_is_in_a_document_or_in_the_log(
    build: Build, caplog: pytest.LogCaptureFixture, url: str, headers: dict[str, str]
) -> None:
    caplog.set_level(logging.DEBUG, "deferit")
    site = build(owner=lambda _request: None)

    answers = [site.ask("POST", url, {**CREDENTIALS, **headers})]
    monitor = answers[0].get("Location")
    if answers[0].status == 202 and monitor:
        answers += [
            site.end_of(monitor),
            site.get(monitor + "/result"),
            site.get(monitor + "/events"),
        ]
        answers += [site.post(monitor + "/cancel"), site.delete(monitor), site.get(monitor)]

    assert MARKER not in repr(answers)
    assert MARKER not in said(caplog)


def test_what_breaks_inside_shows_no_header_either(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """The application's functions raise, the captured request cannot be read, nobody takes an outcome."""

    def raising(request: deferit.Request) -> str | None:
        raise LookupError(f"cannot find who asks for {request.path}")

    answers = [
        build(owner=raising).ask("POST", "/pages", CREDENTIALS),
        build(owner=raising).ask("GET", f"/jobs/job_{26 * '0'}", CREDENTIALS),
        build(owner=raising, routes=["POST /configured"]).ask("POST", "/configured", CREDENTIALS),
        build(owner=lambda request: request.headers).ask("POST", "/pages", CREDENTIALS),
        build(owner=lambda request: request.headers["X-Api-Key"].encode()).ask(
            "POST", "/pages", CREDENTIALS
        ),
    ]

    assert [(answer.status, answer.document["code"]) for answer in answers] == 5 * [
        (500, "hook-failed")
    ]
    assert MARKER not in repr(answers)
    assert "LookupError: cannot find who asks for /pages" in said(caplog)
    assert MARKER not in said(caplog)


@pytest.mark.parametrize("hook", ["owner", "operator", "accept"])
def test_a_hook_that_raises_is_a_failed_hook(
    framework: Framework, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(_request: deferit.Request) -> Any:
        raise LookupError("the directory is down")

    options: dict[str, Any] = {hook: raising}
    if hook == "accept":
        options = {"routes": {"POST /configured": options}}
    method, path = {"operator": ("GET", "/jobs")}.get(hook, ("POST", "/configured"))
    options.setdefault("routes", ["POST /configured"])
    with site(framework, **options) as built:
        answer = built.ask(method, path)

        assert (answer.status, answer.document["code"]) == (500, "hook-failed")
        assert b"directory" not in answer.body
        assert not built.jobs_since(0)
    assert hook in caplog.text
    assert "LookupError: the directory is down" in caplog.text


def test_a_hook_that_returns_nonsense_is_a_failed_hook(framework: Framework) -> None:
    returned: list[Any] = [200, True, "no", (401,), ("no", 401), [], 10**10]
    for nonsense in returned:
        hooks = {"POST /configured": {"accept": partial(_answer, nonsense)}}
        with site(framework, routes=hooks) as built:
            answer = built.post("/configured")

            assert (answer.status, answer.document["code"]) == (500, "hook-failed"), nonsense
            assert not built.jobs_since(0)


def _answer(nonsense: Any, _request: deferit.Request) -> Any:
    return nonsense


def test_the_repr_of_what_is_captured_shows_no_header(build: Build) -> None:
    seen: list[str] = []
    site = build(owner=lambda request: seen.append(repr(request)))

    site.ask("POST", "/pages", CREDENTIALS)

    assert "/pages" in seen[0]
    assert MARKER not in seen[0]


# --- capability URLs -------------------------------------------------------------------------------------------------


def urls_of(answer: Answer) -> list[str]:
    """Return the URLs in an answer to a submission."""
    document = answer.document
    named = [document[name] for name in document if name.endswith("Url")]
    fields = [answer[name] for name in ("Location", "Content-Location", "Operation-Location")]
    return [*named, *fields, *answer["Link"].replace("<", "").split(", ")]


FORGED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Prefix": "/evil.example",
    "X-Original-Host": "evil.example",
    "X-Host": "evil.example",
    "Forwarded": "host=evil.example;proto=gopher",
}


def test_with_base_url_no_header_moves_a_url(build: Build) -> None:
    site = build(base_url="https://shop.example/api")

    accepted = site.ask(
        "POST", "/say", FORGED, json.dumps({"headers": [["Location", "/new"]]}).encode()
    )
    monitor = BASE + accepted["Location"].removeprefix("https://shop.example/api")
    result = site.result_of(monitor, **FORGED)

    assert all(url.startswith("https://shop.example/api/jobs/job_") for url in urls_of(accepted))
    assert result["Location"] == "https://shop.example/new"
    assert result["Link"].startswith("<https://shop.example/api/jobs/job_")
    assert b"evil.example" not in accepted.body + repr(accepted.fields).encode()


def test_without_it_only_host_does(build: Build) -> None:
    site = build()

    accepted = site.ask("POST", "/pages", {**FORGED, "Host": "shop.example"})

    assert all(url.startswith("http://shop.example/jobs/job_") for url in urls_of(accepted))


@pytest.mark.parametrize(
    "host", ['a>; rel="x", <http://b', "a b", 'a"b', "a/b", "a?b", "a#b", "a@b", "a\\b", ""]
)
def test_a_host_that_is_none_is_not_put_into_urls(build: Build, host: str) -> None:
    accepted = build().ask("POST", "/pages", {"Host": host})

    assert accepted.status == 202
    hosts = {url.split("/")[2] for url in urls_of(accepted)}
    assert hosts <= {"testserver", "testserver:80"}


@pytest.mark.parametrize(
    "value", ["https://exämple.com", "https://a b", 'https://a"', "https://a/#b", "https://a/ü"]
)
def test_a_base_url_that_no_header_can_have_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match="is not the application's URL"):
        options_from({"store": "memory://", "base_url": value}, {})


@pytest.mark.parametrize("value", ["/jöbs", "/jobs?x", "/a b", '/"'])
def test_a_prefix_that_no_header_can_have_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match="is not a path such as '/jobs'"):
        options_from({"store": "memory://", "prefix": value}, {})


def test_ids_are_as_random_as_the_systems_source_makes_them(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build()
    ids = [site.defer("/pages").rpartition("/")[2] for _ in range(50)]
    monkeypatch.setattr("secrets.token_bytes", lambda size: size * b"\xff")

    known = build().defer("/pages").rpartition("/")[2]  # a process takes them for many ids at once

    assert len({job_id[-22:] for job_id in ids}) == 50
    assert known.endswith("_____________________w"[-22:])


# --- fields of a handler ---------------------------------------------------------------------------------------------

ILLEGAL = [
    ("X-Split", "a\r\nSet-Cookie: owned=1"),
    ("X-Split", "a\nb"),
    ("X-Split", "a\rb"),
    ("X-Null", "a\x00b"),
    ("X-Bell", "a\x07b"),
    ("X-Na\r\nme", "a"),
    ("X Name", "a"),
    ("X-Name:", "a"),
    ("", "a"),
]


def answers_raw(name: str, value: str, app: Any) -> None:
    """Have an application answer without its framework, whose own checks would come first."""
    headers = [(name, value), ("Content-Length", "0")]

    def wsgi(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b""]

    def layer(inner: Any) -> Any:
        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await inner(scope, receive, send)
                return
            encoded = [(key.encode("latin-1"), text.encode("latin-1")) for key, text in headers]
            await send({"type": "http.response.start", "status": 200, "headers": encoded})
            await send({"type": "http.response.body", "body": b""})

        return asgi

    if isinstance(app, flask.Flask):
        app.wsgi_app = wsgi  # type: ignore[assignment,method-assign]
    else:
        app.add_middleware(layer)


@pytest.mark.parametrize(("name", "value"), ILLEGAL)
def test_a_field_that_would_be_two_fails_its_job_and_is_never_replayed(
    framework: Framework, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    inside = partial(answers_raw, name, value)
    with site(framework, routes=["POST /raw"], inside=inside) as built:
        monitor = built.defer("/raw")
        ended, result = built.end_of(monitor), built.get(monitor + "/result")

    assert ended.document["status"] == "failed"
    assert ended.document["error"]["code"] == "handler-exception"
    assert result.status == 500
    assert not {"x-split", "x-null", "x-bell", "set-cookie"} & result.names
    assert not IS_HERE or "IllegalResponse: the handler's response has a" in caplog.text
