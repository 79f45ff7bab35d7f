"""A job whose record is damaged while it waits: its client is told, and everybody else is served."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.web.sites import FRAMEWORKS, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.sites import Framework, Site


@pytest.fixture(params=FRAMEWORKS)
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """One job at a time, so that the second waits while the first is at its gate."""
    framework: Framework = request.param
    store = f"sqlite:///{tmp_path / 'jobs.db'}"
    with site(framework, store=store, concurrency=1, owner=lambda r: r.headers.get("X-Me")) as made:
        yield made


def damage(folder: Path, monitor: str) -> None:
    with closing(sqlite3.connect(folder / "jobs.db")) as connection, connection:
        job_id = monitor.rpartition("/")[2]
        statement = "UPDATE jobs SET record = substr(record, 1, 40) WHERE id = ?"
        assert connection.execute(statement, (job_id,)).rowcount == 1


def test_its_client_is_told_and_the_others_are_served(built: Site, tmp_path: Path) -> None:
    first = built.defer("/gated/a")
    built.bench.wait_for("started a")
    damaged, other = built.defer("/pages", X_Me="ann"), built.defer("/pages")
    damage(tmp_path, damaged)
    with ThreadPoolExecutor(1) as threads:
        poll = threads.submit(built.end_of, damaged, X_Me="ann")
        built.bench.open("a")

        assert built.end_of(first).document["status"] == "succeeded"
        assert built.end_of(other).document["status"] == "succeeded"
        document = poll.result().document

    assert document["status"] == "failed"
    assert document["error"]["code"] == "interrupted"
    assert "record in the store was damaged" in document["error"]["message"]
    answer = built.get(damaged + "/result", X_Me="ann")
    assert (answer.status, answer["AsyncResult"]) == (500, "500")
    assert answer.document["code"] == "interrupted"
    assert built.get(damaged).status == 404
    assert [job["status"] for job in built.get("/jobs", X_Me="ann").document["jobs"]] == ["failed"]
    assert built.end_of(built.defer("/pages")).document["status"] == "succeeded"


def test_a_watcher_of_its_events_is_told(built: Site, tmp_path: Path) -> None:
    built.defer("/gated/a")
    built.bench.wait_for("started a")
    damaged = built.defer("/pages")
    with ThreadPoolExecutor(1) as threads:
        events = threads.submit(built.get, damaged + "/events")
        damage(tmp_path, damaged)
        built.bench.open("a")

        stream = events.result().body

    assert b'"status":"failed"' in stream
    assert b'"interrupted"' in stream


def test_a_running_job_whose_record_is_damaged_does_not_end_its_worker(
    built: Site, tmp_path: Path
) -> None:
    running = built.defer("/gated/a")
    built.bench.wait_for("started a")
    damage(tmp_path, running)
    built.bench.open("a")
    built.bench.wait_for("ended a")

    after = built.end_of(built.defer("/pages"))

    assert after.document["status"] == "succeeded"
    assert built.end_of(running).document["error"]["code"] == "interrupted"


def test_the_page_of_one_can_be_read(built: Site, tmp_path: Path) -> None:
    monitor = built.defer("/pages")
    built.end_of(monitor)
    damage(tmp_path, monitor)

    page = built.get(monitor, Accept="text/html")

    assert page.status == 200
    assert b"was damaged" in page.body
