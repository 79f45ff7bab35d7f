"""CONTRACT.md §3: the result is the handler's own response."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.stores.places import usual
from tests.web.apps.bench import CHUNKS, PAGES
from tests.web.clients import BASE, StarletteClient
from tests.web.sites import saying

from deferit import ASGIMiddleware

if TYPE_CHECKING:
    from tests.web.conftest import Build
    from tests.web.sites import Site


def test_the_result_is_the_handlers_response(shared: Site) -> None:
    monitor = shared.defer("/pages")

    result = shared.result_of(monitor)

    assert (result.status, result.body) == (201, PAGES)
    assert result["Content-Type"] == "application/json"
    assert result["Content-Length"] == str(len(PAGES))
    assert result.all("X-Tag") == ["one", "two"]
    assert result["AsyncResult"] == "201"
    assert result["Link"] == f'<{monitor}>; rel="monitor"'
    assert result["Cache-Control"] == "private"
    assert result["ETag"].startswith('"')
    assert result["Sunset"] == shared.get(monitor)["Sunset"]


def test_a_pending_result_is_a_202_with_the_document(shared: Site) -> None:
    monitor = shared.defer("/gated/a")
    shared.bench.wait_for("started a")

    answer = shared.get(monitor + "/result")

    assert answer.status == 202
    assert answer["Location"] == monitor + "/result"
    assert answer["Retry-After"] == str(answer.document["retryAfter"])
    assert answer["Content-Type"] == "application/json"
    assert answer.document["status"] == "running"
    assert "AsyncResult" not in answer


def test_a_poller_that_knows_one_url_gets_to_the_result(shared: Site) -> None:
    url = shared.say(201, b"at last") + "/result"
    deadline = time.monotonic() + 20

    while (answer := shared.get(url)).status == 202:
        assert time.monotonic() < deadline
        url = answer["Location"]

    assert (answer.status, answer.body) == (201, b"at last")


def test_the_result_can_be_waited_for(shared: Site) -> None:
    monitor = shared.say(200, b"done")

    answer = shared.get(monitor + "/result", Prefer="wait=20")

    assert (answer.status, answer.body) == (200, b"done")


@pytest.mark.parametrize("status", [200, 201, 203, 226, 301, 302, 303, 307, 308])
def test_statuses_under_400_are_replayed(shared: Site, status: int) -> None:
    result = shared.result_of(shared.say(status, b"body"))

    assert (result.status, result.body) == (status, b"body")
    assert result["AsyncResult"] == str(status)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 451, 500, 503, 599])
def test_statuses_from_400_are_replayed_too(shared: Site, status: int) -> None:
    monitor = shared.say(status, b"sorry", [["WWW-Authenticate", "Bearer"]])

    result = shared.result_of(monitor)

    assert (result.status, result.body, result["AsyncResult"]) == (status, b"sorry", str(status))
    assert result["WWW-Authenticate"] == "Bearer"
    assert shared.get(monitor).document["error"]["code"] == "handler-response"


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_is_replayed_without_one(shared: Site, status: int) -> None:
    result = shared.result_of(shared.say(status, b"", [["X-Own", "yes"]]))

    assert (result.status, result.body) == (status, b"")
    assert (result["X-Own"], result["AsyncResult"]) == ("yes", str(status))
    assert "Content-Length" not in result


def test_a_handlers_own_202_ends_a_pollers_loop(shared: Site) -> None:
    monitor = shared.say(202, b"mine", [["Location", "/elsewhere"]])

    result = shared.result_of(monitor)

    assert (result.status, result["AsyncResult"], result.body) == (200, "202", b"mine")
    document = shared.get(monitor).document
    assert (document["status"], document["resultStatus"]) == ("succeeded", 202)


@pytest.mark.parametrize("body", [b"", b"\0\xff\r\n\x80", bytes(range(256)), b"x" * 262_144])
def test_bodies_are_replayed_byte_for_byte(shared: Site, body: bytes) -> None:
    result = shared.result_of(shared.say(200, body))

    assert result.body == body
    assert result["Content-Length"] == str(len(body))


@pytest.mark.parametrize("size", [262_145, 524_288, 2_000_001])
def test_long_bodies_are_replayed_byte_for_byte(shared: Site, size: int) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]

    result = shared.result_of(shared.say(200, body))

    assert result.body == body
    assert result["Content-Length"] == str(size)


def test_a_streamed_response_is_kept_whole(shared: Site) -> None:
    result = shared.result_after("/stream")

    assert result.body == b"".join(CHUNKS)
    assert result["Content-Length"] == str(len(result.body))
    assert "Transfer-Encoding" not in result


def test_a_stream_that_breaks_off_is_no_result(shared: Site) -> None:
    result = shared.result_after("/stream?fail=1")

    assert (result.status, result["AsyncResult"]) == (500, "500")
    assert result.document["code"] == "handler-exception"
    assert CHUNKS[0].strip() not in result.body


def test_header_fields_are_replayed(shared: Site) -> None:
    fields = [
        *(["Content-Type", "text/x; charset=latin-1"], ["Content-Disposition", 'a; filename="u"']),
        *(["X-Many", "1"], ["X-Many", "2"], ["Vary", "Accept"], ["Link", '<x>; rel="next"']),
        *(["Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"], ["X-Empty", ""]),
    ]

    result = shared.result_of(shared.say(200, b"", fields))

    for name, value in fields:
        assert value in result.all(name)
    assert result.all("X-Many") == ["1", "2"]
    assert len(result.all("Link")) == 2


def test_fields_that_speak_of_the_connection_are_not_replayed(shared: Site) -> None:
    fields = [["Keep-Alive", "timeout=5"], ["Server", "mine"], ["Date", "yesterday"]]

    result = shared.result_of(shared.say(200, b"", fields))

    assert "Keep-Alive" not in result
    assert result.get("Server") != "mine"
    assert result.get("Date") != "yesterday"


@pytest.mark.parametrize(
    ("location", "absolute"),
    [
        ("/reports/7", f"{BASE}/reports/7"),
        ("7", f"{BASE}/7"),
        ("?page=2", f"{BASE}/say?page=2"),
        ("//other.example/x", "http://other.example/x"),
        ("https://other.example/x#y", "https://other.example/x#y"),
    ],
)
def test_a_relative_location_is_made_absolute(shared: Site, location: str, absolute: str) -> None:
    result = shared.result_of(shared.say(201, b"", [["Location", location]]))

    assert result["Location"] == absolute


def test_a_location_that_is_no_url_is_replayed_as_it_is(shared: Site) -> None:
    if shared.framework == "flask":
        pytest.skip("Flask itself raises")

    result = shared.result_of(shared.say(201, b"done", [["Location", "http://[broken"]]))

    assert (result["Location"], result.body) == ("http://[broken", b"done")


def test_cookies_are_not_replayed(shared: Site) -> None:
    assert "Set-Cookie" not in shared.result_of(shared.say(200, b"", [["Set-Cookie", "a=1"]]))


def test_cookies_are_replayed_on_request(build: Build) -> None:
    site = build(set_cookie=True)

    result = site.result_of(site.say(200, b"", [["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]]))

    assert result.all("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("own", "replayed"),
    [
        ("no-store", "no-store"),
        ("private, no-store", "private, no-store"),
        ("public, max-age=60", "private"),
    ],
)
def test_a_result_is_private_at_least(shared: Site, own: str, replayed: str) -> None:
    result = shared.result_of(shared.say(200, b"", [["Cache-Control", own]]))

    assert result["Cache-Control"] == replayed


def test_no_store_is_kept_on_whichever_line_it_stands(shared: Site) -> None:
    lines = [["Cache-Control", "max-age=60"], ["Cache-Control", "no-store"]]

    result = shared.result_of(shared.say(200, b"", lines))

    assert "no-store" in ", ".join(result.all("Cache-Control"))


def test_fields_that_deferit_sets_are_not_there_twice(shared: Site) -> None:
    """A route of an API that ends may have a `Sunset` of its own (RFC 8594); the result's says when that is gone."""
    own = [["Sunset", "Sat, 31 Dec 2050 23:59:59 GMT"], ["AsyncResult", "1"]]

    monitor = shared.say(200, b"", own)
    result = shared.result_of(monitor)

    assert result.all("Sunset") == [shared.get(monitor)["Sunset"]]
    assert result.all("AsyncResult") == ["200"]


def test_a_final_response_keeps_a_sunset_of_its_own(shared: Site) -> None:
    own = [["Sunset", "Sat, 31 Dec 2050 23:59:59 GMT"], ["AsyncResult", "1"]]

    answer = shared.post("/say", saying(200, b"", own), Prefer="wait=20")

    assert answer.all("Sunset") == ["Sat, 31 Dec 2050 23:59:59 GMT"]
    assert answer.all("AsyncResult") == ["200"]


def test_a_result_has_the_handlers_etag(shared: Site) -> None:
    monitor = shared.say(200, b"body", [["ETag", 'W/"mine"']])

    assert shared.result_of(monitor)["ETag"] == 'W/"mine"'
    assert shared.get(monitor + "/result", If_None_Match='W/"mine"').status == 304


def test_equal_results_have_equal_etags(shared: Site) -> None:
    tags = {shared.result_of(shared.say(200, b"same"))["ETag"] for _ in range(2)}

    assert len(tags) == 1
    assert shared.result_of(shared.say(200, b"other"))["ETag"] not in tags


def test_a_client_that_has_the_result_gets_304(shared: Site) -> None:
    monitor = shared.defer("/pages")
    result = shared.result_of(monitor)

    answer = shared.get(monitor + "/result", If_None_Match=result["ETag"])

    assert (answer.status, answer.body, answer["ETag"]) == (304, b"", result["ETag"])
    assert not answer.names & {"content-length", "content-type"}


def test_a_result_that_is_no_success_ignores_preconditions(shared: Site) -> None:
    """RFC 9110 §13.2.1: only where the answer without them would be a 2xx or a 412."""
    monitor = shared.say(500, b"sorry")
    tag = shared.result_of(monitor)["ETag"]

    assert shared.get(monitor + "/result", If_None_Match=tag).status == 500
    assert shared.get(monitor + "/result", If_Match='"other"').status == 500


def test_a_result_that_is_not_what_if_match_names_is_412(shared: Site) -> None:
    monitor = shared.say(200, b"0123456789")
    tag = shared.result_of(monitor)["ETag"]

    refused = [
        shared.get(monitor + "/result", If_Match='"other"'),
        shared.get(monitor + "/result", If_Match=f"W/{tag}"),
        shared.get(monitor + "/result", If_Match='"other"', Range="bytes=0-1"),
        shared.get(monitor + "/result", If_Match='"other"', If_None_Match=tag),
    ]

    for answer in refused:
        assert (answer.status, answer.document["code"]) == (412, "precondition-failed")
    assert shared.get(monitor + "/result", If_Match=tag, Range="bytes=0-1").body == b"01"
    assert shared.get(monitor + "/result", If_Match="*").status == 200


def test_a_weak_tag_is_never_what_if_match_names(shared: Site) -> None:
    """RFC 9110 §13.1.1: the comparison is strong."""
    monitor = shared.say(200, b"body", [["ETag", 'W/"mine"']])
    shared.result_of(monitor)

    assert shared.get(monitor + "/result", If_Match='W/"mine"').status == 412


@pytest.mark.parametrize(
    ("until", "status"),
    [
        ("Wed, 21 Oct 2015 07:27:59 GMT", 412),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
        ("yesterday", 200),
    ],
)
def test_a_result_that_was_modified_since_is_412(shared: Site, until: str, status: int) -> None:
    monitor = shared.say(200, b"", [["Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"]])
    shared.result_of(monitor)

    assert shared.get(monitor + "/result", If_Unmodified_Since=until).status == status


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match"])
def test_tags_may_come_on_several_lines(shared: Site, field: str) -> None:
    """RFC 9110 §5.3; servers of WSGI make one of them."""
    if shared.framework == "flask":
        pytest.skip("its client does not send two")
    monitor = shared.say(200, b"body")
    tag = shared.result_of(monitor)["ETag"]

    answer = shared.ask("GET", monitor + "/result", [(field, '"other"'), (field, tag)])

    assert answer.status == {"If-Match": 200, "If-None-Match": 304}[field]


def test_head_of_a_result_has_its_fields_and_no_body(shared: Site) -> None:
    monitor = shared.defer("/pages")
    result = shared.result_of(monitor)

    head = shared.head(monitor + "/result")

    assert (head.status, head.body) == (201, b"")
    assert set(head.fields) == set(result.fields)


def test_a_result_over_max_result_is_none(build: Build) -> None:
    site = build(max_result=300_000)

    exact = site.result_of(site.say(200, b"x" * 300_000))
    monitor = site.say(200, b"x" * 300_001)

    assert len(exact.body) == 300_000
    end = site.end_of(monitor).document
    assert (end["status"], end["error"]["code"]) == ("failed", "result-too-large")
    assert "resultStatus" not in end
    refusal = site.get(monitor + "/result")
    assert (refusal.status, refusal.document["code"]) == (500, "result-too-large")
    assert refusal["AsyncResult"] == "500"


def test_a_response_that_is_cut_short_by_max_result_is_no_success() -> None:
    """An application may go on after it could not send, and even end as if nothing had happened."""

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": 100 * b"x", "more_body": True})
        except Exception:  # noqa: BLE001  as an application does that takes it for a lost connection
            await send({"type": "http.response.body", "body": b""})

    middleware = ASGIMiddleware(app, store=usual(), routes=["* /*"], max_result=10)
    with StarletteClient(middleware) as client:
        monitor = client.ask("POST", BASE + "/x", [], b"")["Location"]
        end = client.ask("GET", monitor, [("Prefer", "wait=20")], b"").document
    middleware.close()

    assert (end["status"], end["error"]["code"]) == ("failed", "result-too-large")
