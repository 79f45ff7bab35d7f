"""How many jobs a second are done from the first's submission to the last's end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.exchange import Connection, flood, request
from benchmarks.load import CONNECTIONS
from benchmarks.servers import ContestantFailed

if TYPE_CHECKING:
    from benchmarks.record import Effort, Sample
    from benchmarks.servers import Running

JOBS = 2_000
FINISHES_IN = 60.0
"""Seconds in which all jobs have to be finished."""


def drain(server: Running, _: Effort) -> Sample:
    """Submit jobs as fast as they are taken; the clock stops when the last ones of each connection are finished.

    That the others are finished too is looked at afterwards, if need be with the clock going on.
    """
    server.finish_one()
    submission = server.submission()
    begun = time.perf_counter()
    answers = flood(server.url, [submission] * JOBS)
    monitors = [server.monitor(answer) for answer in answers]
    if not server.contestant.is_bare:
        _await(server, monitors[-CONNECTIONS:])
    seconds = time.perf_counter() - begun
    if _unfinished(server, monitors):
        _await(server, monitors)
        seconds = time.perf_counter() - begun
    return {"rate": JOBS / seconds, "seconds": seconds}


def _await(server: Running, monitors: list[str]) -> None:
    deadline = time.monotonic() + FINISHES_IN
    with Connection(server.url) as connection:
        for monitor in monitors:
            while connection.ask(request("GET", monitor)).status == 202:
                if time.monotonic() > deadline:
                    raise ContestantFailed(f"{server.name}: {monitor} not done in {FINISHES_IN} s")
                time.sleep(0.001)


def _unfinished(server: Running, monitors: list[str]) -> int:
    """Return how many are not finished yet."""
    answers = flood(server.url, [request("GET", monitor) for monitor in monitors])
    wrong = [answer for answer in answers if answer.status not in {200, 202}]
    if wrong:
        raise ContestantFailed(f"{server.name}: {wrong[0].status} {wrong[0].body[:300]!r}")
    return sum(answer.status == 202 for answer in answers)
