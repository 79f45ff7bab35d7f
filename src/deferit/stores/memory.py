"""Jobs kept in this process: for tests, for trying out, and as the store that explains the others."""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from collections import defaultdict, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias, assert_never

from deferit._core.commands import (
    ORPHANED,
    Append,
    Cancel,
    Changed,
    Changes,
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Finish,
    Get,
    List,
    Load,
    Position,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
    keeps,
    swept,
    wake_at,
)
from deferit._core.ids import prefix_at
from deferit._core.job import Job, Status
from deferit.exceptions import JobExists, JobNotFound, OptionError
from deferit.stores.base import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deferit._core.commands import Change, Command, Query

KEPT_CHANGES = 10_000
"""Batches that `Changes` can look back on."""

Agenda: TypeAlias = list[tuple[float, str]]
"""When something has to be done about which job; sorted."""


@dataclass(slots=True)
class Row:
    """A job and what lies beside it."""

    job: Job
    wake_at: float
    request: bytes | None
    pieces: dict[tuple[int, int], bytes] = field(default_factory=dict)


class MemoryStore(Store):
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
        self._agendas: defaultdict[tuple[str, str], Agenda] = defaultdict(list)
        self._keys: dict[str, str] = {}
        self._cursor = 0
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
            changed: set[str] = set()
            answers = [self._answer(command, changed) for command in batch]
            if changed:
                self._cursor += 1
                self._changes.append((self._cursor, frozenset(changed)))
            return answers

    def _answer(self, command: Command, changed: set[str]) -> object:
        try:
            return self._perform(command, changed)
        except Exception as exc:  # noqa: BLE001  it is the answer to whoever asked
            return exc

    def _perform(self, command: Command, changed: set[str]) -> object:  # noqa: PLR0911  one for each command
        match command:
            case Create():
                return self._create(command, changed)
            case Append():
                self._append(command)
                return None
            case Claim():
                return self._claim(command, changed)
            case Renew():
                return tuple(
                    lease for lease in command.leases if not self._renew(lease, command.lease_until)
                )
            case Purge():
                return self._purge(command, changed)
            case Sweep():
                return self._sweep(command, changed)
            case ClaimCallbacks():
                return self._claim_callbacks(command)
            case SettleCallback():
                return self._settle_callback(command)
            case Report() | Finish() | Release() | Cancel():
                return self._change(command, changed)
        assert_never(command)

    def _create(self, command: Create, changed: set[str]) -> Job:
        job = command.job
        same = self._same(command)
        if same is not None:
            return same
        if job.id in self._rows:
            raise JobExists(job.id)
        if job.key:
            self._keys[job.key] = job.id
        row = Row(job, wake_at(job, command.lease_until), command.request)
        row.pieces = self._early.pop(job.id, {})
        self._rows[job.id] = row
        self._enlist(row)
        changed.add(job.id)
        return job

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

    def _claim(self, command: Claim, changed: set[str]) -> tuple[Claimed, ...]:
        waiting = self._agendas[Status.ACCEPTED, command.application]
        return tuple(
            self._claimed(row, command, changed)
            for row in self._due(waiting, command.now, command.limit)
        )

    def _claimed(self, row: Row, command: Claim, changed: set[str]) -> Claimed:
        job = row.job.claimed(command.now)
        self._keep(row, job, command.lease_until, changed)
        assert row.request is not None
        return Claimed(job, row.request)

    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        job_id, attempt = lease
        row = self._rows.get(job_id)
        if row is None or row.job.status is not Status.RUNNING or row.job.attempt != attempt:
            return False
        self._move(row, row.job, lease_until)
        return True

    def _change(self, command: Change, changed: set[str]) -> Job:
        row = self._row(command.job_id)
        job = command.apply(row.job)
        if job == row.job:
            return job
        self._keep(row, job, row.wake_at, changed)
        if isinstance(command, Finish) and job.result is not None and job.result.chunks:
            row.pieces[job.attempt, job.result.chunks - 1] = command.body
        return job

    def _purge(self, command: Purge, changed: set[str]) -> bool:
        row = self._row(command.job_id)
        if not row.job.is_finished or row.job.revision != command.revision:
            return False
        self._forget(row, changed)
        return True

    def _sweep(self, command: Sweep, changed: set[str]) -> tuple[Job, ...]:
        running, finished = self._agendas[Status.RUNNING, ""], self._agendas["finished", ""]
        due = self._due(running, command.now, command.limit)
        due += self._due(finished, command.now, command.limit)
        moved = [self._swept(row, command.now, changed) for row in due]
        self._drop_orphans(command)
        return tuple(job for job in moved if job)

    def _swept(self, row: Row, now: float, changed: set[str]) -> Job | None:
        """Do what is due about a job; return it if its status changed."""
        before, job = row.job, swept(row.job, now)
        if job is None:
            self._forget(row, changed)
            return None
        self._keep(row, job, None, changed)
        return job if job.status is not before.status else None

    def _claim_callbacks(self, command: ClaimCallbacks) -> tuple[Job, ...]:
        due = self._agendas["callback", command.application]
        rows = self._due(due, command.now, command.limit)
        for row in rows:
            self._move(row, command.apply(row.job), row.wake_at)
        return tuple(row.job for row in rows)

    def _settle_callback(self, command: SettleCallback) -> Job:
        row = self._row(command.job_id)
        self._move(row, command.apply(row.job), row.wake_at)
        return row.job

    def _drop_orphans(self, command: Sweep) -> None:
        before = prefix_at(command.now - ORPHANED)
        for job_id in sorted(self._early)[: command.limit]:
            if job_id < before:
                del self._early[job_id]

    def _keep(self, row: Row, job: Job, lease_until: float | None, changed: set[str]) -> None:
        self._move(row, job, wake_at(job, lease_until))
        if job.is_finished:
            row.request = None
            self._free_key(job, job.key)
        row.pieces = {key: data for key, data in row.pieces.items() if keeps(job, *key)}
        changed.add(job.id)

    def _move(self, row: Row, job: Job, wake: float) -> None:
        self._unlist(row)
        row.job, row.wake_at = job, wake
        self._enlist(row)

    def _forget(self, row: Row, changed: set[str]) -> None:
        self._unlist(row)
        self._free_key(row.job, None)
        del self._rows[row.job.id]
        changed.add(row.job.id)

    def _free_key(self, job: Job, kept: str | None) -> None:
        """Let go of a job's key, if it still has one and has to."""
        key = job.identity.key if job.identity else ""
        if kept is None and self._keys.get(key) == job.id:
            del self._keys[key]

    def _enlist(self, row: Row) -> None:
        for agenda, instant in self._entries(row):
            insort(agenda, (instant, row.job.id))

    def _unlist(self, row: Row) -> None:
        for agenda, instant in self._entries(row):
            del agenda[bisect_left(agenda, (instant, row.job.id))]

    def _entries(self, row: Row) -> Iterator[tuple[Agenda, float]]:
        yield self._agenda(row.job), row.wake_at
        if row.job.callback_at is not None:
            yield self._agendas["callback", row.job.application], row.job.callback_at

    def _agenda(self, job: Job) -> Agenda:
        if job.status is Status.ACCEPTED:
            return self._agendas[Status.ACCEPTED, job.application]
        return self._agendas["finished" if job.is_finished else Status.RUNNING, ""]

    def _due(self, agenda: Agenda, now: float, limit: int) -> list[Row]:
        return [self._rows[job_id] for wake, job_id in agenda[: max(limit, 0)] if wake <= now]

    def _row(self, job_id: str) -> Row:
        try:
            return self._rows[job_id]
        except KeyError:
            raise JobNotFound(job_id) from None

    def read(self, query: Query) -> object:
        """Answer a query between two batches."""
        with self._lock:
            match query:
                case Get():
                    return self._row(query.job_id).job
                case Load():
                    return self._load(query)
                case Position():
                    waiting = self._agendas[Status.ACCEPTED, query.job.application]
                    ahead = bisect_left(waiting, (query.job.due_at, query.job.id))
                    return min(ahead, query.most)
                case List():
                    return self._list(query)
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
