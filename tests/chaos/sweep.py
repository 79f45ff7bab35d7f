"""Measures accepts while a million expired jobs are swept, against the same store with nothing to sweep.

Prints both distributions and their ratio; ends with 1 if the 99th percentile is three times as long.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from tests.servers.harness import UVICORN
from tests.servers.twins import twin

from deferit._core.commands import Create, Finish
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job, Result
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.harness import Server

    from deferit._core.commands import Command

BATCH = 250
CLIENTS = 2
PAUSE = 0.004
"""Seconds between two requests of a client: accepts are measured well below what the server can do."""
WARM_UP = 200
MOST_TIMES = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--accepts", type=int, default=3_000, help="for each of the measurements")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"finishing {options.jobs:,} jobs …")
        fill(folder / "full.db", options.jobs)
        ratios = [compare(folder, options, turn) for turn in range(options.rounds)]
    ratio = sorted(ratios)[len(ratios) // 2]
    say(f"median of the ratios: {ratio:.2f}")
    sys.exit(ratio >= MOST_TIMES)


def fill(path: Path, jobs: int) -> None:
    """Put jobs into a store that were finished and have expired."""
    with closing(store_from_url(f"sqlite:///{path}?synchronous=normal")) as store:
        store.open()
        begun = time.time() - 90_000
        for first in range(0, jobs, BATCH):
            store.execute(_finished(begun, range(first, first + BATCH)))


def _finished(begun: float, numbers: range) -> list[Command]:
    commands: list[Command] = []
    for number in numbers:
        now = begun + number / 1_000
        job = Job(
            id=make_id(now, os.urandom(RANDOM_BYTES)),
            application="asgi:default",
            route="POST /reports",
            method="POST",
            created_at=now,
            updated_at=now,
            due_at=now,
            ttl=60.0,
        )
        result = Result(200, (("Content-Type", "application/json"),), 200, 1, '"tag"')
        commands += [
            Create(job.claimed(now), b"a captured request" * 20, now),
            Finish(job.id, 1, now, result, None, b"x" * 200),
        ]
    return commands


def compare(folder: Path, options: argparse.Namespace, turn: int) -> float:
    """Return how much longer the slowest hundredth of the accepts takes while there is something to sweep."""
    busy = folder / f"busy-{turn}"
    without = measured(folder / f"idle-{turn}", None, options.accepts)
    during = measured(busy, folder / "full.db", options.accepts)
    swept = options.jobs - unswept(busy / "jobs.db")
    if not 0 < swept < options.jobs:
        sys.exit(f"{swept:,} of {options.jobs:,} jobs were swept: that is not what was to be seen")
    say(f"{'':22}{'p50':>8}{'p99':>8} ms")
    for label, seconds in (("nothing to sweep", without), ("sweeping", during)):
        say(f"  {label:20}{_ms(seconds, 50):8.2f}{_ms(seconds, 99):8.2f}")
    say(f"  {swept:,} jobs were swept meanwhile")
    shutil.rmtree(busy)
    return _ms(during, 99) / _ms(without, 99)


def _ms(seconds: Sequence[float], percent: int) -> float:
    return 1_000 * quantiles(seconds, n=100)[percent - 1]


def unswept(path: Path) -> int:
    """Return how many expired jobs still have their results."""
    statement = "SELECT count(*) FROM jobs WHERE body IS NOT NULL AND wake_at < ?"
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(statement, (time.time(),)).fetchone()
    return int(count)


def measured(folder: Path, store: Path | None, accepts: int) -> list[float]:
    """Return how long each accept took, in seconds."""
    folder.mkdir()
    if store:
        shutil.copy(store, folder / "jobs.db")
    with twin(UVICORN, folder, DEFERIT_LEASE="15") as server:
        time.sleep(6)  # until it begins to sweep
        timed(server, WARM_UP)
        with ThreadPoolExecutor(CLIENTS) as threads:
            parts = threads.map(lambda _: timed(server, accepts // CLIENTS), range(CLIENTS))
            return [seconds for part in parts for seconds in part]


def timed(server: Server, count: int) -> list[float]:
    """Have jobs accepted one after the other; return how long each took."""
    seconds = []
    with server.client() as client:
        for number in range(count):
            begun = time.perf_counter()
            answer = client.post(f"/work/{number}")
            seconds.append(time.perf_counter() - begun)
            assert answer.status_code == 202, answer.text
            time.sleep(PAUSE)
    return seconds


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  it is a command


if __name__ == "__main__":
    main()
