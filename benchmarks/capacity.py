"""What each store does and holds, and what a load asks of it: ``python -m benchmarks.capacity``."""

from __future__ import annotations

import argparse
import logging
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.contenders import STORES
from benchmarks.demand import GIGABYTE, Capacity, Demand, needs

from deferit._core.commands import Claim, Claimed, Create, Finish, Sweep, Swept
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job, Result
from deferit._core.queries import Get
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.contenders import Contender, Opening

    from deferit._core.commands import Command
    from deferit.stores.base import Store

SCALE = Path(__file__).parents[1] / "docs" / "scale.md"
SIZES = (1, 64, 256)
"""Commands in a batch."""

START = 1_800_000_000.0
TTL = 86_400.0
REQUEST = b"0123456789abcdef" * 40
"""A captured request: a body of 200 bytes and a browser's headers."""

BODY = b"fedcba9876543210" * 12
"""A result of 192 bytes."""

RESULT = Result(200, (("content-type", "application/json"),), len(BODY), 1, '"an etag"')
ROUNDS = 5
PROCESSES = 8
"""Processes that use a store at once."""

READERS = 40
"""Threads that read at once: so many has AnyIO."""

# --- what is measured ------------------------------------------------------------------------------------------------


class Lives:
    """Whole lives of jobs in a store: created, claimed, finished, each step of a batch in one transaction."""

    def __init__(self, store: Store, process: int = 0) -> None:
        self._store = store
        self._process = process
        self.count = 0

    def live(self, size: int) -> int:
        """Take so many jobs through their lives, together; return how many: other processes may be faster."""
        now = START + self.count / 100
        self._execute([self._create(now) for _ in range(size)])
        (answer,) = self._execute([Claim("shop", now, now + 15, size)])
        claimed = cast("tuple[Claimed, ...]", answer)
        self._execute([_finish(each.job) for each in claimed])
        return len(claimed)

    def expire(self) -> None:
        """Have all results expire; a tombstone stays of each job."""
        now = START + self.count / 100 + TTL + 1
        while True:
            (swept,) = self._execute([Sweep(now, 1_000)])
            if cast("Swept", swept).is_done:
                return

    def _execute(self, batch: Sequence[Command]) -> list[object]:
        answers = self._store.execute(batch)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _create(self, now: float) -> Create:
        self.count += 1
        job = Job(
            id=_id(self.count, self._process),
            application="shop",
            route="POST /reports",
            method="POST",
            created_at=now,
            updated_at=now,
            due_at=now,
            ttl=TTL,
        )
        return Create(job, REQUEST)


def _id(number: int, process: int = 0) -> str:
    return make_id(START + number / 100, (number << 8 | process).to_bytes(RANDOM_BYTES))


def _finish(job: Job) -> Finish:
    assert job.started_at is not None
    return Finish(job.id, job.attempt, job.started_at, RESULT, None, BODY)


def measured(name: str, opening: Opening, jobs: int, seconds: float) -> Capacity:
    """Measure a kind of store: how much so many jobs take, and in another one how fast it is with so many in it."""
    with opening() as contender, lives_in(contender.store) as lives:
        job, tombstone = _room(contender, lives, jobs)
    with opening() as contender, lives_in(contender.store) as lives:
        _fill(lives, jobs)
        return Capacity(
            name,
            rates={size: _rate(lives, size, seconds) for size in SIZES},
            together=_together(contender, seconds),
            cpu=_processor(lives, seconds),
            job=job,
            tombstone=tombstone,
            connections=_most_connections(contender),
        )


@contextmanager
def lives_in(store: Store, process: int = 0) -> Iterator[Lives]:
    """Open the store."""
    store.open()
    try:
        yield Lives(store, process)
    finally:
        store.close()


def _fill(lives: Lives, jobs: int) -> None:
    while lives.count < jobs:
        lives.live(min(max(SIZES), jobs - lives.count))


def _room(contender: Contender, lives: Lives, jobs: int) -> tuple[float, float]:
    """Return the bytes that a job takes, and what is left of it when it has expired."""
    lives.live(1)
    needed_at_first, held_at_first = contender.needed(), contender.held()
    _fill(lives, jobs)
    held = contender.held() - held_at_first
    lives.expire()
    return held / jobs, (contender.needed() - needed_at_first) / jobs


def _rate(lives: Lives, size: int, seconds: float) -> float:
    """Return jobs a second in batches of a size: the best of some rounds, as a machine is seldom quiet."""
    rounds = []
    for _ in range(ROUNDS):
        before, begun = lives.count, time.perf_counter()
        while time.perf_counter() - begun < seconds / ROUNDS:
            lives.live(size)
        rounds.append((lives.count - before) / (time.perf_counter() - begun))
    return max(rounds)


def _together(contender: Contender, seconds: float) -> float:
    """Return jobs a second of `PROCESSES` processes that take one job after another; 0 if only one can."""
    if not contender.store.is_shared:
        return 0
    context = get_context("spawn")
    begin = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context, _prepare, (begin,)) as pool:
        urls, spans = [contender.store.url] * PROCESSES, [seconds / 3] * PROCESSES
        return sum(pool.map(_one_by_one, urls, range(1, PROCESSES + 1), spans))


_begin: Any = None


def _prepare(begin: Any) -> None:
    global _begin  # noqa: PLW0603  a barrier cannot be an argument of `submit`
    _begin = begin


def _one_by_one(url: str, process: int, seconds: float) -> float:
    """Run in a process of its own, at the same time as the others."""
    with lives_in(store_from_url(url), process) as lives:
        _begin.wait()
        finished, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            finished += lives.live(1)
        return finished / (time.perf_counter() - begun)


def _processor(lives: Lives, seconds: float) -> float:
    """Return seconds of this process's processors that a job takes, in batches of 64."""
    before, cpu, begun = lives.count, time.process_time(), time.perf_counter()
    while time.perf_counter() - begun < seconds / 3:
        lives.live(64)
    return (time.process_time() - cpu) / (lives.count - before)


def _most_connections(contender: Contender) -> int:
    """Return how many connections a process has, after many of its threads have read at once."""
    with ThreadPoolExecutor(READERS) as threads:
        list(threads.map(contender.store.read, [Get(_id(1))] * 4_000))
    return contender.connections()


# --- the report ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure the stores that are asked for, and say what a load needs of each."""
    parser = argparse.ArgumentParser(prog="benchmarks.capacity", description=__doc__)
    parser.add_argument("stores", nargs="*", default=list(STORES), metavar="store")
    parser.add_argument("--jobs", type=int, default=20_000, help="that a store holds")
    parser.add_argument("--seconds", type=float, default=6, help="for each size of a batch")
    parser.add_argument("--jobs-a-day", type=float, default=10e6)
    parser.add_argument("--peak", type=float, default=5, help="times the mean")
    parser.add_argument("--retention", type=float, default=86_400, help="seconds")
    parser.add_argument("--handler", type=float, default=1, help="seconds")
    parser.add_argument("--publish", action="store_true", help="write it into docs/scale.md")
    asked = parser.parse_args()
    # A Redis that syncs late is what is asked for here.
    logging.getLogger("deferit").setLevel(logging.ERROR)
    found = [measured(name, STORES[name], asked.jobs, asked.seconds) for name in asked.stores]
    demand = Demand(asked.jobs_a_day, asked.peak, asked.retention, asked.handler)
    tables = {"capacities": capacities(found), "demands": demands(found, demand)}
    texts = {name: "\n".join(lines) for name, lines in tables.items()}
    print("\n\n".join(texts.values()))
    if asked.publish:
        SCALE.write_text(filled(SCALE.read_text(), texts))


def filled(page: str, texts: Mapping[str, str]) -> str:
    """Return a page with texts where it names them: ``<!-- figures: name -->`` and ``<!-- end of figures -->``."""
    for name, text in texts.items():
        begin, end = f"<!-- figures: {name} -->\n", "<!-- end of figures -->"
        before, found, rest = page.partition(begin)
        page = f"{before}{begin}\n{text}\n\n{end}{rest.partition(end)[2]}" if found else page
    return page


def capacities(found: Sequence[Capacity]) -> Iterator[str]:
    """Yield the lines of a table of what was measured."""
    sizes = " | ".join(f"batches of {size}" for size in SIZES)
    yield (
        f"| jobs/s | {sizes} | one by one in {PROCESSES} processes | CPU of a job, µs | bytes a job | once expired "
        "| connections of a process |"
    )
    yield "|---" * (len(SIZES) + 6) + "|"
    for each in found:
        rates = " | ".join(f"{each.rates[size]:,.0f}" for size in SIZES)
        together = f"{each.together:,.0f}" if each.together else "–"
        room = f"{each.job:,.0f} | {each.tombstone:,.0f}"
        yield (
            f"| {each.name} | {rates} | {together} | {each.cpu * 1e6:.0f} | {room} "
            f"| {each.connections} |"
        )


def demands(found: Sequence[Capacity], demand: Demand) -> Iterator[str]:
    """Yield the lines of a table of what a load needs, of stores that several processes can share."""
    yield (
        f"{demand.jobs_a_day:,.0f} jobs a day are {demand.mean:,.0f}/s on average, and {demand.at_peak:,.0f}/s at a "
        f"peak of {demand.peak:g} times that. With handlers of {demand.seconds:g} s {demand.running:,.0f} run at once, "
        f"in {demand.processes} processes of {demand.concurrency}. Kept for {demand.retention / 3600:g} hours:"
    )
    yield ""
    yield "| store | of its speed in large batches | of that one by one | GB | cores to ask it | connections |"
    yield "|---|---|---|---|---|---|"
    for each in [each for each in found if each.together]:
        need = needs(each, demand)
        shares = f"{need.share:.0%} | {need.share_one_by_one:.0%}"
        room = f"{need.bytes / GIGABYTE:.0f}"
        yield f"| {each.name} | {shares} | {room} | {need.cores:.2f} | {need.connections:,} |"


if __name__ == "__main__":
    main()
