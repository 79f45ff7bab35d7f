"""CONTRACT.md §2: what the monitor answers in each state, and what the status document says."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from tests.web.apps.bench import PAGES
from tests.web.clients import BASE
from tests.web.sites import Site, saying

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.clients import Answer
    from tests.web.conftest import Build

UNASKED = {"date", "server"}
GUARDED = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

ALWAYS = {"id", "status", "done", "created", "updated", "monitorUrl", "resultUrl"}
PENDING = ALWAYS | {"retryAfter", "cancelUrl", "eventsUrl"}
RUNNING = PENDING | {"started", "attempt"}
FINISHED = ALWAYS | {"started", "attempt", "finished", "expires"}
RESULT = {"resultStatus", "resultType", "resultLength"}


def time_of(text: str) -> datetime:
    assert TIME.fullmatch(text), text
    return datetime.fromisoformat(text)


def fields(answer: Answer) -> dict[str, str | None]:
    return {name: answer.get(name) for name in answer.names - UNASKED}


def running(site: Site, name: str = "a") -> str:
    monitor = site.defer(f"/gated/{name}")
    site.bench.wait_for(f"started {name}")
    return monitor


def unknown(_: Site) -> str:
    return f"{BASE}/jobs/job_{26 * '0'}"


# --- each state ------------------------------------------------------------------------------------------------------


def test_a_waiting_job(build: Build) -> None:
    site = build(concurrency=1)
    running(site)
    monitors = [site.defer("/gated/b"), site.defer("/gated/c")]

    documents = [site.get(monitor).document for monitor in monitors]

    assert [document["status"] for document in documents] == ["accepted", "accepted"]
    assert [document["queuePosition"] for document in documents] == [0, 1]
    assert documents[0].keys() == PENDING | {"queuePosition"}


def test_a_running_job(shared: Site) -> None:
    monitor = running(shared)

    answer = shared.get(monitor)

    document = answer.document
    assert answer.status == 202
    assert fields(answer) == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "location": monitor,
        "retry-after": str(document["retryAfter"]),
        "etag": answer["ETag"],
        "link": f'<{monitor}>; rel="monitor", '
        f'<{monitor}/events>; rel="monitor"; type="text/event-stream"',
        "cache-control": "private, no-cache",
        "vary": "Prefer, Accept",
        **GUARDED,
    }
    assert answer["ETag"].startswith('W/"')
    assert document.keys() == RUNNING
    assert (document["status"], document["done"], document["attempt"]) == ("running", False, 1)
    assert document["monitorUrl"] == monitor
    assert document["resultUrl"] == monitor + "/result"
    assert document["cancelUrl"] == monitor + "/cancel"
    assert document["eventsUrl"] == monitor + "/events"
    assert 1 <= document["retryAfter"] <= 30
    assert time_of(document["created"]) <= time_of(document["started"])
    assert time_of(document["started"]) <= time_of(document["updated"])


def test_a_succeeded_job(shared: Site) -> None:
    monitor = shared.defer("/pages")

    answer = shared.end_of(monitor)

    document = answer.document
    assert fields(answer) == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "etag": answer["ETag"],
        "last-modified": answer["Last-Modified"],
        "link": f'<{monitor}>; rel="monitor"',
        "sunset": answer["Sunset"],
        "cache-control": "private, no-cache",
        "vary": "Prefer, Accept",
        **GUARDED,
    }
    assert re.fullmatch(r'"[^"]+"', answer["ETag"])
    assert document.keys() == FINISHED | RESULT | {"resourceLocation"}
    assert (document["status"], document["done"]) == ("succeeded", True)
    assert document["resourceLocation"] == document["resultUrl"] == monitor + "/result"
    assert document["resultStatus"] == 201
    assert document["resultType"] == "application/json"
    assert document["resultLength"] == len(PAGES)


def test_a_finished_job_says_when_it_ended_and_when_it_will_be_gone(shared: Site) -> None:
    answer = shared.end_of(shared.defer("/pages"))

    document = answer.document
    finished, expires = time_of(document["finished"]), time_of(document["expires"])
    assert expires - finished == timedelta(days=1)
    assert parsedate_to_datetime(answer["Last-Modified"]) == finished.replace(microsecond=0)
    assert parsedate_to_datetime(answer["Sunset"]) == expires.replace(microsecond=0)
    assert abs(datetime.now(UTC) - finished) < timedelta(seconds=30)


def test_a_job_that_failed_with_a_response(shared: Site) -> None:
    monitor = shared.say(404, b"no such year", [["Content-Type", "text/x"]])

    document = shared.end_of(monitor).document

    assert document.keys() == FINISHED | RESULT | {"error"}
    assert document["status"] == "failed"
    assert (document["resultStatus"], document["resultType"]) == (404, "text/x")
    assert document["resultLength"] == len(b"no such year")
    assert document["error"] == {
        "code": "handler-response",
        "message": document["error"]["message"],
        "type": document["error"]["type"],
        "title": document["error"]["title"],
        "detail": document["error"]["detail"],
        "status": 404,
    }
    assert all(document["error"].values())


def test_a_job_that_failed_without_a_response(shared: Site) -> None:
    document = shared.end_of(shared.defer("/stream?fail=1")).document

    assert document.keys() == FINISHED | {"error"}
    assert (document["status"], document["error"]["code"]) == ("failed", "handler-exception")
    assert document["error"]["status"] == 500


def test_a_canceled_job(shared: Site) -> None:
    monitor = running(shared)
    shared.delete(monitor)

    answer = shared.get(monitor)

    assert (answer.status, answer.document["status"]) == (200, "canceled")
    assert answer.document.keys() == FINISHED | {"error"}
    assert answer.document["error"]["code"] == "job-canceled"
    assert not answer.names & {"location", "retry-after"}


def test_nothing_of_the_request_is_shown(shared: Site) -> None:
    monitor = shared.post(
        "/say?query-secret", saying(500, b"body-secret"), Authorization="header-secret"
    )["Location"]

    answer = shared.end_of(monitor)

    assert b"secret" not in answer.body
    assert not any("secret" in value for _, value in answer.fields)


@pytest.mark.parametrize("state", ["running", "finished", "unknown"])
def test_head_has_the_fields_of_get_and_no_body(shared: Site, state: str) -> None:
    made: dict[str, Callable[[Site], str]]
    made = {"running": running, "finished": Site.say, "unknown": unknown}
    monitor = made[state](shared)
    shared.get(monitor, Prefer="wait=5" if state == "finished" else "")

    got, head = shared.get(monitor), shared.head(monitor)

    assert (head.status, head.body) == (got.status, b"")
    assert fields(head) == fields(got)


def test_a_slash_behind_the_id_is_forgiven(shared: Site) -> None:
    assert shared.get(shared.defer() + "/").status in {200, 202}


# --- ETag, 304 -------------------------------------------------------------------------------------------------------


def test_a_client_that_has_the_document_gets_304(shared: Site) -> None:
    monitor = running(shared)
    pending = shared.get(monitor)

    unchanged = shared.get(monitor, If_None_Match=pending["ETag"])
    shared.bench.open("a")
    end = shared.end_of(monitor)

    assert (unchanged.status, unchanged.body) == (304, b"")
    assert unchanged["ETag"] == pending["ETag"]
    assert "Retry-After" in unchanged
    assert not unchanged.names & {"content-type", "content-length"}
    assert shared.get(monitor, If_None_Match=pending["ETag"]).status == 200
    known = shared.get(monitor, If_None_Match=f'"other", {end["ETag"]}')
    assert (known.status, known.body) == (304, b"")
    assert known.names >= {"etag", "cache-control", "vary", "sunset"}
    assert shared.head(monitor, If_None_Match=end["ETag"]).status == 304


def test_a_document_that_is_not_what_if_match_names_is_412(shared: Site) -> None:
    monitor = running(shared)
    pending = shared.get(monitor)["ETag"]

    kept = shared.get(monitor, If_Match=pending)
    shared.bench.open("a")
    end = shared.end_of(monitor)
    gone = shared.get(monitor, If_Match=pending)

    assert kept.status == 202
    assert (gone.status, gone.document["code"]) == (412, "precondition-failed")
    assert shared.get(monitor, If_Match=end["ETag"]).status == 200
    assert shared.get(monitor, If_Unmodified_Since=end["Last-Modified"]).status == 200
    assert shared.get(monitor, If_Unmodified_Since="Wed, 21 Oct 2015 07:28:00 GMT").status == 412


def test_what_a_client_accepts_may_come_on_several_lines(shared: Site) -> None:
    """RFC 9110 §5.3; servers of WSGI make one of them."""
    if shared.framework == "flask":
        pytest.skip("its client does not send two")
    monitor = shared.defer()

    answer = shared.ask("GET", monitor, [("Accept", "text/plain;q=0.1"), ("Accept", "text/html")])

    assert answer["Content-Type"].startswith("text/html")


def test_the_etag_stays_while_nothing_changes(shared: Site) -> None:
    monitor = running(shared)

    assert shared.get(monitor)["ETag"] == shared.get(monitor)["ETag"]


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_long_poll_answers_as_soon_as_the_job_is_finished(build: Build) -> None:
    site = build(max_wait=15)
    monitor = running(site)
    threading.Timer(0.1, site.bench.open, ["a"]).start()

    answer = site.get(monitor, Prefer="wait=15")

    assert (answer.status, answer.document["status"]) == (200, "succeeded")


def test_a_long_poll_that_is_over_too_soon_answers_202(build: Build) -> None:
    site = build(max_wait=0.2)

    answer = site.get(running(site), Prefer="wait=20")

    assert (answer.status, answer.document["status"]) == (202, "running")


def test_a_long_poll_with_an_etag_answers_as_soon_as_the_job_has_changed(shared: Site) -> None:
    monitor = shared.defer("/reporting")
    half = reported(shared, monitor)
    threading.Timer(0.1, shared.bench.open, ["half"]).start()

    answer = shared.get(monitor, Prefer="wait=20", If_None_Match=half["ETag"])

    assert (answer.status, answer.document["progress"]) == (202, 99)


def reported(site: Site, monitor: str) -> Answer:
    """Return the first answer that shows progress."""
    answer = site.get(monitor)
    while "progress" not in answer.document:
        answer = site.get(monitor, Prefer="wait=20", If_None_Match=answer["ETag"])
        assert answer.status == 202
    return answer


def test_progress_and_message_are_shown_and_change_the_etag(shared: Site) -> None:
    monitor = shared.defer("/reporting")
    half = reported(shared, monitor)
    shared.bench.open("half")
    whole = shared.get(monitor, Prefer="wait=20", If_None_Match=half["ETag"])
    shared.bench.open("whole")
    end = shared.end_of(monitor)

    said = [(each.document["progress"], each.document["message"]) for each in (half, whole, end)]
    assert said == [(50, "half of it"), (99, "half of it"), (100, "half of it")]
    assert len({each["ETag"] for each in (half, whole, end)}) == 3


# --- errors ----------------------------------------------------------------------------------------------------------


def test_an_unknown_job_is_a_problem(shared: Site) -> None:
    answer = shared.get("/jobs/job_" + 26 * "0")

    assert answer.status == 404
    assert fields(answer) == {
        "content-type": "application/problem+json",
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        **GUARDED,
    }
    assert answer.document.keys() == {"type", "title", "status", "detail", "code"}
    assert (answer.document["status"], answer.document["code"]) == (404, "job-not-found")


@pytest.mark.parametrize("rest", ["/nothing", "/result/more", "/events/more", "/cancel/x"])
def test_an_unknown_route_behind_an_id_is_404(shared: Site, rest: str) -> None:
    answer = shared.get(shared.defer() + rest)

    assert (answer.status, answer.document["code"]) == (404, "job-not-found")


@pytest.mark.parametrize(
    ("rest", "method", "allow"),
    [
        ("", "POST", {"GET", "HEAD", "DELETE"}),
        ("", "OPTIONS", {"GET", "HEAD", "DELETE"}),
        ("/result", "DELETE", {"GET", "HEAD"}),
        ("/events", "POST", {"GET", "HEAD"}),
        ("/cancel", "GET", {"POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    shared: Site, rest: str, method: str, allow: set[str]
) -> None:
    answer = shared.ask(method, shared.defer() + rest)

    assert (answer.status, answer.document["code"]) == (405, "method-not-allowed")
    assert set(answer["Allow"].split(", ")) == allow
