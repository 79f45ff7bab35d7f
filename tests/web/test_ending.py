"""CONTRACT.md §4 and §5: how a job is canceled, purged, and expires."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.elsewhere.promises import IS_HERE, after_cancel, tells_its_handlers
from tests.stores.places import chosen, fresh
from tests.web.apps.bench import CANCELED, ORDERS
from tests.web.clients import BASE
from tests.web.sites import Site, keep, saying, site

from deferit._core.ids import make_id
from deferit._core.job import TOMBSTONE, Failure, Job
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Build
    from tests.web.sites import Framework

UNKNOWN = f"{BASE}/jobs/job_{26 * '0'}"


def running(site: Site, path: str = "/gated/a") -> str:
    monitor = site.defer(path)
    site.bench.wait_for(f"started {path.rpartition('/')[2]}")
    return monitor


@pytest.fixture(params=["DELETE M", "POST M/cancel"])
def how(request: pytest.FixtureRequest) -> tuple[str, str]:
    method, url = request.param.split()
    return method, url.removeprefix("M")


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_a_running_job_is_canceled(shared: Site, how: tuple[str, str]) -> None:
    monitor = running(shared)
    method, rest = how

    answer = shared.ask(method, monitor + rest)

    document = answer.document
    assert (answer.status, document["status"], document["done"]) == (200, "canceled", True)
    assert answer["Content-Type"] == "application/json"
    assert document["error"]["code"] == "job-canceled"
    assert "resourceLocation" not in document
    assert shared.get(monitor).document == document


def test_a_waiting_job_that_is_canceled_was_never_started(
    build: Build, how: tuple[str, str]
) -> None:
    site = build(concurrency=1)
    running(site)
    method, rest = how
    monitor = site.defer("/gated/b")

    document = site.ask(method, monitor + rest).document
    site.bench.open("a")
    last = site.end_of(site.defer("/pages"))

    assert (document["status"], document["error"]["detail"]) == ("canceled", "never started")
    assert not document.keys() & {"started", "attempt"}
    assert last.status == 200
    assert "started b" not in site.bench.notes


def test_an_async_handler_is_stopped(shared: Site, how: tuple[str, str]) -> None:
    if shared.framework == "flask":
        pytest.skip("Flask runs handlers in threads")
    monitor = running(shared)
    method, rest = how

    document = shared.ask(method, monitor + rest).document

    assert document["error"]["detail"] == after_cancel("stopped")
    assert "ended a" not in shared.bench.notes


def test_an_async_handler_that_takes_a_moment_to_stop_is_stopped_too(shared: Site) -> None:
    if shared.framework == "flask":
        pytest.skip("Flask runs handlers in threads")
    monitor = running(shared, "/reluctant")

    assert shared.delete(monitor).document["error"]["detail"] == after_cancel("stopped")


def test_a_handler_in_a_thread_is_asked_to_stop(shared: Site) -> None:
    monitor = running(shared, "/gated-thread/a")

    assert shared.delete(monitor).document["error"]["detail"] == after_cancel("asked to stop")


@tells_its_handlers
def test_what_a_handler_answers_after_the_cancel_changes_nothing(build: Build) -> None:
    site = build(concurrency=1)
    monitor = running(site, "/gated-thread/a")
    canceled = site.delete(monitor)
    site.bench.open("a")
    site.bench.wait_for("ended a")
    site.end_of(site.defer("/pages"))  # the only slot is free again: the late end was dealt with

    after = site.get(monitor)

    assert after["ETag"] == canceled["ETag"]
    assert after.document == canceled.document
    assert site.get(monitor + "/result").document["code"] == "job-canceled"


@pytest.mark.parametrize("path", ["/tracking", "/counting"])
def test_a_handler_that_tracks_ends_when_it_next_reports(build: Build, path: str) -> None:
    site = build(concurrency=1)
    monitor = site.defer(path)
    site.bench.wait_for("order 0")

    site.delete(monitor)
    if not IS_HERE:
        site.bench.note(CANCELED)
    site.bench.open(*ORDERS)
    site.end_of(site.defer("/pages"))  # the only slot is free again: the handler has ended

    assert [note for note in site.bench.notes if note in ORDERS] == ["order 0"]


def test_a_canceled_job_has_no_result(shared: Site, how: tuple[str, str]) -> None:
    monitor = running(shared)
    method, rest = how
    shared.ask(method, monitor + rest)

    answer = shared.get(monitor + "/result")

    assert (answer.status, answer.document["code"]) == (410, "job-canceled")
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Cache-Control"] == "no-store"


def test_a_client_that_waits_hears_of_the_cancel(shared: Site) -> None:
    monitor = running(shared)
    other = threading.Timer(0.1, shared.delete, [monitor])
    other.start()

    answer = shared.get(monitor, Prefer="wait=20")

    other.join()
    assert (answer.status, answer.document["status"]) == (200, "canceled")


def test_a_second_cancel_is_fine(shared: Site) -> None:
    monitor = running(shared)
    first = shared.post(monitor + "/cancel")

    second = shared.post(monitor + "/cancel")

    assert (second.status, second.document) == (200, first.document)


@pytest.mark.parametrize("status", [200, 500])
def test_a_finished_job_cannot_be_canceled(shared: Site, status: int) -> None:
    monitor = shared.say(status)
    before = shared.end_of(monitor)

    answer = shared.post(monitor + "/cancel")

    assert (answer.status, answer.document["code"]) == (409, "job-already-finished")
    assert shared.get(monitor).document == before.document


# --- purge -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 500])
def test_a_finished_job_is_purged(shared: Site, status: int) -> None:
    monitor = shared.say(status, 300_000 * b"x")
    shared.end_of(monitor)

    answer = shared.delete(monitor)

    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Length" not in answer
    for method, rest in (("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", "/cancel")):
        assert shared.ask(method, monitor + rest).status == 404


def test_a_second_delete_purges(shared: Site) -> None:
    monitor = running(shared)

    statuses = [shared.delete(monitor).status for _ in range(3)]

    assert statuses == [200, 204, 404]


# --- If-Match --------------------------------------------------------------------------------------------------------


def test_a_job_that_is_not_what_if_match_names_is_left_alone(shared: Site) -> None:
    monitor = running(shared)
    pending = shared.get(monitor)["ETag"]

    refused = shared.delete(monitor, If_Match='W/"999"')
    shared.bench.open("a")
    end = shared.end_of(monitor)
    late = shared.delete(monitor, If_Match=pending)

    for answer in (refused, late):
        assert (answer.status, answer.document["code"]) == (412, "precondition-failed")
    assert end.document["status"] == "succeeded"
    assert shared.delete(monitor, If_Match=f'"x", {end["ETag"]}').status == 204


def test_a_job_that_is_not_what_if_match_names_is_not_canceled(
    shared: Site, how: tuple[str, str]
) -> None:
    method, rest = how
    monitor = running(shared)

    refused = shared.ask(method, monitor + rest, {"If-Match": '"999"'})

    assert (refused.status, refused.document["code"]) == (412, "precondition-failed")
    assert shared.get(monitor).document["status"] == "running"
    shared.bench.open("a")


def test_a_job_that_has_ended_since_is_not_purged(shared: Site) -> None:
    monitor = shared.say()
    shared.end_of(monitor)

    refused = shared.delete(monitor, If_Unmodified_Since="Wed, 21 Oct 2015 07:28:00 GMT")

    assert (refused.status, refused.document["code"]) == (412, "precondition-failed")
    assert shared.get(monitor).status == 200


def test_a_pending_job_may_be_named_by_its_tag(shared: Site) -> None:
    monitor = running(shared)

    answer = shared.delete(monitor, If_Match=shared.get(monitor)["ETag"])

    assert (answer.status, answer.document["status"]) == (200, "canceled")


def test_if_match_of_any_fits_every_job(shared: Site) -> None:
    assert shared.delete(running(shared), If_Match="*").status == 200


# --- 404 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", "/cancel")]
)
def test_a_purged_job_is_told_from_an_unknown_one_by_nothing(
    shared: Site, method: str, rest: str
) -> None:
    monitor = shared.say()
    shared.end_of(monitor)
    shared.delete(monitor)

    purged, unknown = (shared.ask(method, url + rest) for url in (monitor, UNKNOWN))

    assert purged == unknown
    assert purged.status == 404


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_a_job_whose_time_to_live_has_run_out_is_gone(shared: Site) -> None:
    monitor = shared.say(url="/brief")
    gone(shared, monitor)

    for method, rest in (("GET", ""), ("GET", "/result"), ("DELETE", ""), ("POST", "/cancel")):
        answer = shared.ask(method, monitor + rest)
        assert (answer.status, answer.document["code"]) == (410, "job-expired")
        assert answer["Cache-Control"] == "no-store"


def gone(site: Site, monitor: str) -> None:
    """Wait until a job with a time to live of zero has ended."""
    deadline = time.monotonic() + 20
    while site.get(monitor, Prefer="wait=1").status != 410:
        assert time.monotonic() < deadline


def test_an_expired_job_without_a_result_is_gone_too(shared: Site) -> None:
    monitor = shared.defer("/brief", b"no JSON")

    gone(shared, monitor)


@pytest.fixture
def long_ago(framework: Framework, request: pytest.FixtureRequest) -> Iterator[tuple[Site, Job]]:
    """A job that was over a moment more than a tombstone's time ago, in a site that sweeps often."""
    kind: str = request.param
    store = store_from_url(fresh(kind))
    job = expired(time.time() - TOMBSTONE)
    keep(store, job)
    with site(framework, store=store if kind == "memory" else store.url, lease=1) as built:
        yield built, job


def expired(at: float) -> Job:
    draft = Job(
        id=make_id(at, secrets.token_bytes(16)),
        application="asgi:default",
        route="POST /x",
        method="POST",
        created_at=at - 1,
        updated_at=at - 1,
        due_at=at - 1,
        ttl=1,
    )
    return draft.claimed(at - 1).ended(at - 1, None, Failure("interrupted", "A message."))


@pytest.mark.parametrize("long_ago", chosen("memory", "sqlite"), indirect=True)
def test_a_tombstone_is_forgotten_after_a_day(long_ago: tuple[Site, Job]) -> None:
    site, job = long_ago
    monitor = f"{BASE}/jobs/{job.id}"
    deadline = time.monotonic() + 20

    while site.get(monitor, Prefer="wait=1").status == 410:
        assert time.monotonic() < deadline

    assert site.get(monitor) == site.get(UNKNOWN)


def test_a_job_that_is_not_finished_never_expires(shared: Site) -> None:
    monitor = shared.defer("/brief", b'{"status": 200}', Prefer="respond-async")
    pending = running(shared)

    gone(shared, monitor)

    assert shared.get(pending).document.keys().isdisjoint({"expires", "finished"})
    assert shared.get(pending).status == 202


def test_a_finished_job_is_kept_as_long_as_the_option_says(build: Build) -> None:
    site = build(retention=3600)

    document = site.end_of(site.defer("/say", saying())).document

    assert document["expires"][14:] == document["finished"][14:]  # but for the hour
