from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.samples import (
    EVENTS,
    JOB_ID,
    LINKS,
    MONITOR,
    NOON,
    RESULT,
    SITE,
    TTL,
    a_job,
    a_request,
    a_result,
    canceled,
    failed,
    in_status,
    members,
    running,
    succeeded,
    values,
)

from deferit._core import document, preconditions
from deferit._core.body import StoredBody
from deferit._core.document import retry_after
from deferit._core.estimate import Outlook
from deferit._core.http import Pairs, Response
from deferit._core.job import Job, Status
from deferit._core.layers import EXPOSED, exposed, in_place_of
from deferit._core.policy import Deferral
from deferit._core.prefer import NOTHING, Prefer
from deferit._core.problems import NO_RESULT_STATUS, PROBLEMS, problem
from deferit._core.queries import MOST_AHEAD
from deferit._core.ranges import ranged
from deferit._core.representations import JSON

ALWAYS = {"id", "status", "done", "created", "updated", "monitorUrl", "resultUrl"}
PENDING = [a_job(), running(), running(repeatable=True).released(NOON)]
OVER = [succeeded(), failed(), failed(a_result(500)), canceled(), running().canceled(NOON, "x")]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def shown(job: Job, position: int | None = None, now: float = NOON) -> dict[str, Any]:
    outlook = None if position is None else Outlook(now, position)
    return document.status_document(job, SITE, now, outlook)


# --- the status document: CONTRACT.md, section 2 ---------------------------------------------------------------------


def test_a_waiting_job_shows_this_and_no_more() -> None:
    assert shown(a_job(), position=3) == {
        "id": JOB_ID,
        "status": "accepted",
        "done": False,
        "created": "2027-01-15T08:00:00.000Z",
        "updated": "2027-01-15T08:00:00.000Z",
        "monitorUrl": MONITOR,
        "resultUrl": RESULT,
        "retryAfter": 1,
        "cancelUrl": f"{MONITOR}/cancel",
        "eventsUrl": EVENTS,
        "queuePosition": 3,
    }


def test_a_running_job_shows_its_attempt_and_what_its_handler_reports() -> None:
    job = running().reported(NOON + 1.25, 40, "row 4 of 10")

    found = shown(job)

    assert found.keys() - ALWAYS == {
        "started",
        "attempt",
        "progress",
        "message",
        "retryAfter",
        "cancelUrl",
        "eventsUrl",
        "estimatedCompletion",
        "estimatedCompletionLatest",
    }
    assert (found["attempt"], found["progress"], found["message"]) == (1, 40, "row 4 of 10")
    assert found["updated"] == "2027-01-15T08:00:01.250Z"


def test_a_succeeded_job_shows_its_result() -> None:
    job = succeeded(a_result(201, (("Content-Type", "text/csv"),)))

    found = shown(job)

    assert found.keys() - ALWAYS == {
        "started",
        "finished",
        "expires",
        "attempt",
        "resourceLocation",
        "resultStatus",
        "resultType",
        "resultLength",
    }
    assert found["resourceLocation"] == RESULT
    assert (found["resultStatus"], found["resultType"], found["resultLength"]) == (
        201,
        "text/csv",
        5,
    )
    assert found["expires"] == "2027-01-15T09:00:01.000Z"


def test_a_failed_job_has_an_error_and_no_resource_location() -> None:
    found = shown(failed())

    assert found.keys() - ALWAYS == {"started", "finished", "expires", "attempt", "error"}
    assert found["error"] == {
        "code": "handler-exception",
        "message": "The handler raised KeyError.",
        "type": "urn:deferit:problem:handler-exception",
        "title": "Handler exception",
        "status": 500,
        "detail": "The handler raised an exception.",
    }


def test_the_status_of_an_error_is_the_handlers_where_it_answered() -> None:
    found = shown(failed(a_result(422), "handler-response"))

    assert found["error"]["status"] == found["resultStatus"] == 422
    assert "resourceLocation" not in found


def test_a_canceled_job_says_what_is_guaranteed() -> None:
    error = shown(canceled())["error"]

    assert (error["code"], error["detail"]) == ("job-canceled", "never started")


def test_the_position_is_shown_while_it_waits_alone() -> None:
    assert shown(a_job(), position=0)["queuePosition"] == 0
    assert "queuePosition" not in shown(a_job())
    assert "queuePosition" not in shown(running(), position=1)


def test_a_position_behind_very_many_is_not_told() -> None:
    assert shown(a_job(), position=MOST_AHEAD - 1)["queuePosition"] == MOST_AHEAD - 1
    assert "queuePosition" not in shown(a_job(), position=MOST_AHEAD)


@pytest.mark.parametrize("job", PENDING + OVER)
def test_members_that_are_absent_are_left_out(job: Job) -> None:
    found = shown(job, position=0)

    assert found.keys() >= ALWAYS
    assert None not in found.values()
    assert found["done"] == job.is_finished
    for name in ("retryAfter", "cancelUrl", "eventsUrl"):
        assert (name in found) == (not job.is_finished)
    assert ("error" in found) == (job.status in {Status.FAILED, Status.CANCELED})
    assert ("resourceLocation" in found) == (job.status is Status.SUCCEEDED)


OPTIONAL = {
    "progress": st.none() | st.integers(0, 100),
    "message": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "started_at": st.none() | st.floats(0, 4e9),
    "owner": st.none() | st.text(),
}


@given(changes=st.fixed_dictionaries(OPTIONAL), status=st.sampled_from(Status))
def test_json_never_has_null_and_times_are_rfc_3339(changes: Any, status: Status) -> None:
    job = in_status(status).but(**changes)

    found = members(document.document(job, SITE, NOON))

    assert "null" not in json.dumps([value for name, value in found.items() if name != "message"])
    assert found.get("message") == changes["message"]
    for name in ("created", "updated", "started", "finished", "expires"):
        assert name not in found or TIME.fullmatch(found[name])
    if changes["started_at"] is not None:
        started = datetime.fromisoformat(found["started"])
        assert abs(started.timestamp() - changes["started_at"]) < 0.002
        assert started.tzinfo == UTC


@given(st.floats(0, 1e6))
def test_no_document_shows_the_owner(instant: float) -> None:
    job = a_job(owner="ada-the-owner", created_at=NOON - instant)

    assert b"ada-the-owner" not in document.document(job, SITE, NOON).body  # type: ignore[operator]


# --- Retry-After: CONTRACT.md, section 7 -----------------------------------------------------------------------------


def test_a_client_that_does_as_it_is_told_asks_after_1_1_2_4_8_16_30_seconds() -> None:
    now, pauses = NOON, []

    for _ in range(9):
        pauses.append(retry_after(a_job(), now, None))
        now += pauses[-1]

    assert pauses == [1, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.floats(-1e6, 1e9))
def test_the_pause_is_from_1_to_30_seconds_whatever_the_age(age: float) -> None:
    assert 1 <= retry_after(a_job(), NOON + age, None) <= 30


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_pause_never_shortens_with_age(one: float, two: float) -> None:
    early, late = sorted([one, two])

    assert retry_after(a_job(), NOON + early, None) <= retry_after(a_job(), NOON + late, None)


# --- the 202: CONTRACT.md, section 1 ---------------------------------------------------------------------------------


def accepted(job: Job, wait: float = 0.0, prefer: Prefer = NOTHING) -> Response:
    return document.accepted(job, SITE, NOON, None, Deferral(wait, prefer))


def test_the_202_has_the_fields_of_the_contract() -> None:
    response = accepted(a_job())

    assert response.status == 202
    assert response.headers == (
        ("Location", MONITOR),
        ("Content-Location", MONITOR),
        ("Content-Type", "application/json"),
        ("Operation-Location", MONITOR),
        ("Link", LINKS),
        ("Retry-After", "1"),
        ("Vary", "Prefer, Accept"),
        ("Cache-Control", "no-store"),
    )
    assert members(response) == shown(a_job())


@pytest.mark.parametrize(
    ("wait", "prefer", "applied"),
    [
        (0.0, NOTHING, None),
        (2.0, NOTHING, None),
        (0.0, Prefer(respond_async=True), "respond-async"),
        (5.0, Prefer(respond_async=True, wait=5), "respond-async, wait=5"),
        (0.0, Prefer(wait=5), None),
        (0.0, Prefer(wait=0), None),
        (5.0, Prefer(wait=5, minimal=True), "wait=5, return=minimal"),
    ],
)
def test_only_what_was_applied_is_echoed(wait: float, prefer: Prefer, applied: str | None) -> None:
    assert accepted(a_job(), wait, prefer).header("Preference-Applied") == applied


def test_a_minimal_202_has_no_body() -> None:
    response = accepted(a_job(), prefer=Prefer(minimal=True))

    assert response.body == b""
    assert response.header("Content-Location") is None
    assert response.header("Content-Type") is None
    assert response.header("Location") == MONITOR


# --- the monitor -----------------------------------------------------------------------------------------------------


def monitor(job: Job, if_none_match: str | None = None, **headers: str) -> Response:
    known = {} if if_none_match is None else {"If_None_Match": if_none_match}
    return document.monitor(job, SITE, NOON, Outlook(NOON, 0), a_request(**known, **headers))


@pytest.mark.parametrize("job", PENDING)
def test_the_monitor_of_a_pending_job(job: Job) -> None:
    response = monitor(job)

    assert response.status == 202
    assert members(response)["status"] in {"accepted", "running"}
    assert response.headers == (
        ("Content-Type", "application/json"),
        ("ETag", f'W/"{job.revision}"'),
        ("Location", MONITOR),
        ("Retry-After", "1"),
        ("Link", LINKS),
        ("Cache-Control", "private, no-cache"),
        ("Vary", "Prefer, Accept"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    )


@pytest.mark.parametrize("job", OVER)
def test_the_monitor_of_a_finished_job(job: Job) -> None:
    response = monitor(job)

    assert response.status == 200
    assert members(response)["done"] is True
    assert response.header("ETag") == f'"{job.revision}"'
    assert response.header("Location") is None
    assert response.header("Retry-After") is None
    assert response.header("Link") == f'<{MONITOR}>; rel="monitor"'
    assert response.header("Vary") == "Prefer, Accept"
    assert response.header("Referrer-Policy") == "no-referrer"


def test_a_finished_monitor_says_since_when_and_until_when() -> None:
    response = monitor(succeeded())

    assert response.header("Last-Modified") == "Fri, 15 Jan 2027 08:00:01 GMT"
    assert response.header("Sunset") == "Fri, 15 Jan 2027 09:00:01 GMT"
    assert succeeded().expires_at == NOON + 1 + TTL


@pytest.mark.parametrize("job", PENDING + OVER)
def test_a_terminal_status_is_never_in_a_202_nor_a_pending_one_in_a_200(job: Job) -> None:
    response = monitor(job)

    assert (response.status == 202) == (members(response)["status"] in {"accepted", "running"})


@pytest.mark.parametrize("job", PENDING + OVER)
@pytest.mark.parametrize("tags", ["{}", '"x", {}', "*", 'W/"x",{}'])
def test_what_the_client_has_is_not_sent_again(job: Job, tags: str) -> None:
    response = monitor(job, tags.format(JSON.tag(job)))

    assert (response.status, response.body) == (304, b"")
    assert response.header("ETag") == JSON.tag(job)
    assert response.header("Location") is None
    assert response.header("Content-Type") is None


@pytest.mark.parametrize("tags", [None, "", '"x"', 'W/"99"', "garbage", '"1', ","])
def test_what_the_client_does_not_have_is_sent(tags: str | None) -> None:
    assert monitor(running(), tags).status == 202


@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("Fri, 15 Jan 2027 08:00:01 GMT", 304),
        ("Fri, 15 Jan 2027 09:00:00 GMT", 304),
        ("Fri, 15 Jan 2027 08:00:00 GMT", 200),
        ("yesterday", 200),
        (f"Sun, 06 Nov {100 * '1'} 00:37 GMT", 200),
        ("", 200),
    ],
)
def test_a_date_says_what_the_client_has_of_a_finished_job(since: str, status: int) -> None:
    assert monitor(succeeded(), If_Modified_Since=since).status == status
    assert monitor(running(), If_Modified_Since=since).status == 202


@pytest.mark.parametrize(("tag", "status"), [('"99"', 200), ('"3"', 304)])
def test_the_tag_counts_and_not_the_date_where_there_are_both(tag: str, status: int) -> None:
    for since in ("Fri, 15 Jan 2027 08:00:01 GMT", "Fri, 15 Jan 2027 08:00:00 GMT"):
        assert monitor(succeeded(), tag, If_Modified_Since=since).status == status


def test_an_answer_that_is_replayed_says_so_once() -> None:
    response = document.replayed(Response(200, (("idempotent-replayed", "false"),)))

    assert response.headers == (("Idempotent-Replayed", "true"),)


@pytest.mark.parametrize(
    ("tag", "if_match", "weakly", "is_met"),
    [
        ('"2"', '"2"', False, True),
        ('"2"', '"1", "2"', False, True),
        ('"a,b"', '"1","a,b"', False, True),
        ('"2"', 'W/"2"', False, False),
        ('"2"', 'W/"2"', True, False),
        ('"2"', "2", False, False),
        ('W/"2"', 'W/"2"', False, False),
        ('W/"2"', 'W/"2"', True, True),
        ('W/"2"', '"2"', True, False),
        ('W/"2"', " * ", False, True),
    ],
)
def test_a_state_that_is_meant_is_compared_strongly(
    tag: str, if_match: str, weakly: bool, is_met: bool
) -> None:
    asked = a_request(If_Match=if_match).headers

    assert preconditions.is_met(asked, tag, None, weakly=weakly) == is_met


@pytest.mark.parametrize(
    ("tag", "if_none_match"),
    [('"2"', 'W/"2"'), ('W/"2"', '"2"'), ('W/"2"', 'W/"2"'), ('"2"', '"2"')],
)
def test_tags_are_compared_weakly(tag: str, if_none_match: str) -> None:
    assert preconditions.is_known(tag, if_none_match)


def test_the_answer_to_a_cancel_is_the_document() -> None:
    response = document.document(canceled(), SITE, NOON)

    assert response.status == 200
    assert members(response)["status"] == "canceled"
    assert response.header("Cache-Control") == "no-store"
    assert response.header("ETag") == JSON.tag(canceled())


# --- the result: CONTRACT.md, section 3 ------------------------------------------------------------------------------


def result(
    job: Job, if_none_match: str | None = None, *, cookies: bool = False, **headers: str
) -> Response:
    known = {} if if_none_match is None else {"If_None_Match": if_none_match}
    return document.result(job, SITE, a_request(**known, **headers), cookies=cookies)


def a_response(status: int = 200, *headers: tuple[str, str]) -> Job:
    return succeeded(a_result(status, headers))


def test_the_error_of_a_job_whose_response_was_none_is_a_500() -> None:
    raised_afterwards = failed(a_result(200))
    answered = failed(a_result(404), "handler-response")

    found = [
        document.status_document(job, SITE, NOON, None)["error"]["status"]
        for job in (raised_afterwards, answered)
    ]

    assert found == [500, 404]


def test_until_there_is_a_result_there_is_the_document() -> None:
    response = document.still_pending(running(), SITE, NOON, None)

    assert (response.status, response.header("Location")) == (202, RESULT)
    assert response.header("Retry-After") == "1"
    assert response.header("Link") == LINKS
    assert response.header("Cache-Control") == "private, no-cache"
    assert members(response) == shown(running())


def test_the_handlers_response_is_replayed() -> None:
    job = a_response(201, ("Content-Type", "text/csv"), ("X-Part", "a"), ("X-Part", "b"))

    response = result(job)

    assert response.status == 201
    assert response.body == StoredBody(JOB_ID, 1, 0, 5)
    assert response.headers == (
        ("Content-Type", "text/csv"),
        ("X-Part", "a"),
        ("X-Part", "b"),
        ("Cache-Control", "private"),
        ("ETag", '"tag"'),
        ("AsyncResult", "201"),
        ("Link", f'<{MONITOR}>; rel="monitor"'),
        ("Sunset", "Fri, 15 Jan 2027 09:00:01 GMT"),
    )


def test_a_response_without_a_body_has_none() -> None:
    assert result(succeeded(a_result(204, length=0, chunks=0))).body == b""


def test_a_failed_answer_is_replayed_too() -> None:
    response = result(failed(a_result(422), "handler-response"))

    assert (response.status, response.header("AsyncResult")) == (422, "422")


def test_a_202_of_the_handlers_own_ends_the_pollers_loop() -> None:
    response = result(a_response(202))

    assert (response.status, response.header("AsyncResult")) == (200, "202")


def test_cookies_are_replayed_if_that_is_wanted() -> None:
    job = a_response(200, ("Set-Cookie", "a=1"), ("set-cookie", "b=2"))

    assert values(result(job), "Set-Cookie") == []
    assert values(result(job, cookies=True), "Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("own", "replayed"),
    [
        ("no-store", "no-store"),
        ("private, No-Store", "private, No-Store"),
        ("public, max-age=60", "private"),
    ],
)
def test_only_a_no_store_of_the_handlers_is_kept(own: str, replayed: str) -> None:
    response = result(a_response(200, ("Cache-Control", own)))

    assert values(response, "Cache-Control") == [replayed]


def test_there_is_one_entity_tag_and_the_handlers_vary() -> None:
    response = result(a_response(200, ("etag", '"own"'), ("Vary", "Accept"), ("vary", "Cookie")))

    assert values(response, "ETag") == ['"tag"']
    assert values(response, "Vary") == ["Accept", "Cookie"]


def test_a_result_that_the_client_has_is_not_sent_again() -> None:
    job = a_response(200, ("Content-Type", "text/csv"))

    response = result(job, 'W/"tag"')

    assert (response.status, response.body) == (304, b"")
    assert response.header("Content-Type") is None
    assert response.header("AsyncResult") == "200"
    assert result(job, '"other"').status == 200


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("handler-exception", 500),
        ("deadline-exceeded", 504),
        ("interrupted", 500),
        ("result-too-large", 500),
        ("route-gone", 500),
    ],
)
def test_a_failure_without_a_response_is_a_problem(code: str, status: int) -> None:
    response = result(failed(code=code))

    assert response.status == status
    assert members(response)["code"] == code
    assert members(response)["detail"] == "The handler raised KeyError."
    assert response.header("AsyncResult") == str(status)
    assert response.header("Link") == f'<{MONITOR}>; rel="monitor"'


def test_a_canceled_job_has_no_result() -> None:
    response = result(canceled())

    assert (response.status, members(response)["code"]) == (410, "job-canceled")


# --- a range of it ---------------------------------------------------------------------------------------------------

HELLO = a_result(200, (("Content-Type", "text/plain"), ("Accept-Ranges", "none")))


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1-3", 1, 4),
        ("bytes=2-", 2, 5),
        ("bytes=-2", 3, 5),
        ("bytes=-99", 0, 5),
        ("bytes=3-99", 3, 5),
        ("bytes=0-", 0, 5),
        ("Bytes=4-4", 4, 5),
    ],
)
def test_a_single_range_of_a_result_is_206(wanted: str, start: int, stop: int) -> None:
    response = result(succeeded(HELLO), Range=wanted)

    assert (response.status, response.body) == (206, StoredBody(JOB_ID, 1, start, stop))
    assert values(response, "Content-Range") == [f"bytes {start}-{stop - 1}/5"]
    assert values(response, "Accept-Ranges") == ["bytes"]
    assert response.header("ETag") == '"tag"'
    assert response.header("AsyncResult") == "200"


@pytest.mark.parametrize("wanted", ["bytes=5-", "bytes=5-9", "bytes=99-", "bytes=-0"])
def test_a_range_behind_the_end_is_416(wanted: str) -> None:
    response = result(succeeded(HELLO), Range=wanted)

    assert (response.status, members(response)["code"]) == (416, "range-not-satisfiable")
    assert response.header("Content-Range") == "bytes */5"
    assert members(response)["detail"] == "The result has 5 bytes."


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=x-",
        "bytes=3-1",
        "bytes=0-1,3-4",
        "rows=0-1",
        "bytes=--1",
        "bytes=-",
    ],
)
def test_what_is_not_one_range_of_bytes_gets_the_whole(wanted: str) -> None:
    response = result(succeeded(HELLO), Range=wanted)

    assert (response.status, response.body) == (200, StoredBody(JOB_ID, 1, 0, 5))
    assert values(response, "Accept-Ranges") == ["bytes"]
    assert response.header("Content-Range") is None


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        ('"tag"', 206),
        (' "tag"', 206),
        ("", 200),
        ('"other"', 200),
        ('W/"tag"', 200),
        ("tag", 200),
        ("Fri, 15 Jan 2027 08:00:01 GMT", 200),
    ],
)
def test_a_range_of_something_else_gets_the_whole(if_range: str, status: int) -> None:
    assert result(succeeded(HELLO), Range="bytes=1-3", If_Range=if_range).status == status


def test_a_weak_tag_of_the_handlers_never_fits_a_range() -> None:
    job = succeeded(replace(HELLO, etag='W/"tag"'))

    assert result(job, Range="bytes=1-3", If_Range='W/"tag"').status == 200


@pytest.mark.parametrize(
    ("job", "method"),
    [
        (succeeded(HELLO), "HEAD"),
        (succeeded(a_result(201)), "GET"),
        (succeeded(a_result(202)), "GET"),
        (failed(a_result(404), "handler-response"), "GET"),
        (failed(), "GET"),
        (canceled(), "GET"),
    ],
)
def test_only_a_200_that_is_fetched_has_ranges(job: Job, method: str) -> None:
    asked = a_request(method, Range="bytes=1-3")

    found = document.result(job, SITE, asked, cookies=False)

    assert found.status == document.result(job, SITE, a_request(method), cookies=False).status
    assert found.header("Content-Range") is None


def test_a_body_in_memory_is_cut_too() -> None:
    whole = Response(200, (("X", "y"),), b"hello")
    asked = a_request(Range="bytes=1-3")

    found = ranged(whole, asked, '"tag"')

    assert (found.status, found.body, found.header("X")) == (206, b"ell", "y")


def test_an_empty_result_has_no_range() -> None:
    job = succeeded(a_result(200, length=0, chunks=0))

    assert result(job).body == b""
    assert result(job, Range="bytes=0-").status == 416


# --- the final response in place of a 202 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", 304),
        ("Fri, 15 Jan 2027 07:59:59 GMT", 200),
        ("not a date", 200),
    ],
)
def test_a_result_with_a_date_of_its_own_is_not_sent_again(since: str, status: int) -> None:
    job = a_response(200, ("Last-Modified", "Fri, 15 Jan 2027 08:00:00 GMT"))
    request = a_request("GET", If_Modified_Since=since)

    assert document.result(job, SITE, request, cookies=False).status == status


def test_what_ends_in_time_is_answered_untouched() -> None:
    job = a_response(
        200, ("Set-Cookie", "a=1"), ("Cache-Control", "max-age=60"), ("Vary", "Accept")
    )

    response = document.final(job, SITE)

    assert response.headers == (
        ("Set-Cookie", "a=1"),
        ("Cache-Control", "max-age=60"),
        ("Vary", "Accept"),
        ("AsyncResult", "200"),
        ("Link", f'<{MONITOR}>; rel="monitor"'),
    )
    assert response.body == StoredBody(JOB_ID, 1, 0, 5)


def test_what_fails_in_time_is_a_problem() -> None:
    response = document.final(failed(), SITE)

    assert (response.status, members(response)["code"]) == (500, "handler-exception")


# --- problems: CONTRACT.md, section 5 --------------------------------------------------------------------------------


VALUES: dict[str, Any] = {"allow": "GET", "limit": 7, "length": 5}


@pytest.mark.parametrize("code", PROBLEMS)
def test_a_problem_is_one_of_rfc_9457(code: str) -> None:
    response = problem(code, **VALUES)

    found = members(response)
    status, title, detail = PROBLEMS[code]
    assert found == {
        "type": f"urn:deferit:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail.format(**VALUES),
        "code": code,
    }
    assert response.status == status
    assert response.header("Content-Type") == "application/problem+json"
    assert response.header("Cache-Control") == "no-store"
    assert response.header("X-Content-Type-Options") == "nosniff"
    assert response.header("Retry-After") == ("1" if status in {429, 503} else None)


def test_a_problem_has_a_detail_of_its_own_even_with_braces() -> None:
    assert members(problem("job-not-found", "{not} a format"))["detail"] == "{not} a format"


def test_every_failure_without_a_result_has_a_problem_of_the_same_status() -> None:
    assert {code: PROBLEMS[code][0] for code in NO_RESULT_STATUS} == NO_RESULT_STATUS


# --- other origins, and placeholders ---------------------------------------------------------------------------------


def test_another_origin_may_read_our_fields() -> None:
    response = Response(200, (("access-control-expose-headers", "X-Mine, etag"),))

    assert exposed(a_request(), response) is response
    found = exposed(a_request(Origin="https://spa.example"), response)
    assert found.header("Access-Control-Expose-Headers") == ", ".join(
        ["X-Mine", "etag", *(name for name in EXPOSED if name != "ETag")]
    )


@pytest.mark.parametrize(
    ("placeholder", "after"),
    [
        ((), (("Location", "/m"), ("Vary", "Prefer"))),
        (
            (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")),
            (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Location", "/m"), ("Vary", "Prefer")),
        ),
        (
            (("content-length", "0"), ("Content-Type", "text/html"), ("etag", "x")),
            (("Location", "/m"), ("Vary", "Prefer")),
        ),
        ((("location", "/theirs"),), (("Location", "/m"), ("Vary", "Prefer"))),
        (
            (("vary", "Origin"), ("Link", "</x>")),
            (("Link", "</x>"), ("Location", "/m"), ("Vary", "Origin, Prefer")),
        ),
    ],
)
def test_what_the_application_put_on_a_placeholder_stays(placeholder: Pairs, after: Pairs) -> None:
    response = Response(202, (("Location", "/m"), ("Vary", "Prefer")), b"body")

    assert in_place_of(placeholder, response) == Response(202, after, b"body")


def test_a_refusal_without_vary_leaves_theirs() -> None:
    response = in_place_of((("Vary", "Origin"),), Response(503))

    assert response.headers == (("Vary", "Origin"),)
