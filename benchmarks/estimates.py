"""How good estimates are, and what polling costs by them: ``python -m benchmarks.estimates [--live]``."""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.simulation import START, Arrival, Seen, Simulation, said
from flask import Flask, request
from werkzeug.test import Client

from deferit import WSGIMiddleware, deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

JOBS = 2_000
CONCURRENCY = 8
LEARNED = 30
"""Jobs of a route after which its estimates are to be good."""

# --- workloads -------------------------------------------------------------------------------------------------------


def _about(chance: random.Random, seconds: float, spread: float) -> float:
    """Return seconds about so many; the logarithm of the factor is normal."""
    return seconds * math.exp(chance.gauss(0, spread))


def steady(chance: random.Random) -> Iterator[Arrival]:
    """Reports of half a minute, give or take a fifth, that come at random; five of eight slots are busy."""
    at = START
    while True:
        at += chance.expovariate(1 / 6)
        yield Arrival(at, "POST /reports", _about(chance, 30, 0.2))


def two_speed(chance: random.Random) -> Iterator[Arrival]:
    """Searches that three times of four are found in a cache, in 6 seconds, and else take a minute."""
    at = START
    while True:
        at += chance.expovariate(1 / 5)
        is_cached = chance.random() < 0.75
        yield Arrival(at, "POST /search", _about(chance, 6 if is_cached else 60, 0.15))


def bursty(chance: random.Random) -> Iterator[Arrival]:
    """A hundred jobs of two routes at once, again and again: nearly all of them have to wait."""
    at = START
    while True:
        for _ in range(100):
            at += chance.expovariate(10)
            is_page = chance.random() < 0.5
            route, seconds = ("POST /pages", 4) if is_page else ("POST /books", 16)
            yield Arrival(at, route, _about(chance, seconds, 0.4))
        at += 300


WORKLOADS: dict[str, Callable[[random.Random], Iterator[Arrival]]] = {
    "steady": steady,
    "two-speed": two_speed,
    "bursty": bursty,
}


def replayed(name: str, jobs: int = JOBS, seed: int = 1) -> list[Seen]:
    """Return what clients saw of so many jobs of a workload."""
    arrivals = WORKLOADS[name](random.Random(seed))  # noqa: S311  it is to be the same each time
    first = [arrival for _, arrival in zip(range(jobs), arrivals, strict=False)]
    return Simulation(first, CONCURRENCY).run()


# --- figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What the clients of a workload got for it.

    ``error`` is how far off ``estimatedCompletion`` was, as a part of the time from the 202 to the end; for half of the
    jobs it was less. ``covered`` is the part of jobs that were finished by ``estimatedCompletionLatest``. Both are of
    the 202, and ``_later`` of the polls, for jobs of a route of which `LEARNED` had ended. ``polls`` by ``Retry-After``
    and the time until the end is noticed are parts of what polling once a second takes; ``slowest`` is the latter for
    one job in twenty. ``moves`` is how often a job was told another ``estimatedCompletion``.
    """

    jobs: int
    error: float
    covered: float
    error_later: float
    covered_later: float
    polls: float
    polls_a_job: float
    noticed: float
    slowest: float
    moves: float


def figures(seen: Sequence[Seen]) -> Figures:
    """Return the figures of what clients saw."""
    known = [each for each in seen if each.known >= LEARNED]
    first = [_judged(each, 0) for each in known]
    later = [_judged(each, at) for each in known for at in range(1, len(each.said))]
    fixed = [max(1, math.ceil(each.seconds)) for each in seen]
    noticed = [each.noticed_at - each.arrival.at for each in seen]
    polls = sum(each.polls for each in seen)
    return Figures(
        jobs=len(seen),
        error=statistics.median(error for error, _ in first),
        covered=statistics.mean(is_covered for _, is_covered in first),
        error_later=statistics.median(error for error, _ in later),
        covered_later=statistics.mean(is_covered for _, is_covered in later),
        polls=polls / sum(fixed),
        polls_a_job=polls / len(seen),
        noticed=sum(noticed) / sum(fixed),
        slowest=_slowest([mine / theirs for mine, theirs in zip(noticed, fixed, strict=True)]),
        moves=statistics.mean(_moves(each) for each in seen),
    )


def _judged(seen: Seen, at: int) -> tuple[float, bool]:
    """Return how far off an estimate was, and whether the job was finished by the latest instant; none is all wrong."""
    told = seen.said[at]
    if told.median is None or told.latest is None:
        return 1.0, False
    return abs(told.median - seen.ended_at) / seen.seconds, seen.ended_at <= told.latest


def _slowest(ratios: list[float]) -> float:
    return statistics.quantiles(ratios, n=20)[-1]


def _moves(seen: Seen) -> int:
    return sum(before.median != then.median for before, then in pairwise(seen.said))


# --- in real time ----------------------------------------------------------------------------------------------------


class Live:
    """A Flask application whose handler sleeps, and clients in threads that do as they are told."""

    def __init__(self) -> None:
        self.ended: dict[int, float] = {}
        app = Flask("live")
        app.add_url_rule("/reports", view_func=deferred(self._report), methods=["POST"])
        self.app = WSGIMiddleware(app.wsgi_app, store="memory://", concurrency=CONCURRENCY)

    def _report(self) -> dict[str, int]:
        number = int(request.args["number"])
        time.sleep(float(request.args["seconds"]))
        self.ended[number] = time.time()
        return {"number": number}

    def run(self, jobs: int, seconds: float, pause: float) -> list[Seen]:
        """Run so many jobs of about so many seconds, one after every pause; return what their clients saw."""
        chance = random.Random(1)  # noqa: S311  it is to be the same each time
        with ThreadPoolExecutor(jobs) as clients:
            futures = []
            for number in range(jobs):
                futures.append(clients.submit(self._follow, number, _about(chance, seconds, 0.2)))
                time.sleep(pause)
            seen = [future.result() for future in futures]
        self.app.close()
        return seen

    def _follow(self, number: int, seconds: float) -> Seen:
        client, now = Client(self.app), time.time()
        seen = Seen(Arrival(now, "POST /reports", seconds), len(self.ended))
        answer = client.post(f"/reports?number={number}&seconds={seconds}")
        monitor = answer.headers["Location"]
        while answer.status_code == 202:
            document: dict[str, Any] = answer.get_json()
            seen.said.append(said(time.time(), document))
            time.sleep(int(answer.headers["Retry-After"]))
            answer = client.get(monitor)
            seen.polls += 1
        seen.noticed_at, seen.ended_at = time.time(), self.ended[number]
        return seen


# --- the table -------------------------------------------------------------------------------------------------------

ROW = "{:10} {:>5} {:>7} {:>8} {:>7} {:>8} {:>7} {:>8} {:>8} {:>8} {:>6}"
HEAD = ROW.format(
    *("workload", "jobs", "error", "covered", "(later)", "(later)"),
    *("polls", "a job", "noticed", "slowest", "moves"),
)


def row(name: str, found: Figures) -> str:
    """Return a line of the table."""
    return ROW.format(
        name,
        found.jobs,
        f"{found.error:.1%}",
        f"{found.covered:.1%}",
        f"{found.error_later:.1%}",
        f"{found.covered_later:.1%}",
        f"{found.polls:.2f}",
        f"{found.polls_a_job:.1f}",
        f"{found.noticed:.3f}",
        f"{found.slowest:.2f}",
        f"{found.moves:.1f}",
    )


def main() -> None:
    """Replay the workloads, and print what came out."""
    parser = argparse.ArgumentParser(prog="benchmarks.estimates", description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--live", action="store_true", help="in real time too, which takes a minute"
    )
    asked = parser.parse_args()
    print(HEAD)
    for name in WORKLOADS:
        print(row(name, figures(replayed(name, asked.jobs, asked.seed))), flush=True)
    if asked.live:
        print(row("real time", figures(Live().run(64, 5.0, 0.7))))


if __name__ == "__main__":
    main()
