"""The jobs page and its charts as bytes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.core.samples import MONITOR, NOON, SITE, a_job, canceled, failed, running, succeeded
from tests.pages.reading import Page

from deferit._core.document import status_document
from deferit.pages.chart import BARS, ENDS, HEIGHT, STEPS, WIDTH, Run, charts, past, quantile
from deferit.pages.jobs import Chosen, Newest, Row, jobs_page

if TYPE_CHECKING:
    from deferit._core.job import Job

URL = SITE.mount_url
NOTHING = Newest(Counter(), frozenset(), (), 1_000)
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


def row(job: Job, owner: str | None = None) -> Row:
    return Row(status_document(job, SITE, NOON, None), job.route, owner)


def page(*jobs: Job | Row, newest: Newest = NOTHING, **chosen: Any) -> Page:
    rows = [one if isinstance(one, Row) else row(one) for one in jobs]
    return Page(jobs_page(rows, newest, Chosen(URL, **chosen), NOON))


def counts(**statuses: int) -> Newest:
    return replace(NOTHING, statuses=Counter(statuses), routes=frozenset({"POST /a", "GET /b", ""}))


# --- the list --------------------------------------------------------------------------------------------------------


def test_a_job_is_listed_with_its_route_and_leads_to_its_page() -> None:
    shown = page(running(route="POST /reports"))

    link = shown.one("a", href=MONITOR)
    assert link.text == "POST /reports"
    assert "Running" in shown.one("li", class_="row running").text
    assert shown.one("form", method="post").attributes["action"] == f"{MONITOR}/cancel"
    assert shown.one("button", id=f"cancel-{a_job().id}").attributes["aria-label"] == (
        "Cancel POST /reports"
    )


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (a_job(), ""),
        (running().but(progress=42, message="sorting"), "42 % · sorting"),
        (succeeded(), "1.0 seconds"),
        (failed(), "1.0 seconds · The handler raised KeyError."),
        (canceled(), ""),
    ],
)
def test_a_job_tells_how_far_it_is_or_how_long_it_took(job: Job, said: str) -> None:
    assert page(job).one("p", class_="how").text == said


def test_what_is_finished_cannot_be_canceled() -> None:
    assert not page(succeeded()).has("form", method="post")


def test_only_operators_are_told_the_owner() -> None:
    assert "ada" not in page(row(running(owner="ada"))).one("main").text
    assert page(row(running(), "ada"), is_everybodys=True).one("span", class_="owner").text == "ada"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "There are no jobs yet."),
        ({"status": "failed"}, "There are no such jobs."),
        ({"route": "POST /a"}, "There are no such jobs."),
    ],
)
def test_an_empty_list_says_so(chosen: dict[str, Any], said: str) -> None:
    assert page(**chosen).one("li", id="nothing").text == said


def test_the_filter_offers_each_status_and_the_routes_there_are() -> None:
    shown = page(newest=counts(failed=2), status="failed", route="POST /gone")

    options = [option.attributes for option in shown.all("option")]
    assert [option["value"] for option in options] == [
        *("", "accepted", "running", "succeeded", "failed", "canceled"),
        *("", "GET /b", "POST /a", "POST /gone"),
    ]
    assert [option["value"] for option in options if "selected" in option] == [
        "failed",
        "POST /gone",
    ]
    assert shown.one("form", id="filter").attributes["action"] == URL


def test_counts_lead_to_what_they_count() -> None:
    shown = page(newest=counts(failed=1_234), status="failed", route="POST /a")

    failures = shown.one("li", id="count-failed")
    links = {link.text: link.attributes for link in shown.all("a") if "?" in str(link.attributes)}
    assert failures.text == "1,234 Failed"
    assert parse_qs(urlsplit(str(links["0 Done"]["href"])).query) == {
        "status": ["succeeded"],
        "route": ["POST /a"],
    }
    assert parse_qs(urlsplit(str(links["1,234 Failed"]["href"])).query) == {"route": ["POST /a"]}
    assert links["1,234 Failed"]["aria-current"] == "true"
    assert "newest 1,000 jobs" in shown.one("p", id="basis").text


def test_pages_lead_on_and_back() -> None:
    first = page(next_url=f"{URL}?cursor=x")
    last = page(is_first=False, status="failed")

    assert first.one("a", rel="next").attributes["href"] == f"{URL}?cursor=x"
    assert not first.has("a", id="to-newest")
    assert last.one("a", id="to-newest").attributes["href"] == f"{URL}?status=failed"
    assert not last.has("a", rel="next")
    assert not page().has("nav")


def test_the_list_asks_again_by_itself() -> None:
    shown = page()

    assert shown.one("html").attributes["data-refresh"] == "5"
    refreshes = [meta for meta in shown.all("meta") if "http-equiv" in meta.attributes]
    assert [meta.attributes["content"] for meta in refreshes] == ["30"]


@given(st.text() | st.just(HOSTILE))
def test_whatever_a_job_says_is_text(text: str) -> None:
    job = running().but(route=text, message=text, progress=1)
    newest = replace(NOTHING, routes=frozenset({text}))

    shown = page(row(job, text), newest=newest, route=text, next_url=text)

    assert len(shown.all("script")) == len(shown.all("style")) == 1
    assert not shown.has("img")
    assert not [name for one in shown.elements for name in one.attributes if name[:2] == "on"]


# --- the charts ------------------------------------------------------------------------------------------------------


RUNS = st.lists(
    st.builds(
        Run,
        at=st.floats(NOON - 1e6, NOON + 5),
        status=st.sampled_from(ENDS),
        seconds=st.none() | st.floats(0, 1e5),
    ),
    max_size=60,
)


@given(RUNS)
def test_every_run_that_is_young_enough_is_in_one_span(runs: list[Run]) -> None:
    shown = past(runs, NOON)

    young = [run for run in runs if NOON - run.at < shown.step * BARS]
    assert sorted(shown.runs, key=hash) == sorted(young, key=hash)
    assert len(shown.spans) == BARS
    assert shown.step in STEPS


@pytest.mark.parametrize(
    ("age", "step"), [(0, 60), (1_439, 60), (1_440, 300), (23 * 3_600, 3_600), (1e9, 86_400)]
)
def test_spans_are_as_small_as_they_can_be(age: float, step: int) -> None:
    assert past([Run(NOON - age, "failed", 1.0)], NOON).step == step


def test_the_last_span_ends_now() -> None:
    shown = past([Run(NOON, "failed", 1.0), Run(NOON - 61, "succeeded", 1.0)], NOON)

    assert [run.status for run in shown.spans[-1]] == ["failed"]
    assert [run.status for run in shown.spans[-2]] == ["succeeded"]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.9, 4.0), (1.0, 4.0)]
)
def test_a_quantile_is_one_of_the_values(share: float, expected: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_charts_tell_in_words_what_they_show() -> None:
    ends = [*["succeeded"] * 8, "failed", "canceled"]
    runs = [Run(NOON - 1, end, float(index + 1)) for index, end in enumerate(ends)]

    shown = Page(charts(past(runs, NOON)).encode())

    throughput, durations = shown.all("figcaption")
    assert throughput.text == "Throughput10 ended, 1 failed, 1 canceled"
    assert durations.text == "Time to runhalf within 5.0 seconds, nine of ten within 9.0 seconds"
    assert [svg.attributes["aria-hidden"] for svg in shown.all("svg")] == ["true", "true"]


def test_what_was_never_started_has_no_duration() -> None:
    shown = Page(charts(past([Run(NOON, "canceled", None)], NOON)).encode())

    assert [figure.attributes["id"] for figure in shown.all("figure")] == ["throughput"]


def test_without_a_past_there_is_no_chart() -> None:
    assert charts(past([], NOON)) == ""


@given(RUNS)
def test_no_bar_leaves_its_chart(runs: list[Run]) -> None:
    shown = Page(charts(past(runs, NOON)).encode())

    for bar in shown.all("rect"):
        x, y, width, height = (
            float(str(bar.attributes[name])) for name in ("x", "y", "width", "height")
        )
        assert 0 <= x <= x + width <= WIDTH
        assert -0.1 <= y <= y + height <= HEIGHT + 0.2
        assert height >= 0
