"""Statements of docs/contract.md that clients rely on: schedules, ranges, lists, events."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.core import samples
from tests.description.sites import Visitor, visitor
from tests.description.states import FINISHED, PENDING
from tests.web.clients import BASE
from tests.web.sites import site

from deferit._core import document
from deferit._core.effects import Foresee, Now, Wait
from deferit._core.estimate import Outlook
from deferit._core.events import KEEP_ALIVE, Events
from deferit.options import options_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.clients import Answer
    from tests.web.conftest import Build
    from tests.web.sites import Framework, Site


@pytest.fixture(scope="module", params=["flask", "starlette"])
def framework(request: pytest.FixtureRequest) -> Framework:
    found: Framework = request.param
    return found


@pytest.fixture
def build(framework: Framework) -> Iterator[Build]:
    """Build a site with options of the test's own."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            site(framework, **{"store": "memory://", **options})
        )


@pytest.fixture
def shop(build: Build) -> Site:
    return build(routes={"POST /plain": {}})


# --- submitting -----------------------------------------------------------------------------------------------------


def test_refusals_have_an_order(build: Build) -> None:
    shop = build(max_body=5)
    key, long = {"Idempotency_Key": '"open'}, b"too long"

    statuses = [
        shop.post("/private", long, **key).status,
        shop.post("/pages", long, **key).status,
        shop.post("/pages", long, Idempotency_Key="k").status,
    ]

    assert statuses == [401, 400, 413]


def test_a_job_waits_for_its_window_and_says_so(build: Build) -> None:
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=3)
    shop = build(routes={"POST /plain": {"schedule": f"{opens.minute} {opens.hour} * * *"}})

    answer = shop.post("/plain")

    expected = datetime.fromisoformat(answer.document["estimatedCompletion"])
    assert expected == opens
    assert answer.document["status"] == "accepted"
    assert int(answer["Retry-After"]) == pytest.approx(3 * 3600, abs=61)


def test_the_pause_is_half_of_what_the_estimate_says_is_left() -> None:
    job = samples.running().reported(samples.NOON + 10, 25, None)

    shown = document.status_document(job, samples.SITE, samples.NOON + 20, None)

    # A quarter took ten seconds, so the rest takes thirty, of which ten have gone by.
    assert datetime.fromisoformat(shown["estimatedCompletion"]).timestamp() == samples.NOON + 40
    assert shown["estimatedCompletionLatest"] > shown["estimatedCompletion"]
    assert shown["retryAfter"] == 10


# --- Range -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_a_range_of_a_result(
    shop: Site, asked: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    monitor = shop.say(200, b"0123456789")

    answer = shop.result_of(monitor, Range=asked)

    assert answer.status == status
    assert answer.get("Content-Range") == content_range
    if body is None:
        assert answer.document["code"] == "range-not-satisfiable"
    else:
        assert answer.body == body


def test_a_result_that_is_no_200_has_no_ranges(shop: Site) -> None:
    answer = shop.result_of(shop.say(201, b"0123456789"), Range="bytes=0-1")

    assert (answer.status, answer.body) == (201, b"0123456789")


# --- the list --------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(framework: Framework) -> Iterator[Visitor]:
    """Who visits an application with a list."""
    with visitor(framework) as visits:
        yield visits


def test_the_list_has_ones_own_jobs_newest_first(owner: Visitor) -> None:
    ids = [owner.put("running"), owner.put("succeeded"), owner.put("canceled")]
    owner.put("somebody else's")

    assert [job["id"] for job in owner.ask("GET", "/jobs").document["jobs"]] == ids[::-1]
    assert [
        job["id"] for job in owner.ask("GET", "/jobs?status=succeeded").document["jobs"]
    ] == ids[1:2]


def test_a_job_of_nobody_is_never_listed(owner: Visitor, build: Build) -> None:
    owner.put("nobody's")
    shop = build(owner=lambda request: request.headers.get("X-User"))
    shop.defer("/pages")

    assert owner.ask("GET", "/jobs").document["jobs"] == []
    assert shop.get("/jobs").document == {"jobs": [], "links": []}
    assert shop.get("/jobs", X_User="ann").document == {"jobs": [], "links": []}


def test_pages_stay_right_while_jobs_are_added(owner: Visitor) -> None:
    ids = [owner.put("succeeded") for _ in range(5)]

    first = owner.ask("GET", "/jobs?limit=2")
    owner.put("succeeded")
    second = owner.ask("GET", next_page(first))
    third = owner.ask("GET", next_page(second))

    pages = [[job["id"] for job in page.document["jobs"]] for page in (first, second, third)]
    assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1]]
    assert first["Link"] == f'<{first.document["links"][0]["href"]}>; rel="next"'
    assert third.document["links"] == []
    assert "Link" not in third


def next_page(answer: Answer) -> str:
    href: str = answer.document["links"][0]["href"]
    return href.removeprefix(BASE)


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=101", "?limit=x", "?limit=", "?status=done", "?cursor=7"]
)
def test_a_query_that_cannot_be_read_is_400(owner: Visitor, query: str) -> None:
    answer = owner.ask("GET", f"/jobs{query}")

    assert (answer.status, answer.document["code"]) == (400, "invalid-parameter")


def test_without_owners_the_path_of_the_list_is_the_applications(shop: Site) -> None:
    assert shop.get("/jobs").body == b"the application's own /jobs"


# --- events ----------------------------------------------------------------------------------------------------------


def fields(event: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in event.decode().strip().splitlines())


def test_events_are_the_present_document_and_each_change_to_the_end() -> None:
    job = samples.a_job()
    steps = Events(job, samples.SITE, None).steps()

    said: list[bytes] = []
    changes = iter([job, samples.running(), samples.succeeded()])
    answer: object = None
    while True:
        try:
            step = steps.send(answer) if answer is not None else next(steps)
        except StopIteration:
            break
        answer = None
        match step:
            case bytes():
                said.append(step)
            case Wait(seconds=seconds):
                assert seconds == KEEP_ALIVE == 15
                answer = next(changes)
            case Foresee():
                answer = Outlook(samples.NOON + 2, 3)
            case Now():
                answer = samples.NOON + 2

    retry, present, comment, *rest = said
    assert retry.startswith(b"retry: ")
    assert comment == b": waiting\n\n"
    assert [fields(event)["event"] for event in (present, *rest)] == ["status"] * 3
    assert [fields(event)["id"] for event in (present, *rest)] == ["1", "2", "3"]
    documents = [json.loads(fields(event)["data"]) for event in (present, *rest)]
    assert [shown["status"] for shown in documents] == ["accepted", "running", "succeeded"]
    assert documents[0]["queuePosition"] == 3


def test_a_client_that_has_the_last_event_gets_204(shop: Site) -> None:
    monitor = shop.defer("/pages")
    shop.end_of(monitor)

    whole = shop.get(monitor + "/events")
    event = fields(whole.body.strip().split(b"\n\n")[-1])
    again = shop.ask("GET", monitor + "/events", {"Last-Event-ID": event["id"]})
    older = shop.ask("GET", monitor + "/events", {"Last-Event-ID": "1"})

    assert whole["Content-Type"] == "text/event-stream"
    assert json.loads(event["data"])["status"] == "succeeded"
    assert (again.status, again.body) == (204, b"")
    assert older.body == whole.body


def test_a_monitor_answers_events_to_who_prefers_them(shop: Site) -> None:
    monitor = shop.defer("/pages")
    shop.end_of(monitor)

    preferred = shop.get(monitor, Accept="text/event-stream")
    plain = shop.get(monitor, Accept="image/png, */*;q=0.1")

    assert preferred.body == shop.get(monitor + "/events").body
    assert plain["Content-Type"] == "application/json"
    assert "Accept" in plain["Vary"]


# --- options ---------------------------------------------------------------------------------------------------------


def test_an_option_in_the_environment_counts_unless_a_keyword_says_otherwise() -> None:
    environ = {
        "DEFERIT_STORE": "memory://",
        "DEFERIT_MAX_WAIT": "7.5",
        "DEFERIT_ROUTES": "POST /a, GET /b",
    }

    given = options_from({}, environ)
    overruled = options_from({"max_wait": 3}, environ)

    assert (given.max_wait, given.store.url, bool(given.routes)) == (7.5, "memory://", True)
    assert overruled.max_wait == 3


# --- DELETE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [*PENDING, *FINISHED])
def test_a_delete_cancels_what_is_pending_and_purges_what_is_finished(
    owner: Visitor, state: str
) -> None:
    url = f"/jobs/{owner.put(state)}"

    deleted, after = owner.ask("DELETE", url), owner.ask("GET", url)

    expected = (200, 200) if state in PENDING else (204, 404)
    assert (deleted.status, after.status) == expected
