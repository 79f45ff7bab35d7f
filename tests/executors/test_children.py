"""One child process and its thread, without a web process around them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deferit.executors.processes import _Child
from deferit.testing import a_job

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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
