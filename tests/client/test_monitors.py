"""What servers answer is read whichever way they write it."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferit._core.job import Status
from deferit.client.monitors import (
    Answer,
    cancel_of,
    holds,
    links,
    monitor_of,
    problem_of,
    result_of,
    retry_after,
    status_of,
)

BASE = "https://example.com/reports"


def answer(status: int = 202, document: Any = None, **fields: str) -> Answer:
    headers = httpx.Headers(
        [
            (name.replace("_", "-").encode(), value.encode("latin-1"))
            for name, value in fields.items()
        ]
    )
    return Answer(status, headers, BASE, at=0.0, date=1_000_000.0, document=document)


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"Location": "/jobs/1"}, "https://example.com/jobs/1"),
        ({"Location": "https://other.example/1"}, "https://other.example/1"),
        ({"Operation_Location": "jobs/1", "Location": "/2"}, "https://example.com/jobs/1"),
        ({"Azure_AsyncOperation": "/1", "Location": "/2"}, "https://example.com/1"),
        ({"Link": "</1>; rel=monitor", "Location": "/2"}, "https://example.com/1"),
        ({"Link": '</a>; rel="next monitor", </b>; rel=monitor'}, "https://example.com/a"),
        (
            {"Link": '</e>; rel="monitor"; type="text/event-stream", </1>; rel="monitor"'},
            "https://example.com/1",
        ),
    ],
)
def test_a_202_names_its_monitor(fields: dict[str, str], url: str) -> None:
    monitor = monitor_of(answer(202, **fields))

    assert monitor is not None
    assert monitor.url == url


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (202, {}),
        (202, {"Location": ""}),
        (202, {"Location": "mailto:somebody@example.com"}),
        (202, {"Location": "https://[broken"}),
        (202, {"Location": "https://example.com:port/"}),
        (202, {"Link": '</e>; rel="monitor"; type="text/event-stream"'}),
        (200, {"Location": "/1"}),
        (201, {"Location": "/1"}),
    ],
)
def test_other_answers_name_none(status: int, fields: dict[str, str]) -> None:
    assert monitor_of(answer(status, **fields)) is None


def test_a_201_that_was_asked_to_respond_asynchronously_counts() -> None:
    found = monitor_of(answer(201, Location="/1", Preference_Applied="respond-async"))

    assert found is not None
    assert not found.is_explicit


def test_a_201_that_names_an_operation_counts() -> None:
    found = monitor_of(answer(201, Azure_AsyncOperation="/1"))

    assert found is not None
    assert found.is_explicit


@given(st.text())
def test_any_text_can_be_read_as_links(text: str) -> None:
    for reference, parameters in links(text):
        assert "<" not in reference
        assert all(name == name.lower() for name in parameters)


parameters = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.from_regex(r'[^"\\\x00-\x1f]*', fullmatch=True)
)


@given(st.lists(st.tuples(st.from_regex(r"/[a-z0-9?=;,]*", fullmatch=True), parameters)))
def test_links_are_read_as_they_were_written(written: list[tuple[str, dict[str, str]]]) -> None:
    text = ", ".join(
        f"<{reference}>" + "".join(f'; {name}="{value}"' for name, value in found.items())
        for reference, found in written
    )

    assert list(links(text)) == written


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"status": "Succeeded"}, Status.SUCCEEDED),
        ({"status": "successful"}, Status.SUCCEEDED),
        ({"status": "In Progress"}, Status.RUNNING),
        ({"status": "NOT_STARTED"}, Status.ACCEPTED),
        ({"status": "dismissed"}, Status.CANCELED),
        ({"status": "cancelled"}, Status.CANCELED),
        ({"state": "ERROR"}, Status.FAILED),
        ({"properties": {"provisioningState": "Canceled"}}, Status.CANCELED),
        ({"status": "shipped"}, None),
        ({"status": 500}, None),
        ({"properties": []}, None),
        (None, None),
    ],
)
def test_every_server_has_its_words(document: Any, status: Status | None) -> None:
    assert status_of(document) is status


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "0"}, 0.0),
        ({"Retry_After": "9" * 5000}, 10.0**9),
        ({"Retry_After": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"Retry_After": formatdate(1, usegmt=True)}, 0.0),
        (
            {
                "Retry_After": formatdate(2_000_030, usegmt=True),
                "Date": formatdate(2_000_000, usegmt=True),
            },
            30.0,
        ),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-1"}, None),
        ({"Retry_After": "¾"}, None),
        ({}, None),
    ],
)
def test_when_to_ask_again_is_told_in_seconds_or_by_date(
    fields: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(answer(202, None, **fields)) == seconds


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_any_retry_after_is_read_without_complaint(value: str) -> None:
    found = retry_after(answer(Retry_After=value.strip()))

    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("document", "url"),
    [
        ({"resourceLocation": "/r"}, "https://example.com/r"),
        ({"resultStatus": 409, "resultUrl": "/r"}, "https://example.com/r"),
        ({"links": [{"rel": "result", "href": "/r"}]}, "https://example.com/r"),
        ({"resultUrl": "/r"}, None),
        ({"links": ["/r", {"rel": "self", "href": "/r"}]}, None),
        ({"links": {"rel": "result"}}, None),
        ({"resourceLocation": 1}, None),
    ],
)
def test_a_document_names_the_result_in_several_ways(document: Any, url: str | None) -> None:
    assert result_of(document, BASE) == url


def test_a_document_names_what_cancels_it() -> None:
    assert cancel_of({"cancelUrl": "/c"}, BASE) == "https://example.com/c"
    assert cancel_of({"cancelUrl": 1}, BASE) is None
    assert cancel_of(None, BASE) is None


def test_a_problem_is_an_error_or_the_document_itself() -> None:
    assert problem_of({"error": {"code": "a"}, "message": "b"}) == {"code": "a"}
    assert problem_of({"error": "broken"}) == {"message": "broken"}
    assert problem_of({"detail": "d", "status": 500}) == {"detail": "d"}
    assert problem_of(None) == {}


def test_a_server_says_that_it_holds_polls() -> None:
    stream = '</e>; rel="monitor"; type="text/event-stream"'

    assert holds(answer(document={"eventsUrl": "/e"}))
    assert holds(answer(Preference_Applied="respond-async, wait=10"))
    assert holds(answer(Link=stream))
    assert not holds(answer(Link="</m>; rel=monitor", document={"status": "running"}))
