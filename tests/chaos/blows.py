"""What can happen to a target, and the monkey that sees to it."""

from __future__ import annotations

import os
import signal
import time
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.chaos.herd import LEASE
from tests.servers.harness import until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from tests.chaos.book import Book
    from tests.chaos.target import Target

SHARE = 12
"""One kill in so many is one of each kind that is rare, for it takes all of something with it."""


LONGEST_OUTAGE = 1.5 * LEASE
"""Seconds for which the store's server stays away: often longer than what is left of the leases."""


class Blow(StrEnum):
    """One of them."""

    WORKER = "kill -9 of a worker"
    EVERYONE = "kill -9 of the whole server, and a restart"
    CHILD = "kill -9 of a child of a worker beside it"
    HELPER = "kill -9 of a whole worker beside it, and a restart"
    BROKER = "kill -9 of the broker, and a restart without its messages"
    STORE = "kill -9 of the store's server, and a restart"
    DEPLOY = "SIGTERM of a worker"


def possible(target: Target) -> list[Blow]:
    """Return the kills that a target can suffer, those that are rare last."""
    frequent, rare = [Blow.WORKER], [Blow.EVERYONE]
    if target.broker:
        frequent.append(Blow.CHILD)
        rare.append(Blow.BROKER)
    if target.helpers:
        rare.append(Blow.HELPER)
    if target.store.has_server:
        rare.append(Blow.STORE)
    return [*frequent, *rare]


def plan(kills: int, chance: random.Random, target: Target) -> list[Blow]:
    """Return so many kills in a random order, and some workers that are asked to end beside them."""
    few = max(1, kills // SHARE)
    is_rare = {Blow.EVERYONE, Blow.BROKER, Blow.HELPER, Blow.STORE}
    kinds = possible(target)
    rare = [kind for kind in kinds if kind in is_rare] * few
    frequent = [kind for kind in kinds if kind not in is_rare]
    rest = max(0, kills - len(rare))
    blows = (
        rare + [frequent[number % len(frequent)] for number in range(rest)] + [Blow.DEPLOY] * few
    )
    chance.shuffle(blows)
    return blows


class Monkey:
    """Strikes, and remembers which processes that run handlers."""

    def __init__(self, target: Target, book: Book, chance: random.Random) -> None:
        self._struck: set[int] = set()
        self._serving: set[int] = set()
        self._target = target
        self._book = book
        self._chance = chance

    @property
    def struck(self) -> set[int]:
        """All processes that were struck, or have lost what they belong to."""
        return self._struck.union(*(helper.struck for helper in self._target.helpers))

    def strike(self, blow: Blow) -> None:
        """Have something happen, and return when what was killed whole is started again."""
        target = self._target
        with (target.server.folder / "blows.log").open("a") as log:
            log.write(f"{time.time():.3f} {blow}\n")
        match blow:
            case Blow.WORKER:
                self._strike_one_of(target.server.workers, signal.SIGKILL)
            case Blow.DEPLOY:
                self._strike_one_of(target.server.workers, signal.SIGTERM)
            case Blow.CHILD:
                self._strike_one_of(self._chance.choice(target.helpers).children, signal.SIGKILL)
            case Blow.EVERYONE:
                self._struck.update(target.server.workers())
                target.server.kill_all()
                target.server.start()
            case Blow.HELPER:
                self._chance.choice(target.helpers).strike()
            case Blow.BROKER:
                assert target.broker is not None
                target.broker.kill()
                self.pause()
                target.broker.start()
            case Blow.STORE:
                with self._book.outage():
                    target.store.kill()
                    self.pause(LONGEST_OUTAGE)
                    target.store.start()

    def tend(self) -> None:
        """Start the server again if it has ended by itself: uvicorn does, if a worker is told to end as it starts."""
        server = self._target.server
        if server.has_ended:
            self._book.count("servers that ended by themselves")
            self._struck |= self._serving
            server.kill_all()
            server.start()
        self._serving.update(server.workers())

    def _strike_one_of(self, processes: Callable[[], Sequence[int]], how: signal.Signals) -> None:
        until(lambda: self._has_struck_one(processes(), how), "a process that can be killed")

    def _has_struck_one(self, processes: Sequence[int], how: signal.Signals) -> bool:
        self.tend()
        if not processes:
            return False
        victim = self._chance.choice(processes)
        self._struck.add(victim)
        try:
            os.kill(victim, how)
        except ProcessLookupError:
            return False
        return True

    def pause(self, most: float = 1.0) -> None:
        """Let a random time pass: what was killed is struck while it starts, too."""
        time.sleep(self._chance.uniform(0.0, most))
