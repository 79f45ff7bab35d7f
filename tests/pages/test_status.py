"""The status page as bytes: what stands in it, and what never does."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.samples import (
    JOB_ID,
    MONITOR,
    NOON,
    RESULT,
    SITE,
    a_job,
    a_result,
    canceled,
    failed,
    in_status,
    running,
    succeeded,
)
from tests.pages.reading import Page

from deferit._core.document import status_document
from deferit._core.estimate import Outlook, estimate
from deferit._core.job import Status
from deferit.pages.frame import POLICY
from deferit.pages.places import MONITOR as AT_MONITOR
from deferit.pages.places import Place
from deferit.pages.status import pretty, status_page

if TYPE_CHECKING:
    from deferit._core.job import Job

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
JSON = (("Content-Type", "application/json"),)


def rendered(
    job: Job, place: Place = AT_MONITOR, text: str = "", now: float = NOON, **members: Any
) -> bytes:
    outlook = Outlook(now, 0, estimate(job, now))
    document = status_document(job, SITE, now, outlook) | members
    return status_page(document, datetime.fromtimestamp(now, UTC).isoformat(), place, text)


def page(
    job: Job, place: Place = AT_MONITOR, text: str = "", now: float = NOON, **members: Any
) -> Page:
    return Page(rendered(job, place, text, now, **members))


def facts(shown: Page) -> dict[str, str]:
    names = [element.text for element in shown.all("dt")]
    return dict(zip(names, (element.text for element in shown.all("dd")), strict=True))


# --- for each status -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headline"),
    [
        (Status.ACCEPTED, "Waiting"),
        (Status.RUNNING, "Running"),
        (Status.SUCCEEDED, "Done"),
        (Status.FAILED, "Failed"),
        (Status.CANCELED, "Canceled"),
    ],
)
def test_the_headline_is_the_status(status: Status, headline: str) -> None:
    shown = page(in_status(status))

    assert shown.one("h1").text == headline
    assert shown.one("title").text == headline
    assert shown.one("header").attributes["class"] == status.value


def test_progress_and_message_are_shown() -> None:
    job = running().but(progress=42, message="sorting")

    shown = page(job, now=NOON + 1)

    bar = shown.one("progress")
    assert (bar.attributes["value"], bar.attributes["max"]) == ("42", "100")
    assert bar.attributes["aria-label"] == "Progress"
    assert shown.one("p", id="sentence").text == "sorting"
    assert shown.one("title").text == "42 % · Running"
    assert str(shown.one("main").attributes["data-summary"]).startswith("Running. 42 %. sorting")


def test_without_a_progress_the_bar_has_no_value() -> None:
    assert "value" not in page(running()).one("progress").attributes
    assert not page(a_job()).has("progress")


@pytest.mark.parametrize("job", [succeeded(), failed(), canceled()])
def test_what_is_finished_has_neither_bar_nor_button_and_never_asks_again(job: Job) -> None:
    shown = page(job.but(progress=100))

    assert not shown.has("progress")
    assert not shown.has("form")
    assert not [meta for meta in shown.all("meta") if "http-equiv" in meta.attributes]
    root = shown.one("html").attributes
    assert not {"data-refresh", "data-events"} & root.keys()


@pytest.mark.parametrize(
    ("position", "said"),
    [
        (0, "No other job is ahead of it."),
        (1, "1 job is ahead of it."),
        (12, "12 jobs are ahead of it."),
    ],
)
def test_a_waiting_job_tells_its_place_in_the_queue(position: int, said: str) -> None:
    shown = page(a_job(), queuePosition=position)
    spoken = page(a_job().but(message="started anew"), queuePosition=position)

    assert shown.one("p", id="sentence").text == said
    assert spoken.one("p", id="sentence").text == "started anew"
    assert facts(spoken)["Queue"] == said


def test_a_place_behind_a_thousand_is_not_told() -> None:
    document = status_document(a_job(), SITE, NOON, Outlook(NOON, 5_000))

    shown = Page(status_page(document, "2027-01-15T08:00:00Z"))

    assert shown.one("p", id="sentence").text == ""


def test_the_estimate_is_told_with_its_range() -> None:
    shown = page(
        running(),
        estimatedCompletion="2027-01-15T08:01:58.000Z",
        estimatedCompletionLatest="2027-01-15T08:03:50.000Z",
    )

    assert shown.one("p", id="left").text == "About 2 minutes left, at most 4"
    assert facts(shown)["Expected"] == "2027-01-15 08:01:58 UTC"


def test_an_estimate_that_is_unknown_is_not_told() -> None:
    assert not page(running()).has("p", id="left")


def test_the_attempt_is_told_from_the_second_on() -> None:
    first = running(repeatable=True)
    second = first.lost(NOON).claimed(NOON)

    assert "Attempt" not in facts(page(first))
    assert facts(page(second))["Attempt"] == "2"


def test_times_are_told() -> None:
    assert facts(page(succeeded())) == {
        "Accepted": "2027-01-15 08:00:00 UTC",
        "Started": "2027-01-15 08:00:00 UTC",
        "Finished": "2027-01-15 08:00:01 UTC",
        "Took": "1.0 seconds",
        "Kept until": "2027-01-15 09:00:01 UTC",
    }


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_result_is_linked() -> None:
    shown = page(succeeded(a_result(201, (("Content-Type", "application/pdf"),), length=34_000)))

    opened, downloaded = shown.all("a")
    assert (opened.attributes["href"], opened.text) == (RESULT, "Open the result")
    assert downloaded.attributes == {"class": "button", "href": RESULT, "download": None}
    assert shown.one("p", class_="aside").text == "status 201 · application/pdf · 34.0 kB"
    assert not shown.has("pre")


def test_a_result_that_can_be_read_is_shown() -> None:
    shown = page(succeeded(a_result(200, JSON)), text='{"pages":12}')

    text = shown.one("pre")
    assert text.text == '{\n  "pages": 12\n}'
    assert text.attributes["tabindex"] == "0"


def test_a_failure_is_told_and_its_answer_linked() -> None:
    shown = page(failed(a_result(422, JSON)), text="[]")

    assert shown.one("p", id="sentence").text == "The handler raised KeyError."
    assert shown.all("a")[0].text == "Open the answer"


def test_a_failure_without_an_answer_has_no_link() -> None:
    assert not page(failed()).has("a")


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("never started", "It was never started."),
        ("stopped", "It was stopped."),
        ("asked to stop", "It was asked to stop, and may take a moment to do so."),
        ("something new", "The job was canceled."),
    ],
)
def test_a_canceled_job_tells_what_is_guaranteed(detail: str, said: str) -> None:
    shown = page(a_job().canceled(NOON, detail))

    assert shown.one("p", id="sentence").text == said


@pytest.mark.parametrize(
    ("text", "content_type", "said"),
    [
        ('{"b":1,"a":"é"}', "application/json", '{\n  "b": 1,\n  "a": "é"\n}'),
        ("[1]", "application/problem+json", "[\n  1\n]"),
        ("[1]", "text/plain", "[1]"),
        ("{", "application/json", "{"),
        ("[" * 100_000, "application/json", "[" * 100_000),
    ],
)
def test_json_is_indented_if_it_is_some(text: str, content_type: str, said: str) -> None:
    assert pretty(text, content_type) == said


# --- without scripts, and with them ----------------------------------------------------------------------------------


def test_without_scripts_the_page_asks_again_as_retry_after_says() -> None:
    shown = page(running(), retryAfter=7)

    again = _refresh(shown)
    assert again.attributes["content"] == "7"
    assert again.inside == ("html", "head", "noscript")
    assert shown.one("html").attributes["data-refresh"] == "7"


def test_the_button_is_a_form_that_works_without_scripts() -> None:
    form = page(running()).one("form")

    assert (form.attributes["method"], form.attributes["action"]) == ("post", f"{MONITOR}/cancel")


def test_a_page_that_stands_for_another_answer_leads_on_at_once() -> None:
    shown = page(running(), Place(moves_on=True))

    again = _refresh(shown)
    assert again.attributes["content"] == f"0; url={MONITOR}"
    assert "noscript" not in again.inside
    assert shown.one("a").attributes["href"] == MONITOR
    assert shown.one("html").attributes["data-url"] == MONITOR


def test_a_page_in_place_of_the_result_looks_at_the_monitor_and_reloads_at_the_end() -> None:
    root = page(running(), Place(is_result=True)).one("html").attributes

    assert (root["data-url"], root["data-reload"]) == (MONITOR, "yes")


def test_a_server_that_does_one_thing_at_a_time_is_not_asked_for_a_stream() -> None:
    streaming, not_streaming = page(running()), page(running(), Place(is_streaming=False))

    assert streaming.one("html").attributes["data-events"] == f"{MONITOR}/events"
    assert "data-events" not in not_streaming.one("html").attributes


def _refresh(shown: Page) -> Any:
    (found,) = [meta for meta in shown.all("meta") if meta.attributes.get("http-equiv")]
    assert found.attributes["http-equiv"] == "refresh"
    return found


# --- what never stands in it -----------------------------------------------------------------------------------------


@given(message=st.text() | st.just(HOSTILE), text=st.text() | st.just(HOSTILE))
def test_whatever_a_handler_says_is_text(message: str, text: str) -> None:
    job = succeeded(a_result(200, (("Content-Type", HOSTILE),))).but(message=message)
    shown = rendered(running().but(message=HOSTILE + message)), rendered(job, text=text)

    for content in shown:
        parsed = Page(content)
        assert len(parsed.all("script")) == len(parsed.all("style")) == 1
        assert not parsed.has("img")
        assert not [name for one in parsed.elements for name in one.attributes if name[:2] == "on"]


def test_the_policy_names_style_and_script_by_the_bytes_that_are_served() -> None:
    content = rendered(running()).decode()

    for element in ("style", "script"):
        inlined = content.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = b64encode(hashlib.sha256(inlined.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}';" in POLICY
    assert "unsafe" not in POLICY
    assert content.count("<script") == content.count("<style") == 1


def test_nothing_in_a_page_needs_what_the_policy_forbids() -> None:
    shown = page(succeeded(a_result(200, JSON)), text="{}")

    for element in shown.elements:
        assert "style" not in element.attributes
        assert element.name not in {"iframe", "object", "base", "img"}
    (icon,) = shown.all("link")
    assert str(icon.attributes["href"]).startswith("data:image/svg+xml,")


def test_a_page_shows_the_id_and_nothing_of_the_request() -> None:
    content = rendered(running(owner="ada-the-owner", method="PATCH", route="POST /secret-path"))

    assert JOB_ID.encode() in content
    for secret in (b"ada-the-owner", b"PATCH", b"secret-path"):
        assert secret not in content
