"""Child processes and their threads, without a web server around them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.executors.apps import unruly
from tests.executors.running import goes_on
from tests.servers.harness import until
from tests.servers.twins import followed

from deferit import ASGIMiddleware
from deferit.executors.processes import ProcessExecutor, _Child
from deferit.testing import a_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit._core.job import Job

PATIENCE = 60.0

SHOP = """
from flask import Flask
from deferit import WSGIMiddleware

app = Flask(__name__)
app.wsgi_app = WSGIMiddleware(app.wsgi_app, store="sqlite:///{folder}/jobs.db")
"""


class CanceledAsItEnds(_Child):
    """A child whose first job is canceled when it has ended, and nobody knows it yet."""

    def __init__(self, app: str, wake: threading.Semaphore, following: Job) -> None:
        self.lost: list[str] = []
        self._following: Job | None = following
        super().__init__(app, self._note, wake.release)

    def _note(self, job_id: str, attempt: int, reason: str) -> None:
        self.lost.append(f"{job_id}, attempt {attempt}: {reason}")

    def _run(self, job: Job) -> None:
        super()._run(job)
        following, self._following = self._following, None
        if following is not None:
            self.kill(job, patience=0.0)
            self._jobs.put(following)


def test_a_job_is_not_given_to_a_process_that_was_killed_as_the_one_before_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_of_a_child.py").write_text(SHOP.format(folder=tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    over = threading.Semaphore(0)
    child = CanceledAsItEnds("shop_of_a_child:app", over, following=a_job(2))
    try:
        child.give(a_job(1))
        assert over.acquire(timeout=PATIENCE)
        assert over.acquire(timeout=PATIENCE)

        assert child.is_idle  # it would rest, as after one that could not be started
        assert child.lost == []
    finally:
        child.terminate()
        child.join(0.0)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Speak with an application that has one child for its jobs."""
    store = f"sqlite:///{tmp_path / 'jobs.db'}"
    monkeypatch.setenv("DEFERIT_STORE", store)
    executor = ProcessExecutor("tests.executors.apps.unruly:app", workers=1)
    middleware = ASGIMiddleware(unruly.inner, store=store, executor=executor)
    yield TestClient(middleware)
    middleware.close()


def started(note: Path) -> int:
    """Return the process that a handler has started."""
    return int(until(lambda: note.read_text() if note.exists() else "", "the process to be noted"))


def test_a_cancel_ends_what_the_handler_has_started(client: Any, tmp_path: Path) -> None:
    note = tmp_path / "note"
    job = followed(client, client.post("/leaves", params={"note": str(note), "then": "wait"}))
    process = started(note)

    document = client.post(f"{job.monitor}/cancel").json()
    following = followed(client, client.post("/plain"))

    assert document["error"]["detail"] == "stopped"
    assert following.until_finished()["status"] == "succeeded"
    until(lambda: not goes_on(process), "what the handler has started to be gone")


def test_a_crash_is_seen_though_what_the_handler_has_forked_goes_on(
    client: Any, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    job = followed(client, client.post("/leaves", params={"note": str(note), "then": "exit"}))

    error = job.until_finished()["error"]
    following = followed(client, client.post("/plain"))

    assert "exit code 3" in error["message"]
    assert following.until_finished()["status"] == "succeeded"
    until(lambda: not goes_on(started(note)), "what the handler has started to be gone")
