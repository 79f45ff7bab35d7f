"""CONTRACT.md §1: what a request that is deferred, or could have been, is answered."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from tests.elsewhere.promises import begun_at_once
from tests.web.apps.bench import PAGES, digest
from tests.web.clients import BASE
from tests.web.sites import saying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.web.conftest import Build
    from tests.web.sites import Site

    import deferit

MONITOR = re.compile(rf"{BASE}/jobs/job_[0-9A-Za-z_-]{{26,64}}")

UNASKED = {"date", "server", "x-tag"}
"""Fields that servers and the applications' own layers may put on any answer."""

EXPOSED = {
    *("Location", "Content-Location", "Operation-Location", "Link", "Retry-After"),
    *("Preference-Applied", "ETag", "AsyncResult", "Sunset", "Idempotent-Replayed"),
}


def members(value: str) -> set[str]:
    return {member.strip() for member in value.split(",")}


def links(monitor: str) -> str:
    return (
        f'<{monitor}>; rel="monitor", <{monitor}/events>; rel="monitor"; type="text/event-stream"'
    )


# --- the 202 ---------------------------------------------------------------------------------------------------------


def test_the_202_has_exactly_the_fields_of_the_contract(shared: Site) -> None:
    answer = shared.post("/pages")

    monitor = answer["Location"]
    assert answer.status == 202
    assert MONITOR.fullmatch(monitor)
    assert {name: answer.get(name) for name in answer.names - UNASKED} == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "location": monitor,
        "content-location": monitor,
        "operation-location": monitor,
        "link": links(monitor),
        "retry-after": "1",
        "vary": "Prefer, Accept",
        "cache-control": "no-store",
    }


def test_the_body_of_the_202_is_the_status_document(shared: Site) -> None:
    answer = shared.post("/gated/a")

    document = answer.document
    assert document["id"] == answer["Location"].rpartition("/")[2]
    assert document["status"] in {"accepted", "running"}
    assert document["done"] is False
    assert document["monitorUrl"] == answer["Location"]
    assert document["retryAfter"] == 1


def test_a_poll_right_behind_the_202_finds_the_job(shared: Site) -> None:
    for _ in range(10):
        assert shared.get(shared.defer("/pages")).status in {200, 202}


def test_every_job_has_another_id(shared: Site) -> None:
    assert len({shared.defer("/pages") for _ in range(10)}) == 10


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_marked_handler_is_deferred_whatever_the_method(shared: Site, method: str) -> None:
    answer = shared.ask(method, "/say")

    assert answer.status == 202
    assert shared.end_of(answer["Location"]).document["resultStatus"] == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_head_and_options_are_never_deferred(shared: Site, method: str) -> None:
    before = time.time()

    answer = shared.ask(method, "/say")

    assert answer.status in {200, 204, 405}  # Starlette has no OPTIONS of its own
    assert (method, answer.status) != ("HEAD", 405)
    assert shared.jobs_since(before) == []


def test_methods_of_a_mark_narrow_it(shared: Site) -> None:
    assert shared.ask("POST", "/narrow", body=saying(201)).status == 201
    assert shared.ask("PUT", "/narrow", body=saying(201)).status == 202


def test_methods_of_a_class_are_marked_one_by_one(shared: Site) -> None:
    posted = shared.result_after("/view", b"a letter")
    put = shared.result_of(shared.ask("PUT", "/view")["Location"])
    got = shared.result_of(shared.get("/view")["Location"])
    deleted = shared.delete("/view")

    assert (posted.body, put.body, got.body) == (b"posted a letter", b"put in its place", b"got")
    assert (deleted.status, deleted.body) == (200, b"deleted at once")


# --- what stays as without the middleware ----------------------------------------------------------------------------


def test_an_unmarked_route_is_answered_as_ever(shared: Site) -> None:
    before = time.time()

    answer = shared.post("/plain", saying(418, b"short and stout", [["X-Spout", "yes"]]))

    assert (answer.status, answer.body, answer["X-Spout"]) == (418, b"short and stout", "yes")
    assert not answer.names & {"vary", "asyncresult", "link"}
    assert shared.jobs_since(before) == []


@pytest.mark.parametrize(
    "path", ["/jobs", "/jobs/42", "/jobs/job_42", "/jobs/x/result", "/jobs/job_42/result", "/jobs/"]
)
def test_paths_under_the_prefix_that_name_no_id_are_the_applications(
    shared: Site, path: str
) -> None:
    answer = shared.get(path)

    assert (answer.status, answer.body) in {
        (200, f"the application's own {path}".encode()),
        (404, answer.body),  # what Flask says to /jobs/ itself
    }
    assert b"job-not-found" not in answer.body


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", "/private", {}, b"", 401),
        ("POST", "/nowhere", {}, b"", 404),
        ("GET", "/pages", {}, b"", 405),
        ("POST", "/checked", {"Content-Type": "application/json"}, b'{"amount": "x"}', 422),
    ],
)
def test_what_the_application_refuses_comes_back_at_once_and_makes_no_job(
    shared: Site, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    before = time.time()

    answer = shared.ask(method, path, headers, body)

    assert answer.status == status
    assert "Location" not in answer
    assert shared.jobs_since(before) == []


def test_an_unsupported_media_type_is_refused_at_once(shared: Site) -> None:
    before = time.time()

    answer = shared.post("/checked", b"amount=3", Content_Type="text/plain")

    assert answer.status == {"starlette": 415, "fastapi": 422, "flask": 415}[shared.framework]
    assert shared.jobs_since(before) == []


def test_what_the_application_accepts_is_deferred(shared: Site) -> None:
    private = shared.result_after("/private", Authorization="Bearer sesame")
    checked = shared.result_after("/checked", b'{"amount": 3}', Content_Type="application/json")

    assert b"eyes only" in private.body
    assert json.loads(checked.body) == {"amount": 3}


# --- Prefer ----------------------------------------------------------------------------------------------------------


def test_respond_async_is_echoed_only_if_it_was_sent(shared: Site) -> None:
    assert shared.post("/pages", Prefer="respond-async")["Preference-Applied"] == "respond-async"
    assert "Preference-Applied" not in shared.post("/pages")


def test_malformed_and_unknown_preferences_are_dropped(shared: Site) -> None:
    answer = shared.post("/pages", Prefer='wait=soon, ;;=, handling="lenient", "x, respond-async')

    assert answer.status == 202
    assert answer.get("Preference-Applied") in {None, "respond-async"}


def test_several_lines_of_preferences_are_one_list(shared: Site) -> None:
    lines = [("Prefer", "return=minimal"), ("Prefer", "handling=lenient, respond-async")]

    answer = shared.ask("POST", "/pages", lines)

    assert members(answer["Preference-Applied"]) == {"respond-async", "return=minimal"}


def test_a_minimal_return_has_no_body_and_no_content_location(shared: Site) -> None:
    answer = shared.post("/pages", Prefer="return=minimal")

    assert (answer.status, answer.body) == (202, b"")
    assert answer["Preference-Applied"] == "return=minimal"
    assert not answer.names & {"content-location", "content-type"}
    assert MONITOR.fullmatch(answer["Location"])


def test_in_mode_prefer_a_client_that_says_nothing_gets_the_plain_answer(shared: Site) -> None:
    before = time.time()

    answer = shared.post("/preferring", saying(203, b"at once", [["Vary", "Accept"]]))

    assert (answer.status, answer.body) == (203, b"at once")
    assert members(answer["Vary"]) == {"Accept", "Prefer"}
    assert "AsyncResult" not in answer
    assert shared.jobs_since(before) == []


def test_in_mode_prefer_a_client_that_asks_for_it_gets_the_202(shared: Site) -> None:
    answer = shared.post("/preferring", saying(203), Prefer="respond-async")

    assert (answer.status, answer["Preference-Applied"]) == (202, "respond-async")
    assert shared.result_of(answer["Location"]).status == 203


def test_a_client_that_waits_gets_the_final_response_itself(shared: Site) -> None:
    headers = [["Set-Cookie", "a=1"], ["Vary", "Accept"], ["X-Own", "yes"]]

    answer = shared.post("/say", saying(201, b"done", headers), Prefer="wait=20")

    assert (answer.status, answer.body, answer["X-Own"]) == (201, b"done", "yes")
    assert answer["Set-Cookie"] == "a=1"
    assert members(answer["Vary"]) == {"Accept", "Prefer"}
    assert answer["AsyncResult"] == "201"
    monitor = answer["Link"].partition(">")[0].strip("<")
    assert shared.get(monitor).document["status"] == "succeeded"


def test_a_mark_that_waits_answers_with_the_final_response(shared: Site) -> None:
    answer = shared.post("/patient", saying(201, b"done"))

    assert (answer.status, answer.body) == (201, b"done")


def test_the_wait_of_a_mark_or_an_option_keeps_nobody_waiting_in_mode_always(build: Build) -> None:
    site = build(wait=20)

    for path in ("/gated/a", "/impatient"):
        assert site.post(path, saying(201)).status == 202


def test_respond_async_is_not_kept_waiting_by_a_mark(shared: Site) -> None:
    assert shared.post("/patient", saying(201), Prefer="respond-async").status == 202


def test_a_wait_of_zero_is_not_kept_waiting_by_a_mark(shared: Site) -> None:
    assert shared.post("/patient", saying(201), Prefer="wait=0").status == 202


def test_a_wait_that_is_too_short_ends_in_a_202_that_says_so(build: Build) -> None:
    site = build(max_wait=0.2)

    answer = site.post("/gated/a", Prefer="wait=1, respond-async")

    assert answer.status == 202
    assert members(answer["Preference-Applied"]) == {"wait=1", "respond-async"}
    assert answer.document["status"] in begun_at_once()


def test_a_job_that_failed_while_the_client_waited_is_answered_with_its_problem(
    shared: Site,
) -> None:
    answer = shared.post("/stream?fail=1", Prefer="wait=20")

    assert (answer.status, answer.document["code"]) == (500, "handler-exception")
    assert answer["AsyncResult"] == "500"


def test_max_wait_bounds_what_a_client_may_wait(build: Build) -> None:
    site = build(max_wait=0)

    assert site.post("/gated/a", Prefer="wait=20").status == 202


# --- CORS ------------------------------------------------------------------------------------------------------------


def test_a_page_of_another_origin_may_read_the_fields(shared: Site) -> None:
    submitted = shared.post("/pages", Origin="https://elsewhere.example")
    monitor = shared.get(submitted["Location"], Origin="https://elsewhere.example")
    result = shared.result_of(submitted["Location"], Origin="https://elsewhere.example")
    unknown = shared.get("/jobs/job_" + 26 * "0", Origin="https://elsewhere.example")

    for answer in (submitted, monitor, result, unknown):
        assert members(answer["Access-Control-Expose-Headers"]) == EXPOSED


def test_without_an_origin_nothing_is_exposed(shared: Site) -> None:
    assert "Access-Control-Expose-Headers" not in shared.post("/pages")


# --- refusals of the middleware --------------------------------------------------------------------------------------


def test_an_accept_hook_that_returns_none_lets_the_request_be_deferred(shared: Site) -> None:
    assert shared.result_after("/refusing", saying(200, b"welcome")).body == b"welcome"


@pytest.mark.parametrize(
    ("form", "detail"),
    [("status", "The request cannot be accepted."), ("sentence", "There is one already.")],
)
def test_an_accept_hook_may_refuse_with_a_status(shared: Site, form: str, detail: str) -> None:
    before = time.time()

    answer = shared.post("/refusing", X_Refuse=form)

    assert (answer.status, answer["Content-Type"]) == (409, "application/problem+json")
    assert (answer.document["status"], answer.document["detail"]) == (409, detail)
    assert shared.jobs_since(before) == []


def test_an_accept_hook_may_refuse_with_a_response(shared: Site) -> None:
    before = time.time()

    answer = shared.post("/refusing", X_Refuse="response")

    assert (answer.status, answer.body, answer["X-Own"]) == (418, b"own", "yes")
    assert shared.jobs_since(before) == []


def test_a_body_over_max_body_is_refused(build: Build) -> None:
    site = build(max_body=1000)
    before = time.time()

    exact = site.post("/length", 1000 * b"x", Content_Type="application/octet-stream")
    refused = site.post("/length", 1001 * b"x", Content_Type="application/octet-stream")

    assert (refused.status, refused.document["code"]) == (413, "request-too-large")
    assert refused["Cache-Control"] == "no-store"
    assert exact.status == 202
    assert len(site.jobs_since(before)) == 1


def test_a_chunked_body_over_max_body_is_refused(build: Build) -> None:
    site = build(max_body=100_000)

    answer = site.post("/length", chunks(300_000), Content_Type="application/octet-stream")

    assert (answer.status, answer.document["code"]) == (413, "request-too-large")


def test_max_body_is_nothing_to_a_route_that_is_not_deferred(build: Build) -> None:
    site = build(max_body=10)

    assert site.post("/plain", saying(200, 100 * b"x")).body == 100 * b"x"


# --- bodies ----------------------------------------------------------------------------------------------------------

SIZES = [0, 1, 65_536, 262_144, 262_145, 1_048_577, 3_000_000]


def chunks(size: int, step: int = 50_000) -> Iterator[bytes]:
    for start in range(0, size, step):
        yield pattern(size)[start : start + step]


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("send", [pattern, chunks])
def test_a_body_of_any_size_reaches_the_handler_whole(
    shared: Site, size: int, send: Callable[[int], bytes]
) -> None:
    if not size and shared.framework == "fastapi":
        pytest.skip("to FastAPI an empty body is a missing one")

    monitor = shared.defer("/length", send(size), Content_Type="application/octet-stream")

    assert json.loads(shared.result_of(monitor).body) == [size, digest(pattern(size))]


# --- configured routes -----------------------------------------------------------------------------------------------


def test_configured_routes_are_deferred(build: Build) -> None:
    site = build(routes=["POST /configured", "GET /configured/*"])

    assert site.result_after("/configured", saying(201, b"done")).body == b"done"
    assert site.get("/configured/a/b").status == 202
    assert site.get("/configured").status == 200
    assert site.post("/configured/a").status == 200


def test_every_route_is_configured_with_a_star(build: Build) -> None:
    site = build(routes=["* /*"])

    assert site.post("/plain").status == 202
    assert site.get("/jobs/42").status == 202
    assert site.head("/plain").status == 200
    assert site.get(site.defer("/pages")).status in {200, 202}


def test_what_the_application_refuses_of_a_configured_route_is_a_failed_job(build: Build) -> None:
    site = build(routes=["POST /private"])

    monitor = site.defer("/private")

    end = site.end_of(monitor).document
    assert (end["status"], end["error"]["code"]) == ("failed", "handler-response")
    assert site.get(monitor + "/result").status == 401


@pytest.mark.parametrize(
    ("answer", "status"),
    [(None, 202), (409, 409), ((409, "There is one already."), 409)],
)
def test_a_configured_route_has_an_accept_hook(build: Build, answer: object, status: int) -> None:
    site = build(routes={"POST /configured": {"accept": lambda _: answer}})

    assert site.post("/configured").status == status


def test_an_accept_hook_sees_the_request(build: Build) -> None:
    seen: list[deferit.Request] = []
    site = build(routes={"POST /configured/{name}": {"accept": seen.append}})

    site.post("/configured/m%C3%BCller?a=1&b=%20", Content_Type="text/x", X_Many="1")

    (request,) = seen
    assert (request.method, request.path) == ("POST", "/configured/müller")
    assert (request.query, request.headers["content-TYPE"]) == ("a=1&b=%20", "text/x")
    assert request.headers.getlist("x-many") == ["1"]


def test_a_configured_route_may_have_mode_prefer(build: Build) -> None:
    site = build(routes={"POST /configured": {"mode": "prefer"}})

    plain = site.post("/configured", saying(201))
    deferred = site.post("/configured", saying(201), Prefer="respond-async")

    assert (plain.status, plain["Vary"]) == (201, "Prefer")
    assert deferred.status == 202


def test_head_of_a_configured_route_says_what_get_varies_by(build: Build) -> None:
    """RFC 9110 §9.3.2: its answer has the fields of GET's."""
    site = build(routes={"GET /configured": {"mode": "prefer"}})

    head = site.head("/configured", Prefer="respond-async")

    assert (head.status, head["Vary"]) == (200, "Prefer")
    assert "Vary" not in site.head("/plain")


def test_the_mode_of_the_middleware_holds_for_marks_that_have_none(build: Build) -> None:
    site = build(mode="prefer")

    assert site.post("/pages").body == PAGES
    assert site.post("/pages", Prefer="respond-async").status == 202
