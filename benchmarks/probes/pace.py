"""How much longer the slowest accepts take than most, at half of what the server could take."""

from __future__ import annotations

import gc
import random
import statistics
from typing import TYPE_CHECKING

from benchmarks.exchange import paced
from benchmarks.probes.load import accept
from benchmarks.servers import ContestantFailed

if TYPE_CHECKING:
    from benchmarks.exchange import Answer
    from benchmarks.record import Effort, Sample
    from benchmarks.servers import Running

FASTEST = 8_000.0
"""Requests a second that the client can send in time; only a bare server could take more."""


def pace(server: Running, effort: Effort) -> Sample:
    """Find the peak, then submit half as many, evenly, and at random as people come who don't know of each other."""
    peak = accept(server, effort)["rate"]
    server.finish_one()
    rate, seconds = min(peak / 2, FASTEST), effort.seconds
    even = [number / rate for number in range(int(rate * seconds))]
    chance = random.Random(1)  # noqa: S311  it is to be the same each time
    by_chance = sorted(chance.uniform(0, seconds) for _ in even)
    evenly, at_random = _cut(server, even), _cut(server, by_chance)
    return {
        "rate": rate,
        "p50": evenly[49],
        "p99": evenly[98],
        "times": evenly[98] / evenly[49],
        "p50 at random": at_random[49],
        "p99 at random": at_random[98],
        "times at random": at_random[98] / at_random[49],
    }


def _cut(server: Running, instants: list[float]) -> list[float]:
    """Return the percentiles in milliseconds."""
    gc.collect()
    gc.disable()  # the client's own pauses are not the server's
    try:
        seen = paced(server.url, server.submission(), instants)
    finally:
        gc.enable()
    refused: list[Answer] = [answer for _, answer in seen if answer.status != 202]
    if refused:
        raise ContestantFailed(f"{server.name}: {refused[0].status} {refused[0].body[:300]!r}")
    return [1e3 * cut for cut in statistics.quantiles((seconds for seconds, _ in seen), n=100)]
