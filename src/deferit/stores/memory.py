"""Jobs kept in this process: for tests, for trying out, and as the store that explains the others."""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias, assert_never

from deferit._core.commands import (
    MOST_READY,
    ORPHANED,
    Append,
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Dispatch,
    Finish,
    Observe,
    Purge,
    SettleCallback,
    Sweep,
    Swept,
)
from deferit._core.ids import prefix_at
from deferit._core.job import Job, Status
from deferit._core.queries import Ahead, Changed, Changes, Due, Get, History, List, Load, Position
from deferit._core.rules import (
    in_order,
    keeps,
    next_turn,
    offered_at,
    remembered,
    room,
    swept,
    wake_at,
)
from deferit.exceptions import JobExists, JobNotFound, OptionError
from deferit.stores.base import Performer, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deferit._core.commands import Change, Command
    from deferit._core.queries import Query

KEPT_CHANGES = 10_000
"""Batches that `Changes` can look back on."""

Agenda: TypeAlias = list[tuple[float, str]]
"""When something has to be done about which job, or whose turn it is; sorted."""


@dataclass(slots=True)
class Row:
    """A job and what lies beside it."""

    job: Job
    wake_at: float
    request: bytes | None
    turn: int | None = None
    """Set while the job is ready: accepted, and neither early nor offered."""
    offered_at: float | None = None
    """Set while the job is offered."""
    pieces: dict[tuple[int, int], bytes] = field(default_factory=dict)


class MemoryStore(Store, Performer):
    """Keeps jobs in this process; they are gone when it is.

    A forked child begins with an empty one: the jobs that it inherits are its parent's to run.
    """

    reads_are_quick = True
    is_shared = False

    def __init__(self, url: str = "memory://") -> None:
        if url != "memory://":
            raise OptionError(f"store={url!r}: a store in memory has no name; write 'memory://'")
        self.url = url
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = Lock()
        self._rows: dict[str, Row] = {}
        self._early: defaultdict[str, dict[tuple[int, int], bytes]] = defaultdict(dict)
        self._agendas: defaultdict[tuple[str, ...], Agenda] = defaultdict(list)
        self._lanes: defaultdict[tuple[str, str, str | None], list[int]] = defaultdict(list)
        self._histories: dict[tuple[str, str], tuple[float, ...]] = {}
        self._keys: dict[str, str] = {}
        self._cursor = 0
        self._touched: set[str] = set()
        self._changes: deque[tuple[int, frozenset[str]]] = deque(maxlen=KEPT_CHANGES)

    def open(self) -> None:
        """Begin anew in a forked child; else go on."""
        if self._process != os.getpid():
            self._begin()

    def close(self) -> None:
        """Keep everything: it may be opened again."""

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Execute commands while no `read` is under way."""
        with self._lock:
            self._touched = set()
            answers = [self._answer(command) for command in batch]
            if self._touched:
                self._cursor += 1
                self._changes.append((self._cursor, frozenset(self._touched)))
            return answers

    def _create(self, command: Create) -> Job:
        job = command.job
        same = self._same(command)
        if same is not None:
            return same
        if job.id in self._rows:
            raise JobExists(job.id)
        command.admit(partial(self._count_waiting, job), partial(self._count_owned, job))
        if job.key:
            self._keys[job.key] = job.id
        turn = self._next_turn(job) if command.is_ready else None
        row = Row(job, wake_at(job, command.lease_until), command.request, turn)
        row.pieces = self._early.pop(job.id, {})
        self._rows[job.id] = row
        self._enlist(row)
        self._touched.add(job.id)
        return job

    def _count_waiting(self, job: Job, most: int) -> int:
        ready = sum(len(ready) for ready in self._queues(job.application))
        return min(most, ready + len(self._agendas["early", job.application]))

    def _count_owned(self, job: Job, most: int) -> int:
        waiting = [self._agendas["early", job.application], *self._queues(job.application)]
        jobs = chain(self._running(job.application), *map(self._jobs, waiting))
        return min(most, sum(other.owner == job.owner for other in jobs))

    def _running(self, application: str) -> Iterator[Job]:
        jobs = self._jobs(self._agendas[Status.RUNNING,])
        return (job for job in jobs if job.application == application)

    def _jobs(self, agenda: Agenda) -> Iterator[Job]:
        return (self._rows[job_id].job for _, job_id in agenda)

    def _same(self, command: Create) -> Job | None:
        """Return the job that the same request has made before."""
        other = self._rows.get(self._keys.get(command.job.key or "", ""))
        return other.job if other and command.found(other.job) else None

    def _append(self, command: Append) -> None:
        if command.attempt == 0:
            if command.job_id in self._rows:
                raise JobExists(command.job_id)
            pieces = self._early[command.job_id]
        else:
            row = self._row(command.job_id)
            row.job.held_by(command.attempt)
            pieces = row.pieces
        pieces[command.attempt, command.index] = command.data

    def _claim(self, command: Claim) -> tuple[Claimed, ...]:
        rows = self._next(command) if command.job_id is None else self._named(command)
        return tuple(self._claimed(row, command) for row in rows)

    def _next(self, command: Claim | Dispatch) -> list[Row]:
        """Return the rows of the jobs whose turn it is; offers that were lost come first."""
        again = self._again(command)
        limit = command.limit - len(again)
        queues = [self._candidates(ready, limit) for ready in self._queues(command.application)]
        return again + [self._rows[job.id] for job in in_order(queues, limit)]

    def _again(self, command: Claim | Dispatch) -> list[Row]:
        """Make ready what is due, less the offers that are to be repeated, which are returned."""
        lost = []
        early = self._agendas["early", command.application]
        for row in self._due(early, command.now, MOST_READY):
            if row.offered_at is not None and isinstance(command, Dispatch):
                lost.append(row)
            else:
                self._make_ready(row)
        return lost[: max(command.limit, 0)]

    def _candidates(self, ready: Agenda, limit: int) -> list[Job]:
        jobs = list(self._jobs(ready[: max(limit, 0)]))
        return jobs[: self._room(jobs[0], limit)] if jobs else []

    def _named(self, command: Claim) -> list[Row]:
        """Return the row of the job that a claim names, if it may be taken."""
        row = self._rows.get(command.job_id or "")
        if row is None or row.job.status is not Status.ACCEPTED or row.job.is_early(command.now):
            return []
        if self._room(row.job, 1):
            return [row]
        if row.turn is None:
            self._make_ready(row)
        return []

    def _room(self, job: Job, limit: int) -> int:
        others = self._running(job.application) if job.slots is not None else ()
        return room(job.slots, sum(other.queue == job.queue for other in others), limit)

    def _make_ready(self, row: Row) -> None:
        self._move(row, row.job, row.wake_at, self._next_turn(row.job))

    def _next_turn(self, job: Job) -> int:
        ready = self._agendas["ready", job.application, job.queue]
        lane = self._lanes[_lane(job)]
        return next_turn(int(ready[0][0]) if ready else None, lane[-1] if lane else None)

    def _queues(self, application: str) -> list[Agenda]:
        """Return the ready jobs of an application, queue by queue."""
        return [
            agenda
            for name, agenda in sorted(self._agendas.items())
            if name[:2] == ("ready", application)
        ]

    def _dispatch(self, command: Dispatch) -> tuple[Job, ...]:
        rows = self._next(command)
        for before, row in enumerate(rows):
            place = row.offered_at or offered_at(command.now, before)
            self._move(row, row.job, command.again_at, None, place)
        return tuple(row.job for row in rows)

    def _claimed(self, row: Row, command: Claim) -> Claimed:
        job = row.job.claimed(command.now)
        self._keep(row, job, command.lease_until)
        assert row.request is not None
        return Claimed(job, row.request)

    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        job_id, attempt = lease
        row = self._rows.get(job_id)
        if row is None or row.job.status is not Status.RUNNING or row.job.attempt != attempt:
            return False
        self._move(row, row.job, lease_until)
        return True

    def _change(self, command: Change) -> Job:
        row = self._row(command.job_id)
        job = command.apply(row.job)
        if job == row.job:
            return job
        self._keep(row, job, row.wake_at)
        if isinstance(command, Finish) and job.result is not None and job.result.chunks:
            row.pieces[job.attempt, job.result.chunks - 1] = command.body
        return job

    def _purge(self, command: Purge) -> bool:
        row = self._row(command.job_id)
        if not row.job.is_finished or row.job.revision != command.revision:
            return False
        self._forget(row)
        return True

    def _sweep(self, command: Sweep) -> Swept:
        lost = self._due(self._agendas[Status.RUNNING,], command.now, command.limit)
        over = self._due(self._agendas["finished",], command.now, command.limit)
        moved = [self._swept(row, command.now) for row in lost + over]
        orphans = self._drop_orphans(command)
        is_done = max(len(lost), len(over), orphans) < command.limit
        return Swept(tuple(job for job in moved if job), is_done)

    def _swept(self, row: Row, now: float) -> Job | None:
        """Do what is due about a job; return it if its status changed."""
        before, job = row.job, swept(row.job, now)
        if job is None:
            self._forget(row)
            return None
        self._keep(row, job, None)
        return job if job.status is not before.status else None

    def _claim_callbacks(self, command: ClaimCallbacks) -> tuple[Job, ...]:
        due = self._agendas["callback", command.application]
        rows = self._due(due, command.now, command.limit)
        for row in rows:
            self._with_callback(row, command.apply(row.job))
        return tuple(row.job for row in rows)

    def _settle_callback(self, command: SettleCallback) -> Job:
        row = self._row(command.job_id)
        self._with_callback(row, command.apply(row.job))
        return row.job

    def _with_callback(self, row: Row, job: Job) -> None:
        self._move(row, job, row.wake_at, row.turn, row.offered_at)

    def _drop_orphans(self, command: Sweep) -> int:
        before = prefix_at(command.now - ORPHANED)
        orphans = sorted(job_id for job_id in self._early if job_id < before)[: command.limit]
        for job_id in orphans:
            del self._early[job_id]
        return len(orphans)

    def _observe(self, command: Observe) -> None:
        route = command.application, command.route
        self._histories[route] = remembered(self._histories.get(route, ()), command.seconds)

    def _keep(self, row: Row, job: Job, lease_until: float | None) -> None:
        self._move(row, job, wake_at(job, lease_until))
        if job.is_finished:
            row.request = None
            self._free_key(job, job.key)
        row.pieces = {key: data for key, data in row.pieces.items() if keeps(job, *key)}
        self._touched.add(job.id)

    def _move(
        self,
        row: Row,
        job: Job,
        wake: float,
        turn: int | None = None,
        offered: float | None = None,
    ) -> None:
        self._unlist(row)
        row.job, row.wake_at, row.turn, row.offered_at = job, wake, turn, offered
        self._enlist(row)

    def _forget(self, row: Row) -> None:
        self._unlist(row)
        self._free_key(row.job, None)
        del self._rows[row.job.id]
        self._touched.add(row.job.id)

    def _free_key(self, job: Job, kept: str | None) -> None:
        """Let go of a job's key, if it still has one and has to."""
        key = job.identity.key if job.identity else ""
        if kept is None and self._keys.get(key) == job.id:
            del self._keys[key]

    def _enlist(self, row: Row) -> None:
        if row.turn is not None:
            insort(self._lanes[_lane(row.job)], row.turn)
        for agenda, instant in self._entries(row):
            insort(agenda, (instant, row.job.id))

    def _unlist(self, row: Row) -> None:
        if row.turn is not None:
            self._lanes[_lane(row.job)].remove(row.turn)
        for agenda, instant in self._entries(row):
            del agenda[bisect_left(agenda, (instant, row.job.id))]

    def _entries(self, row: Row) -> Iterator[tuple[Agenda, float]]:
        yield self._agenda(row), row.wake_at if row.turn is None else row.turn
        if row.offered_at is not None:
            yield self._agendas["offered", row.job.application, row.job.queue], row.offered_at
        if row.job.callback_at is not None:
            yield self._agendas["callback", row.job.application], row.job.callback_at

    def _agenda(self, row: Row) -> Agenda:
        job = row.job
        if row.turn is not None:
            return self._agendas["ready", job.application, job.queue]
        if job.status is Status.ACCEPTED:
            return self._agendas["early", job.application]
        return self._agendas["finished" if job.is_finished else Status.RUNNING,]

    def _due(self, agenda: Agenda, now: float, limit: int) -> list[Row]:
        return [self._rows[job_id] for wake, job_id in agenda[: max(limit, 0)] if wake <= now]

    def _row(self, job_id: str) -> Row:
        try:
            return self._rows[job_id]
        except KeyError:
            raise JobNotFound(job_id) from None

    def read(self, query: Query) -> object:  # noqa: PLR0911  one for each query
        """Answer a query between two batches."""
        with self._lock:
            match query:
                case Get():
                    return self._row(query.job_id).job
                case Load():
                    return self._load(query)
                case Position():
                    return self._position(query)
                case Due():
                    return self._is_due(query)
                case List():
                    return self._list(query)
                case History():
                    return self._histories.get((query.application, query.route), ())
                case Changes():
                    return self._changed(query.since)
            assert_never(query)

    def _load(self, query: Load) -> bytes:
        row = self._rows.get(query.job_id)
        pieces = row.pieces if row else self._early.get(query.job_id, {})
        try:
            return pieces[query.attempt, query.index]
        except KeyError:
            raise JobNotFound(query.job_id) from None

    def _position(self, query: Position) -> Ahead:
        row = self._rows.get(query.job_id)
        if row is None:
            return Ahead(0, 0)
        running = sum(1 for _ in self._running(row.job.application))
        return Ahead(min(self._in_front_of(row), query.most), min(running, query.most))

    def _in_front_of(self, row: Row) -> int:
        job = row.job
        offered = self._agendas["offered", job.application, job.queue]
        ready = self._agendas["ready", job.application, job.queue]
        if row.offered_at is not None:
            return bisect_left(offered, (row.offered_at, job.id))
        if row.turn is not None:
            return len(offered) + bisect_left(ready, (row.turn, job.id))
        return len(offered) + len(ready) if job.status is Status.ACCEPTED else 0

    def _is_due(self, query: Due) -> bool:
        early = self._agendas["early", query.application]
        return any(self._queues(query.application)) or bool(self._due(early, query.now, 1))

    def _list(self, query: List) -> tuple[Job, ...]:
        jobs = (row.job for row in self._rows.values())
        found = [job for job in jobs if query.includes(job)]
        found.sort(key=lambda job: job.id, reverse=True)
        return tuple(found[: query.limit])

    def _changed(self, since: int) -> Changed:
        if since < 0:
            return Changed(self._cursor, ())
        if since > self._cursor:
            since = 0  # it is another store's
        ids: set[str] = set()
        for cursor, changed in reversed(self._changes):
            if cursor <= since:
                break
            ids |= changed
        return Changed(self._cursor, tuple(sorted(ids)))


def _lane(job: Job) -> tuple[str, str, str | None]:
    """Return what a job takes its turn among: the jobs of its owner in its queue."""
    return job.application, job.queue, job.owner
