"""How long it takes until a client that submits a job has seen its result, when there is nothing else to do."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.exchange import Connection

if TYPE_CHECKING:
    from benchmarks.record import Effort, Sample
    from benchmarks.servers import Running

MOST = 200
PAUSE = 0.003
"""Seconds between two jobs, so that what is left of one is not in the way of the next."""


def latency(server: Running, effort: Effort) -> Sample:
    """Submit jobs one after the other over one connection, and wait for each result."""
    server.finish_one()
    milliseconds: list[float] = []
    until = time.monotonic() + effort.seconds
    with Connection(server.url) as connection:
        while len(milliseconds) < MOST and time.monotonic() < until:
            milliseconds.append(_until_seen(server, connection) * 1e3)
            time.sleep(PAUSE)
    cut = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {"p50": cut[49], "p99": cut[98], "jobs": len(milliseconds)}


def _until_seen(server: Running, connection: Connection) -> float:
    submission = server.submission()
    begun = time.perf_counter()
    monitor = server.monitor(connection.ask(submission))
    if not server.contestant.is_bare:
        server.follow(connection, monitor)
    return time.perf_counter() - begun
