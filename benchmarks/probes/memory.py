"""What a web process has in memory while nothing happens, before its first job and after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.exchange import Connection, request

if TYPE_CHECKING:
    from benchmarks.record import Effort, Sample
    from benchmarks.servers import Running

MEBI = 2**20
SETTLES_IN = 0.5
"""Seconds, until threads have started and imported what they need."""


def memory(server: Running, _: Effort) -> Sample:
    """Look at a server that has just been started, then have it do one job; for a bare one, answer one request."""
    with Connection(server.url) as connection:
        connection.ask(request("GET", "/plain"))
    time.sleep(SETTLES_IN)
    resident, proportional = server.memory()
    server.finish_one() if not server.contestant.is_bare else _answer_one(server)
    time.sleep(SETTLES_IN)
    resident_after, proportional_after = server.memory()
    return {
        "rss": resident / MEBI,
        "pss": proportional / MEBI,
        "rss after a job": resident_after / MEBI,
        "pss after a job": proportional_after / MEBI,
    }


def _answer_one(server: Running) -> None:
    with Connection(server.url) as connection:
        connection.ask(server.submission())
