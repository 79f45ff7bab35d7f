"""The mark `timeout`: a handler that runs too long is ended, and its result is 504 deadline-exceeded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.contract.support import id_of, stored
from tests.elsewhere.promises import tells_its_handlers

from deferit import ASGIMiddleware, JobCanceled, current_job, deferred

if TYPE_CHECKING:
    from starlette.requests import Request
    from tests.contract.conftest import Build
    from tests.contract.stage import Said
    from tests.contract.support import Site

SHORT: dict[str, Any] = {
    "short": {"timeout": 0.2, "retries": 5},
    "auto": {"mode": "auto", "wait": 20, "timeout": 0.2},
    "long": {"timeout": 60},
}


@pytest.fixture
def hasty(build: Build) -> Site:
    return build(marks=SHORT)


def test_a_handler_that_runs_too_long_fails_with_504(hasty: Site) -> None:
    hasty.stage.gated("gate")

    monitor = hasty.defer("/short/gate")
    document = hasty.end_of(monitor).document
    result = hasty.get(monitor + "/result")

    assert document["status"] == "failed"
    assert document["error"]["code"] == "deadline-exceeded"
    assert document["attempt"] == 1
    assert (result.status, result["AsyncResult"]) == (504, "504")
    assert result.document["code"] == "deadline-exceeded"


def test_a_handler_in_mode_auto_that_runs_too_long_is_answered_504(hasty: Site) -> None:
    hasty.stage.gated("gate")

    answer = hasty.post("/auto/gate")

    assert (answer.status, answer["AsyncResult"]) == (504, "504")
    assert answer.document["code"] == "deadline-exceeded"
    assert 'rel="monitor"' in answer["Link"]


def test_what_the_handler_answers_later_changes_nothing(hasty: Site) -> None:
    hasty.stage.gated("gate")
    monitor = hasty.defer("/short/gate")
    before = hasty.end_of(monitor)

    hasty.stage.open("gate")
    hasty.assert_nothing_left()

    assert hasty.get(monitor).body == before.body
    assert stored(hasty.store, id_of(monitor)).result is None


@tells_its_handlers
def test_a_handler_is_told_that_its_time_is_over(hasty: Site) -> None:
    def act(body: bytes) -> Said:
        job = current_job()
        assert job is not None
        try:
            while True:
                job.check()
        except JobCanceled:
            hasty.stage.note("told")
            raise

    hasty.stage.acts["loop"] = act

    hasty.end_of(hasty.defer("/short/loop"))

    hasty.stage.wait_for_note("told")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_task_of_an_async_handler_is_canceled(backend: Literal["asyncio", "trio"]) -> None:
    ended = threading.Event()

    @deferred(timeout=0.2)
    async def forever(_request: Request) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    app = Starlette(routes=[Route("/forever", forever, methods=["POST"])])
    with TestClient(ASGIMiddleware(app, store="memory://"), backend=backend) as client:
        monitor = client.post("/forever").headers["Location"]
        document = client.get(monitor, headers={"Prefer": "wait=20"}).json()
        result = client.get(monitor + "/result")

        assert ended.wait(20)
    assert document["error"]["code"] == "deadline-exceeded"
    assert result.status_code == 504


def test_a_handler_that_ends_in_time_is_left_alone(hasty: Site) -> None:
    assert hasty.result_of(hasty.defer("/long/echo", b"x")).body == b"x"
