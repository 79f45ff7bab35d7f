"""CONTRACT.md §4: the list of an owner's jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.contract.stage import Said
from tests.contract.support import BASE, execute, few, id_of
from tests.servers.harness import until

from deferit._core.commands import Create, Sweep
from deferit._core.job import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.clients import Answer
    from tests.contract.conftest import Build
    from tests.contract.support import Site

    from deferit import Request

ANN = {"X-Owner": "ann"}


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [job["id"] for job in answer.document["jobs"]]


def filled(shop: Site, count: int, owner: str = "ann", **changes: Any) -> list[str]:
    """Have another process accept jobs; return their ids, newest first."""
    marks = {"route": "x", "method": "POST", "ttl": 60.0, "owner": owner, **changes}
    jobs = [shop.middleware.engine.draft(**marks) for _ in range(count)]
    later = time.time() + 3600
    execute(
        shop.store,
        *(Create(job.claimed(job.created_at), b"", lease_until=later) for job in jobs),
    )
    return [job.id for job in reversed(jobs)]


def pages(shop: Site, url: str) -> Iterator[list[str]]:
    """Follow the links from page to page."""
    following: str | None = url
    while following:
        answer = shop.get(following, **ANN)
        yield ids(answer)
        following = next_of(answer)


def expired(shop: Site) -> None:
    """Have a job expire."""
    monitor = shop.defer("/fleeting/echo", **ANN)
    until(lambda: shop.get(monitor, **ANN).status == 410, "the job to expire")


def owner_of(request: Request) -> str | None:
    return request.headers.get("X-Owner")


def next_of(answer: Answer) -> str | None:
    """Return the link to the next page, which field and document give alike."""
    links = [link["href"] for link in answer.document["links"] if link["rel"] == "next"]
    fields = [value.partition(">")[0].strip("<") for value in answer.all("Link")]
    assert links == fields
    return links[0] if links else None


def test_the_list_has_the_owners_jobs_newest_first(owned: Site) -> None:
    first, second = owned.defer(**ANN), owned.defer(**ANN)
    owned.defer(X_Owner="ben")
    owned.defer()
    end = owned.end_of(second, **ANN)

    answer = owned.get("/jobs", **ANN)

    assert ids(answer) == [id_of(second), id_of(first)]
    assert answer.document["jobs"][0] == end.document
    assert answer.document["links"] == []
    assert "Link" not in answer
    assert (answer["Content-Type"], answer["X-Content-Type-Options"]) == (
        "application/json",
        "nosniff",
    )
    assert {"private", "no-store"} <= answer.members("Cache-Control")


def test_who_is_nobody_sees_nothing(owned: Site) -> None:
    owned.defer()
    owned.defer(**ANN)

    assert ids(owned.get("/jobs")) == []
    assert ids(owned.get("/jobs", X_Owner="eve")) == []


def test_a_head_request_has_the_head_of_the_list(owned: Site) -> None:
    owned.end_of(owned.defer(**ANN), **ANN)

    head, answer = owned.ask("HEAD", "/jobs", **ANN), owned.get("/jobs", **ANN)

    assert (head.status, head.body) == (200, b"")
    assert head["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_refused(owned: Site, method: str) -> None:
    answer = owned.ask(method, "/jobs", **ANN)

    assert (answer.status, answer.members("Allow")) == (405, {"GET", "HEAD"})
    assert answer.document["code"] == "method-not-allowed"


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_have_each_job_once(owned: Site, limit: int) -> None:
    made = filled(owned, 10)
    filled(owned, 3, "ben")

    found = [*pages(owned, f"/jobs?limit={limit}")]

    assert [job_id for page in found for job_id in page] == made
    assert {len(page) for page in found[:-1]} <= {limit}


def test_twenty_is_a_page_unless_the_client_says_otherwise(owned: Site) -> None:
    filled(owned, 21)

    assert [len(page) for page in pages(owned, "/jobs")] == [20, 1]


def test_a_full_last_page_has_no_next(owned: Site) -> None:
    filled(owned, 4)

    assert [len(page) for page in pages(owned, "/jobs?limit=2")] == [2, 2]


def test_cursors_stay_right_while_jobs_are_added_and_purged(owned: Site) -> None:
    made = filled(owned, 9)
    seen: list[str] = []

    for page in pages(owned, "/jobs?limit=2"):
        seen += page
        filled(owned, 3)
        owned.ask("DELETE", f"/jobs/{page[-1]}", **ANN)  # the one that the cursor names
        owned.ask("DELETE", f"/jobs/{page[-1]}", **ANN)

    assert seen == made


def test_the_link_keeps_the_filter(owned: Site) -> None:
    filled(owned, 3)

    link = next_of(owned.get("/jobs?status=running&limit=2", **ANN))

    assert link
    assert link.startswith(f"{BASE}/jobs?")
    query = parse_qs(urlsplit(link).query)
    assert (query["status"], query["limit"]) == (["running"], ["2"])
    assert len(ids(owned.get(link, **ANN))) == 1


def test_jobs_are_filtered_by_status(owned: Site) -> None:
    owned.stage.gated("slow")
    owned.stage.acts["fail"] = lambda _: Said(500)
    running = owned.defer("/always/slow", **ANN)
    owned.stage.wait_for("slow")
    by_status = {
        "running": running,
        "succeeded": owned.defer(**ANN),
        "failed": owned.defer("/always/fail", **ANN),
        "canceled": owned.defer("/always/slow", **ANN),
    }
    owned.ask("DELETE", by_status["canceled"], **ANN)
    owned.end_of(by_status["succeeded"], **ANN)
    owned.end_of(by_status["failed"], **ANN)

    for status in Status:
        found = ids(owned.get(f"/jobs?status={status}", **ANN))
        assert found == [id_of(by_status[status]) for _ in (0,) if status in by_status], status


@few
@pytest.mark.parametrize(
    "query",
    [
        *({"limit": value} for value in ("0", "101", "-1", "x", "", "1.5", "٣", "01001", "9" * 99)),
        *({"status": value} for value in ("done", "", "RUNNING", "cancelled")),
        *({"cursor": value} for value in ("", "x", "job_", "job_x' OR 1=1", "../job_")),
        {"limit": "5", "status": "running", "cursor": "no"},
    ],
    ids=str,
)
def test_a_parameter_that_cannot_be_read_is_refused(owned: Site, query: dict[str, str]) -> None:
    answer = owned.get(f"/jobs?{urlencode(query)}", **ANN)

    assert (answer.status, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.document["code"] == "invalid-parameter"
    assert next(iter(query)) in answer.document["detail"] or len(query) > 1


def test_unknown_parameters_are_ignored(owned: Site) -> None:
    owned.defer(**ANN)

    assert len(ids(owned.get("/jobs?sort=asc&x", **ANN))) == 1


def test_a_job_that_has_expired_is_not_listed(owned: Site) -> None:
    expired(owned)
    lasting = owned.defer(**ANN)

    before = ids(owned.get("/jobs", **ANN))
    execute(owned.store, Sweep(time.time()))
    after = ids(owned.get("/jobs", **ANN))

    assert before == after == [id_of(lasting)]


def test_expired_jobs_do_not_end_the_list_early(owned: Site) -> None:
    made = filled(owned, 2)
    for _ in range(3):
        expired(owned)

    assert [job_id for page in pages(owned, "/jobs?limit=1") for job_id in page] == made


def test_another_application_in_the_same_store_has_a_list_of_its_own(
    build: Build, variant: tuple[str, ...]
) -> None:
    if variant[2] == "memory":
        pytest.skip("a store in memory is not shared")
    one = build(application="one", owner=owner_of)
    other = build(application="other", owner=owner_of)
    monitor = one.defer(**ANN)

    assert ids(one.get("/jobs", **ANN)) == [id_of(monitor)]
    assert ids(other.get("/jobs", **ANN)) == []


def test_without_the_option_owner_the_path_is_the_applications(build: Build) -> None:
    shop = build(marks={"jobs": None, "always": {}})
    shop.defer()

    assert shop.get("/jobs").status == 404
    assert shop.get("/jobs/echo").status == 200  # a route of the application's
