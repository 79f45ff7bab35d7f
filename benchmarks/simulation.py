"""A process and its clients on a clock of their own: real flows, store and forecasts, in no time, always the same."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace
from werkzeug.datastructures import Headers

from deferit._core.commands import Claim, Claimed, Create, Finish, Placed
from deferit._core.document import Site
from deferit._core.effects import (
    Capture,
    CapturedRequest,
    Effect,
    Foresee,
    Now,
    Recall,
    drive,
)
from deferit._core.flow import Submission, Target, answer, submit
from deferit._core.http import Request, Response
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job
from deferit._core.policy import Deferral, Mark
from deferit._core.prefer import NOTHING
from deferit._core.queries import QUERIES
from deferit._core.visits import Visit
from deferit._process.durations import Durations
from deferit._process.forecaster import INTERVAL, Forecaster
from deferit._process.ledger import Ledger
from deferit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deferit._core.commands import Command

START = 1_800_000_000.0
LEASE = 1e9
SITE = Site("https://shop.example/jobs")


@dataclass(frozen=True)
class Arrival:
    """A request: when it comes, and how long its handler takes."""

    at: float
    route: str
    seconds: float


@dataclass(frozen=True)
class Said:
    """What a client was told, and when."""

    at: float
    median: float | None
    latest: float | None


@dataclass
class Seen:
    """What a client saw of its job; what the 202 said comes first.

    ``known`` jobs of its route had ended when it came.
    """

    arrival: Arrival
    known: int
    said: list[Said] = field(default_factory=list)
    polls: int = 0
    ended_at: float = 0.0
    noticed_at: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the client had to wait for the end, had it known of it at once."""
        return self.ended_at - self.arrival.at


class StillLedger(Ledger):
    """A ledger whose clock stands still until it is set, and whose commands are executed at once."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.instant = START

    def now(self) -> float:
        return self.instant

    def execute(self, command: Command) -> object:
        (outcome,) = self.store.execute([command])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit(self, command: Command, note: object = None) -> None:  # noqa: ARG002  nobody waits
        self.execute(command)


class Simulation:
    """Jobs that run so many at once, and clients that poll as ``Retry-After`` tells them."""

    def __init__(self, arrivals: Sequence[Arrival], concurrency: int) -> None:
        self.ledger = StillLedger()
        self.durations = Durations()
        self.forecaster = Forecaster(
            "shop", concurrency, self.ledger, self.durations, self.ledger.now
        )
        self.seen: dict[str, Seen] = {}
        self._ended: Counter[str] = Counter()
        self._free = concurrency
        self._waiting = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._left = len(arrivals)
        for arrival in arrivals:
            self._at(arrival.at, lambda arrival=arrival: self._arrive(arrival))  # type: ignore[misc]

    def run(self) -> list[Seen]:
        """Run until every client has seen the end of its job; return what they saw, by the time of their coming."""
        self._at(START, self._tick)
        while self._events and self._left:
            self.ledger.instant, _, happen = heappop(self._events)
            happen()
        return sorted(self.seen.values(), key=lambda seen: seen.arrival.at)

    def _at(self, instant: float, happen: Callable[[], None]) -> None:
        heappush(self._events, (instant, next(self._numbers), happen))

    def _tick(self) -> None:
        self.forecaster.attend()
        self._at(self.ledger.instant + INTERVAL, self._tick)

    # --- the process -------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Capture():
                return CapturedRequest(b"")
            case Create():
                return self._create(effect)
            case Foresee():
                return self.forecaster.foresee(effect)
            case Recall():
                return self.forecaster.recall(effect)
            case Now():
                return self.ledger.now()
            case _ if isinstance(effect, QUERIES):
                return self.ledger.read(effect)
            case _:
                raise NotImplementedError(effect)

    def _create(self, create: Create) -> Placed:
        now = self.ledger.now()
        if not self._free:
            self._waiting += 1
            return cast("Placed", self.ledger.execute(create))
        create = replace(create, job=create.job.claimed(now), lease_until=now + LEASE)
        placed = cast("Placed", self.ledger.execute(create))
        self._begin(placed.job)
        return placed

    def _begin(self, job: Job) -> None:
        self._free -= 1
        ends_at = self.ledger.now() + self.seen[job.id].arrival.seconds
        self._at(ends_at, lambda: self._end(job))

    def _end(self, job: Job) -> None:
        now = self.ledger.now()
        self.durations.add(job, now, None)
        self.ledger.execute(Finish(job.id, job.attempt, now, None, None))
        self.seen[job.id].ended_at = now
        self._ended[job.route] += 1
        self._free += 1
        if self._waiting:
            claimed = self.ledger.execute(Claim("shop", now, now + LEASE, 1))
            for each in cast("tuple[Claimed, ...]", claimed):
                self._waiting -= 1
                self._begin(each.job)

    # --- its clients -------------------------------------------------------------------------------------------------

    def _arrive(self, arrival: Arrival) -> None:
        now = self.ledger.now()
        job_id = make_id(now, next(self._numbers).to_bytes(RANDOM_BYTES))
        draft = Job(
            id=job_id,
            application="shop",
            route=arrival.route,
            method="POST",
            created_at=now,
            updated_at=now,
            due_at=now,
            ttl=60.0,
        )
        self.seen[job_id] = Seen(arrival, self._ended[arrival.route])
        submission = Submission(self._visit("POST", "/"), Mark(), Deferral(0.0, NOTHING), draft)
        self._hear(job_id, drive(submit(submission), self._perform))

    def _poll(self, job_id: str) -> None:
        seen = self.seen[job_id]
        seen.polls += 1
        visit = self._visit("GET", f"/jobs/{job_id}")
        response = drive(answer(visit, Target(job_id, "")), self._perform)
        if response.status == 200:
            seen.noticed_at = self.ledger.now()
            self._left -= 1
        else:
            self._hear(job_id, response)

    def _visit(self, method: str, path: str) -> Visit:
        request = Request(method, path, "", Headers(), {}, "https://shop.example")
        return Visit(request, SITE, self.ledger.now(), None, NOTHING, 30.0)

    def _hear(self, job_id: str, response: Response) -> None:
        assert response.status == 202, response
        now = self.ledger.now()
        self.seen[job_id].said.append(_said(now, response))
        self._at(now + int(response.header("Retry-After") or 0), lambda: self._poll(job_id))


def said(now: float, document: dict[str, Any]) -> Said:
    """Return what a status document says."""
    return Said(
        now,
        _instant(document.get("estimatedCompletion")),
        _instant(document.get("estimatedCompletionLatest")),
    )


def _said(now: float, response: Response) -> Said:
    assert isinstance(response.body, bytes)
    members: dict[str, Any] = json.loads(response.body)
    return said(now, members)


def _instant(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
