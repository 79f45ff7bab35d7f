"""Mode auto, where the end of the handler and the end of the waiting fall into one moment."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.contract.stage import PATIENCE, Said
from tests.contract.support import CountingStore, site
from tests.matrix import in_process

from deferit._core.commands import Create

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.clients import Answer
    from tests.contract.support import Framework, Site

ROUNDS = 200
ABREAST = 4
WAIT = 0.01
PIECE = b"piece" * 60_000
"""Longer than a stored piece of a body, so that some of it is held before the decision."""


@in_process
@pytest.mark.usefixtures("eager_threads")
@pytest.mark.parametrize("framework", ["starlette", "fastapi", "flask"])
def test_an_end_at_the_deadline_is_answered_or_stored_and_never_lost(framework: Framework) -> None:
    noise = random.Random(202)
    store = CountingStore()
    marks = {"race": {"mode": "auto", "wait": WAIT}}
    with site(framework, store=store, marks=marks) as shop, ThreadPoolExecutor(ABREAST) as threads:
        shop.stage.acts["end"] = lambda body: Said(201, parts(float(body), start))
        start = threading.Barrier(ABREAST, timeout=PATIENCE)

        def round_of_one(_: int) -> tuple[int, str | None]:
            answer = shop.post("/race/end", f"{WAIT + noise.uniform(-0.004, 0.002):f}".encode())
            return checked(shop, answer)

        ends = list(threads.map(round_of_one, range(ROUNDS)))
        shop.assert_nothing_left()
        calls = shop.stage.calls["end"]

    created = {command.job.id for command in store.written if isinstance(command, Create)}
    statuses = Counter(status for status, _ in ends)
    named = [job_id for _, job_id in ends if job_id]
    assert calls == ROUNDS
    assert set(statuses) <= {201, 202}
    assert len(named) == len(set(named))
    assert set(named) == created, statuses


def parts(seconds: float, start: threading.Barrier) -> Iterator[bytes]:
    """Send most at once, and end when the deadline is near: the moment is what is tested."""
    start.wait()
    yield PIECE
    threading.Event().wait(seconds)
    yield PIECE


def checked(shop: Site, answer: Answer) -> tuple[int, str | None]:
    """Return the status, and which job was stored if one was; the end has to be whole whichever it is."""
    if answer.status == 202:
        result = shop.result_of(answer["Location"])
        assert (result.status, result.body) == (201, PIECE * 2)
        return 202, answer.document["id"]
    assert (answer.status, answer.body) == (201, PIECE * 2)
    if "AsyncResult" not in answer:
        return 201, None
    return 201, answer["Link"].partition(">")[0].rpartition("/")[2]
