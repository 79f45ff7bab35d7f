"""A process that executors have run a job: it imports and starts the application by itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from deferit._host import close_hosts, run_job
from deferit.exceptions import StartupFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOP = """
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from deferit import ASGIMiddleware, deferred

starts = []


@asynccontextmanager
async def lifespan(app):
    starts.append(1)
    if len(starts) == 1:
        raise RuntimeError("the database is away")
    yield {{"pool": "made by the start-up"}}


@deferred
async def uses_pool(request):
    return PlainTextResponse(request.state.pool)


def made():
    app = Starlette(lifespan=lifespan, routes=[Route("/pool", uses_pool, methods=["POST"])])
    app.add_middleware(ASGIMiddleware, store="sqlite:///{folder}/jobs.db", executor="worker")
    return app


web, hosted = made(), made()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "shop_of_a_host.py").write_text(SHOP.format(folder=tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("shop_of_a_host")
    close_hosts()


def test_what_could_not_start_is_started_as_a_whole_by_the_next_job(shop: Any) -> None:
    client = TestClient(shop.web)
    monitor = client.post("/pool").headers["Location"]
    job_id = monitor.rpartition("/")[2]
    with pytest.raises(StartupFailed, match="the database is away"):
        run_job("shop_of_a_host:hosted", job_id)
    before = client.get(monitor).json()["status"]

    run_job("shop_of_a_host:hosted", job_id)

    assert before == "accepted"
    assert client.get(f"{monitor}/result").text == "made by the start-up"
