"""Kills what a real server consists of at random points, and proves that no job is lost, stuck or run twice.

Needs Linux. Run as ``python -m tests.chaos.monkey --kills 200 --seed 1``, or with another store and executor:
``--store postgresql --executor celery``. It ends by itself, prints what it saw, and ends with exit code 1 if there was
a violation of what is promised.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.blows import Blow, Monkey, plan
from tests.chaos.book import Book
from tests.chaos.clients import Client
from tests.chaos.herd import KINDS, LEASE
from tests.chaos.judge import Judge
from tests.chaos.stores import STORES
from tests.chaos.target import EXECUTORS, target
from tests.chaos.watch import Watch
from tests.servers.harness import ServerFailed, until

from deferit.worker_command import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chaos.herd import Herd
    from tests.chaos.stores import Attacked
    from tests.chaos.target import Target
    from tests.servers.harness import Kind

CLIENTS = 4
PAUSE = 0.05
"""Seconds after which a client makes its next request at the earliest, so that two cores are not busy with clients."""
PAUSE_BESIDE = 0.1
"""The same where other processes run the handlers: there is more to start again after each blow."""
TAKEOVER = 5.0
"""Seconds after which, beyond its lease, the contract promises that a lost job was taken over, or failed."""
SETTLING = 60.0
"""Seconds in which all must be finished after the last blow; what was lost ten times takes the longest."""


class Setting(NamedTuple):
    """Which server is attacked, where it keeps its jobs, and where it runs them."""

    kind: Kind
    store: str = "sqlite"
    executor: str = "in-process"

    def __str__(self) -> str:
        return f"{self.kind}, {self.store}, {self.executor}"


@dataclass
class Report:
    """What was seen in one run."""

    setting: Setting
    seed: int
    seconds: float
    blows: dict[str, int]
    figures: dict[str, float]
    violations: list[str]

    def __str__(self) -> str:
        facts: dict[str, float] = {**self.blows, **self.figures, "violations": len(self.violations)}
        lines = [f"{self.setting}, seed {self.seed}, {self.seconds:.0f} s"]
        lines += [f"  {value:>9,.4g}  {name}" for name, value in facts.items()]
        return "\n".join([*lines, *(f"  VIOLATION: {text}" for text in self.violations)])


def run(
    setting: Setting, kills: int, seed: int, folder: Path, say: Callable[[str], object]
) -> Report:
    """Run one server under attack in a folder, and return what was seen."""
    began = time.monotonic()
    kind, executor = setting.kind, setting.executor
    chance = random.Random(f"{seed} {kind}")
    book = Book()
    with STORES[setting.store](folder) as store:
        with target(kind, executor, store, folder) as attacked:
            blows = plan(kills, chance, attacked)
            monkey = Monkey(attacked, book, chance)
            watch = _attack(monkey, attacked, book, blows, chance, say)
            judge = Judge(book, folder, monkey.struck)
            with attacked.server.client() as client:
                judge.ask(client)
        judge.audit()
        judge.inspect(attacked)
    return Report(
        setting=setting,
        seed=seed,
        seconds=time.monotonic() - began,
        blows={str(blow): blows.count(blow) for blow in Blow if blow in blows},
        figures=_figures(book, watch, judge) | _deaths(attacked),
        violations=book.violations,
    )


def _attack(
    monkey: Monkey,
    target: Target,
    book: Book,
    blows: Sequence[Blow],
    chance: random.Random,
    say: Callable[[str], object],
) -> Watch:
    """Strike again and again while clients are at it; return when all jobs are finished."""
    server = target.server
    pause = PAUSE_BESIDE if target.helpers else PAUSE
    with ExitStack() as stack:
        watch = Watch(target.store, lambda: server.workers() and not book.was_out())
        stack.callback(watch.stop)
        with ExitStack() as clients:
            for number in range(CLIENTS):
                seed = f"{chance.random()} {number}"
                clients.callback(Client(server.url, book, f"c{number}", seed, pause).stop)
            for number, blow in enumerate(blows, 1):
                _await_work(monkey, book, server)
                monkey.pause()
                monkey.strike(blow)
                if number % 10 == 0:
                    say(f"{server.kind}: {number} of {len(blows)} blows, {book.counts['202']} 202s")
        _settle(monkey, book, target.store)
    if watch.longest_overrun > LEASE + TAKEOVER:
        book.violation(f"a job ran on for {watch.longest_overrun:.1f} s past its lease")
    for helper in target.helpers:
        if set(helper.codes) - {Exit.OUT_OF_REACH} and not target.broker:
            book.violation(f"a worker has ended by itself: {helper.log[-2000:]}")
    return watch


def _await_work(monkey: Monkey, book: Book, server: Herd) -> None:
    """Return when something was accepted since the last blow: to beat what is down proves nothing."""
    before = book.counts["202"]

    def is_accepted() -> bool:
        monkey.tend()
        return book.counts["202"] > before

    try:
        until(is_accepted, "a job to be accepted after a blow")
    except AssertionError as exc:
        found = f"{exc}, with the workers {server.workers()}, in {server.folder}"
        raise ServerFailed(found, server.log) from exc


def _settle(monkey: Monkey, book: Book, store: Attacked) -> None:
    """Return when all jobs are finished, whether a client knows of them or not."""
    deadline = time.monotonic() + SETTLING
    while (seen := store.look()) is None or seen.unfinished:
        monkey.tend()
        if time.monotonic() > deadline:
            book.violation(f"after {SETTLING} s of peace not all jobs are finished: {seen}")
            return
        time.sleep(0.05)


def _figures(book: Book, watch: Watch, judge: Judge) -> dict[str, float]:
    lost = sum("accepted job" in text for text in book.violations)
    twice = sum("ran twice" in text for text in book.violations)
    return {
        "submissions": len(book.submissions),
        "jobs accepted (told to a client)": len(book.accepted),
        **judge.figures,
        **{f"ended: {end}": count for end, count in sorted(judge.ends.items())},
        **dict(sorted(book.counts.items())),
        "most jobs unfinished at a time": watch.most_unfinished,
        "looks into the store": watch.samples,
        "longest `running` past its lease beside a worker, s": watch.longest_overrun,
        "lost": lost,
        "run twice": twice,
    }


def _deaths(target: Target) -> dict[str, float]:
    deaths = sum(len(helper.codes) for helper in target.helpers)
    return {"workers beside it that ended by themselves": deaths} if target.helpers else {}


def main() -> int:
    """Attack each kind of server; return the exit code."""
    options = _options()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    failed = False
    for kind in KINDS:
        setting = Setting(kind, options.store, options.executor)
        folder = Path(tempfile.mkdtemp(prefix="deferit-chaos-"))
        report = run(setting, -(-options.kills // len(KINDS)), seed, folder, _say)
        _say(str(report))
        if report.violations:
            failed = True
            _say(f"logs and ledger are in {folder}")
        else:
            shutil.rmtree(folder)
    _say("FAILED" if failed else "nothing was lost, stuck, or run twice that must not")
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="in all, shared by the servers")
    parser.add_argument("--seed", type=int, help="of the plan and the clients (default: random)")
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--executor", choices=EXECUTORS, default="in-process")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  it is a command


if __name__ == "__main__":
    sys.exit(main())
