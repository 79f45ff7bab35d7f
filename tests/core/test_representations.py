"""JSON for programs, a page for people: CONTRACT.md, sections 1 to 4 and 7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from tests.core.samples import (
    CAPTURED,
    JOB_ID,
    MONITOR,
    NOON,
    RESULT,
    Driven,
    a_job,
    a_result,
    a_submission,
    a_visit,
    canceled,
    code_of,
    failed,
    running,
    succeeded,
    values,
)
from tests.pages.reading import Page as Shown

from deferit._core.commands import Cancel
from deferit._core.effects import Foresee, Stop, Wait
from deferit._core.estimate import Outlook
from deferit._core.flow import Target, answer, submit
from deferit._core.prefer import Prefer
from deferit._core.queries import Get, Load
from deferit._core.representations import (
    JSON,
    LONGEST_TEXT,
    Page,
    is_readable,
    representation,
    text_of,
)

if TYPE_CHECKING:
    from deferit._core.http import Pairs, Response
    from deferit._core.job import Job

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HTML = "text/html; charset=utf-8"
TEXT = (("Content-Type", "text/plain"),)
PAGE = Page()


def asked(job: Job, resource: str = "", method: str = "GET", **headers: str) -> Driven:
    """Return the flow of a mounted route once its job was read, as a browser asks for it."""
    visit = a_visit(method, **{"Accept": BROWSER, **headers})
    driven = Driven(answer(visit, Target(JOB_ID, resource)))
    assert driven.effect == Get(JOB_ID)
    driven.answer(job)
    return driven


def ended(driven: Driven) -> Response:
    """Return the answer; what is foreseen is all that the flow may still ask for."""
    if isinstance(driven.effect, Foresee):
        driven.answer(Outlook(NOON))
    return driven.end


def shown(response: Response) -> Shown:
    assert response.header("Content-Type") == HTML
    assert values(response, "Content-Security-Policy") != []
    assert isinstance(response.body, bytes)
    return Shown(response.body)


# --- submitting ------------------------------------------------------------------------------------------------------


def submitted(prefer: Prefer | None = None, accept: str = BROWSER) -> Response:
    driven = Driven(submit(a_submission(0.0, prefer or Prefer(), Accept=accept)))
    driven.answer(CAPTURED)
    driven.answer(running())
    return ended(driven)


def test_a_browsers_form_gets_the_202_with_a_page_that_moves_on() -> None:
    response, json = submitted(), submitted(accept="*/*")

    own = {"Content-Type", "Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"}
    assert response.status == json.status == 202
    assert [pair for pair in response.headers if pair[0] not in own] == [
        pair for pair in json.headers if pair[0] not in own
    ]
    assert response.header("Vary") == "Prefer, Accept"
    assert response.header("Referrer-Policy") == "no-referrer"
    refreshes = [meta for meta in shown(response).all("meta") if "http-equiv" in meta.attributes]
    assert [meta.attributes["content"] for meta in refreshes] == [f"0; url={MONITOR}"]


def test_a_minimal_202_has_no_page() -> None:
    response = submitted(Prefer(minimal=True))

    assert response.body == b""
    assert response.header("Content-Type") is None
    assert response.header("Content-Security-Policy") is None


# --- the monitor -----------------------------------------------------------------------------------------------------


def test_a_browser_is_shown_where_a_job_stands() -> None:
    response = ended(asked(running()))

    assert response.status == 202
    assert response.header("Location") == MONITOR
    assert response.header("Retry-After") == "1"
    assert response.header("Cache-Control") == "private, no-cache"
    assert response.header("Vary") == "Prefer, Accept"
    assert response.header("X-Content-Type-Options") == "nosniff"
    assert response.header("Referrer-Policy") == "no-referrer"
    assert shown(response).one("h1").text == "Running"


def test_a_waiting_job_tells_a_browser_its_place() -> None:
    driven = asked(a_job())

    assert driven.effect == Foresee(a_job())
    driven.answer(Outlook(NOON, 3))
    assert shown(driven.end).one("p", id="sentence").text == "3 jobs are ahead of it."


@pytest.mark.parametrize("job", [running(), succeeded()])
def test_page_and_document_have_entity_tags_of_their_own(job: Job) -> None:
    tag = PAGE.tag(job)

    assert tag != JSON.tag(job)
    assert tag.startswith("W/") == (not job.is_finished)
    assert ended(asked(job)).header("ETag") == tag
    unchanged = ended(asked(job, If_None_Match=tag))
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert unchanged.header("ETag") == tag
    assert ended(asked(job, If_None_Match=JSON.tag(job))).status != 304
    assert ended(asked(job, Accept="*/*", If_None_Match=tag)).status != 304


def test_a_change_is_waited_for_by_the_pages_own_tag() -> None:
    same = asked(running(), Prefer="wait=5", If_None_Match=PAGE.tag(running()))
    other = asked(running(), Prefer="wait=5", If_None_Match=JSON.tag(running()))

    assert same.effect == Wait(running(), 5, 2)
    assert other.effect == Foresee(running())


def test_the_page_of_a_server_without_threads_takes_no_stream() -> None:
    visit = a_visit(Accept=BROWSER)
    shown_by = {
        key: representation(replace(visit.request, scope=scope))
        for key, scope in {
            "asgi": {},
            "threads": {"wsgi.multithread": True},
            "one": {"wsgi.multithread": False},
        }.items()
    }

    streaming = {
        key: isinstance(found, Page) and found.place.is_streaming for key, found in shown_by.items()
    }
    assert streaming == {"asgi": True, "threads": True, "one": False}


# --- the result ------------------------------------------------------------------------------------------------------


def test_a_browser_that_asks_for_a_result_too_early_is_shown_the_page() -> None:
    response = ended(asked(running(), "result"))

    assert (response.status, response.header("Location")) == (202, RESULT)
    assert response.header("Retry-After") == "1"
    assert response.header("Vary") == "Prefer, Accept"
    assert shown(response).one("html").attributes["data-reload"] == "yes"


def test_a_browser_gets_the_result_itself_once_it_is_there() -> None:
    response = asked(succeeded(a_result(201, TEXT)), "result").end

    assert (response.status, response.header("Content-Type")) == (201, "text/plain")
    assert response.header("Content-Security-Policy") is None


def test_a_short_text_is_read_and_shown() -> None:
    driven = asked(succeeded(a_result(200, TEXT)))

    assert driven.effect == Load(JOB_ID, 1, 0)
    driven.answer("grüße".encode())
    assert shown(driven.end).one("pre").text == "grüße"


@pytest.mark.parametrize(
    ("headers", "length", "expected"),
    [
        (TEXT, 1, True),
        ((("content-type", "application/json; charset=utf-8"),), 1, True),
        ((("Content-Type", "application/problem+json"),), 1, True),
        ((("Content-Type", "text/csv"),), LONGEST_TEXT, True),
        ((("Content-Type", "text/csv"),), LONGEST_TEXT + 1, False),
        (TEXT, 0, False),
        ((), 1, False),
        ((("Content-Type", "text/html"),), 1, False),
        ((("Content-Type", "application/pdf"),), 1, False),
        ((("Content-Type", "image/svg+xml"),), 1, False),
        ((*TEXT, ("Content-Encoding", "gzip")), 1, False),
        ((*TEXT, ("Content-Disposition", "attachment; filename=x.txt")), 1, False),
        ((*TEXT, ("Content-Disposition", "inline")), 1, True),
        ((*TEXT, ("Cache-Control", "private, No-Store")), 1, False),
    ],
)
def test_only_short_texts_are_shown(headers: Pairs, length: int, expected: bool) -> None:
    assert is_readable(succeeded(a_result(200, headers, length=length))) == expected


def test_a_job_without_a_result_shows_none() -> None:
    assert not is_readable(failed())


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/plain", b"\xe9", ""),
        ("text/plain; charset=nonsense", b"x", ""),
        ("text/plain; charset=zlib", b"x", ""),
    ],
)
def test_a_text_is_decoded_as_it_says(content_type: str, body: bytes, text: str) -> None:
    job = succeeded(a_result(200, (("Content-Type", content_type),)))

    assert text_of(job, body) == text


# --- cancel ----------------------------------------------------------------------------------------------------------


def leads_on(response: Response) -> bool:
    page = shown(response)
    (again,) = [meta for meta in page.all("meta") if "http-equiv" in meta.attributes]
    return again.attributes["content"] == f"0; url={MONITOR}"


def test_the_button_leads_back_to_the_page() -> None:
    driven = Driven(answer(a_visit("POST", Accept=BROWSER), Target(JOB_ID, "cancel")))
    driven.answer(running())
    assert driven.effect == Stop(running())
    driven.answer("stopped")
    assert driven.answer(NOON) == Cancel(JOB_ID, 1, NOON, "stopped")
    driven.answer(running().canceled(NOON, "stopped"))

    assert driven.end.status == 200
    assert leads_on(driven.end)
    assert shown(driven.end).one("h1").text == "Canceled"


@pytest.mark.parametrize(
    ("job", "status"), [(canceled(), 200), (succeeded(), 409), (failed(), 409)]
)
def test_a_button_that_was_pressed_too_late_leads_back_too(job: Job, status: int) -> None:
    response = asked(job, "cancel", "POST").end
    json: Any = asked(job, "cancel", "POST", Accept="*/*").end

    assert response.status == json.status == status
    assert leads_on(response)
    assert status == 200 or code_of(json) == (409, "job-already-finished")
