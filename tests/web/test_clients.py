"""A job is seen through to its end by every client that tests of applications use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.web.apps.bench import PAGES
from tests.web.sites import CLIENTS, FRAMEWORKS, Framework, Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIRS = [(framework, client) for framework in FRAMEWORKS for client in CLIENTS[framework]]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def lasting(request: pytest.FixtureRequest) -> Iterator[Site]:
    framework: Framework
    framework, client = request.param
    with site(framework, client=client) as built:
        yield built


@pytest.fixture
def connected(lasting: Site) -> Iterator[Site]:
    yield lasting
    lasting.bench.clear()


def test_a_job_is_seen_through_to_its_end(connected: Site) -> None:
    monitor = connected.defer("/pages")

    end = connected.end_of(monitor).document
    assert end["status"] == "succeeded"
    result = connected.get(end["resourceLocation"])
    assert (result.status, result.body) == (201, PAGES)


@pytest.mark.parametrize("path", ["/gated/x", "/gated-thread/x"])
def test_the_202_leaves_while_the_handler_runs(connected: Site, path: str) -> None:
    monitor = connected.defer(path)

    connected.bench.wait_for("started x")
    assert connected.get(monitor).document["status"] == "running"
    connected.bench.open("x")
    assert connected.end_of(monitor).document["status"] == "succeeded"


def test_a_job_is_canceled(connected: Site) -> None:
    monitor = connected.defer("/gated/canceled")
    connected.bench.wait_for("started canceled")

    assert connected.delete(monitor).document["status"] == "canceled"
    assert connected.get(monitor).document["status"] == "canceled"
    assert connected.get(monitor + "/result").status == 410


def test_a_handler_that_raises_makes_a_failed_job(connected: Site) -> None:
    end = connected.end_of(connected.defer("/boom")).document

    assert (end["status"], end["error"]["code"]) == ("failed", "handler-exception")


def test_many_jobs_at_once_each_get_their_own_answer(connected: Site) -> None:
    monitors = {name: connected.defer(f"/gated/{name}") for name in "abcdefghijklmnop"}

    connected.bench.open(*monitors)
    for name, monitor in monitors.items():
        assert connected.result_of(monitor).body == name.encode()
