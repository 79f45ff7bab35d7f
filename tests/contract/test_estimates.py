"""CONTRACT.md §2 and §7: when a job will be finished, from what is seen of it and of others of its route."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from tests.contract.support import execute, id_of, stored
from tests.elsewhere.promises import IS_HERE
from tests.process.parts import eventually

from deferit._core.commands import Observe
from deferit._process.durations import ALL

if TYPE_CHECKING:
    from tests.contract.clients import Answer
    from tests.contract.conftest import Build
    from tests.contract.support import Site


def seconds_left(answer: Answer, member: str = "estimatedCompletion") -> float:
    return datetime.fromisoformat(answer.document[member]).timestamp() - time.time()


def running(shop: Site, seconds: float) -> str:
    """Return the monitor of a job that runs, on a route whose jobs took so long as everybody knows."""
    shop.stage.gated("gate")
    monitor = shop.defer("/always/gate")
    shop.stage.wait_for("gate")
    job = stored(shop.store, id_of(monitor))
    for name in (job.route, ALL):
        execute(shop.store, Observe(job.application, name, (seconds,) * 30))
    eventually(lambda: "estimatedCompletion" in shop.get(monitor).document)
    return monitor


def test_a_job_says_when_it_will_be_finished_as_others_of_its_route_were(build: Build) -> None:
    shop = build()
    monitor = running(shop, 40.0)

    accepted, polled = shop.post("/always/gate"), shop.get(monitor)

    # Where others run it, nobody knows in the moment of the 202 whether it will have to wait.
    for seen in (accepted, polled) if IS_HERE else (polled,):
        assert 35 < seconds_left(seen) <= 42
        assert seconds_left(seen) <= seconds_left(seen, "estimatedCompletionLatest") + 0.1
        assert seen.document["retryAfter"] == int(seen["Retry-After"])
        assert int(seen["Retry-After"]) == pytest.approx(seconds_left(seen) / 2, abs=1.1)


def test_a_job_that_waits_reckons_with_those_in_front_of_it(build: Build) -> None:
    shop = build(concurrency=1)
    running(shop, 40.0)
    shop.defer("/always/gate")

    answer = shop.post("/always/gate")

    # The one that runs is half done, as far as one can tell; then comes the next, then this one.
    assert answer.document["queuePosition"] == 1
    assert seconds_left(answer) == pytest.approx(20 + 40 + 40, abs=4)
    assert answer["Retry-After"] == "30"


def test_the_estimate_does_not_change_the_entity_tag(build: Build) -> None:
    shop = build()
    monitor = running(shop, 40.0)

    tag = shop.get(monitor)["ETag"]

    assert tag == f'W/"{stored(shop.store, id_of(monitor)).revision}"'
    assert shop.get(monitor, If_None_Match=tag).status == 304


def test_a_route_that_nobody_knows_has_no_estimate(shop: Site) -> None:
    shop.stage.gated("gate")

    answer = shop.post("/always/gate")

    assert answer.document["status"] == ("running" if IS_HERE else "accepted")
    assert "estimatedCompletion" not in answer.document
    assert "estimatedCompletionLatest" not in answer.document


def test_who_finds_no_room_is_asked_to_come_back_when_a_job_will_have_ended(build: Build) -> None:
    shop = build(concurrency=4, max_queue=1)
    running(shop, 40.0)
    for calls in range(2, 5):
        shop.defer("/always/gate")
        shop.stage.wait_for("gate", calls)
    shop.defer("/always/gate")

    refused = shop.post("/always/gate")

    assert (refused.status, refused.document["code"]) == (503, "queue-full")
    assert refused["Retry-After"] == "10"


def test_an_owner_with_too_many_jobs_is_asked_to_come_back_when_one_will_have_ended(
    build: Build,
) -> None:
    shop = build(max_jobs_per_owner=2, owner=lambda request: request.headers.get("X-Owner"))
    running(shop, 40.0)
    for _ in range(2):
        shop.defer("/always/gate", X_Owner="ada")

    refused = shop.post("/always/gate", X_Owner="ada")

    assert (refused.status, refused.document["code"]) == (429, "too-many-jobs")
    assert refused["Retry-After"] == "20"
