"""What each command makes of a store, and what has to be known for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

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
    Report,
    SettleCallback,
    Sweep,
    Swept,
)
from deferit._core.ids import prefix_at
from deferit._core.job import Job, Status
from deferit._core.rules import in_order, offered_at, room, swept, wake_at
from deferit._records import encode_job
from deferit.exceptions import JobExists, JobNotFound
from deferit.stores._redis.facts import FOREVER, NotTold
from deferit.stores._redis.rows import ALL_PIECES, REQUEST, Drop, Piece, Row, quoted
from deferit.stores.base import Performer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Change, Command
    from deferit.stores._redis.desk import Desk

INLINE = 8_192
"""Bytes of a request or a result that lie in the job's row, which one command reads; longer ones don't."""


class Batch(Performer):
    """Goes through commands on a `Desk`.

    Each decides before it puts anything down, so that one that fails has changed nothing.
    """

    ends_the_batch = (NotTold,)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._names = desk.names

    def execute(self, batch: Sequence[Command]) -> list[object]:
        """Return the answers.

        Raises:
            NotTold: something has to be asked first; then a new desk has to be begun with.
        """
        return [self._answer(command) for command in batch]

    # --- new jobs ----------------------------------------------------------------------------------------------------

    def _create(self, command: Create) -> Job:
        desk, job = self._desk, command.job
        other = self._keyed(job)
        if other is not None and command.found(other.job):
            return other.job
        if self._known(job.id) is not None:
            raise JobExists(job.id)
        if other is None:
            command.admit(partial(self._count_waiting, job), partial(self._count_owned, job))
        is_long = len(command.request) > INLINE
        row = Row(
            job,
            encode_job(job),
            wake_at(job, command.lease_until),
            desk.next_turn(job) if command.is_ready else None,
            job.key,
            is_long or desk.has_bodies(job.id),
        )
        if other is not None:
            desk.put(other.job.id, replace(other, key=None))
        desk.put(job.id, row)
        self._keep_beside(command, is_long=is_long)
        return job

    def _keyed(self, job: Job) -> Row | None:
        """Return the row of the job that has a new one's key."""
        found = self._desk.key(job.key) if job.key else None
        return self._known(found) if found else None

    def _keep_beside(self, command: Create, *, is_long: bool) -> None:
        desk, job = self._desk, command.job
        desk.put_request(job.id, command.request, is_long=is_long)
        desk.queues_used.add((job.application, job.queue))
        if job.key:
            desk.keys[job.key] = job.id
        if is_long or desk.has_bodies(job.id):
            desk.bodies[job.id] = False
        desk.changed[job.id] = None

    def _count_waiting(self, job: Job, most: int) -> int:
        of, application = self._names.of, job.application
        ready = of("ready", application, "")
        # Its own as well: others may just begin to use it, too.
        queues = self._desk.queues(application) | {quoted(job.queue)}
        keys = [ready + queue for queue in sorted(queues)]
        return self._count(most, of("early", application), *keys)

    def _count_owned(self, job: Job, most: int) -> int:
        assert job.owner is not None
        return self._count(most, self._names.of("unfinished", job.application, job.owner))

    def _count(self, most: int, *keys: str) -> int:
        count = self._desk.count(*keys)
        if count < most:
            self._desk.need_room(most, *keys)
        return count

    def _append(self, command: Append) -> None:
        desk, job_id = self._desk, command.job_id
        row = self._known(job_id)
        if command.attempt == 0:
            if row is not None:
                raise JobExists(job_id)
            desk.bodies[job_id] = True
        elif row is None:
            raise JobNotFound(job_id)
        else:
            row.job.held_by(command.attempt)
            if not row.has_pieces:
                desk.put(job_id, replace(row, has_pieces=True))
        desk.rely_on(job_id)
        desk.pieces[job_id][Piece(command.attempt, command.index)] = command.data

    # --- claims ------------------------------------------------------------------------------------------------------

    def _claim(self, command: Claim) -> tuple[Claimed, ...]:
        rows = self._next(command) if command.job_id is None else self._named(command)
        return tuple(self._claimed(row, command) for row in rows)

    def _next(self, command: Claim | Dispatch) -> list[Row]:
        """Return the rows of the jobs whose turn it is; offers that were lost come first."""
        again = self._again(command)
        limit = command.limit - len(again)
        ready = self._names.of("ready", command.application, "")
        queues = self._desk.queues(command.application)
        candidates = [self._candidates(ready + queue, limit) for queue in queues]
        return again + [self._row(job.id) for job in in_order(candidates, limit)]

    def _again(self, command: Claim | Dispatch) -> list[Row]:
        """Make ready what is due, less the offers that are to be repeated, which are returned."""
        lost = []
        early = self._names.of("early", command.application)
        for row in self._listed(early, MOST_READY, command.now):
            if row.offered_at is not None and isinstance(command, Dispatch):
                lost.append(row)
            else:
                self._make_ready(row)
        return lost[: max(command.limit, 0)]

    def _candidates(self, ready: str, limit: int) -> list[Job]:
        jobs = [row.job for row in self._listed(ready, limit)]
        return jobs[: self._room(jobs[0], limit)] if jobs else []

    def _named(self, command: Claim) -> list[Row]:
        """Return the row of the job that a claim names, if it may be taken."""
        row = self._known(command.job_id or "")
        if row is None or row.job.status is not Status.ACCEPTED or row.job.is_early(command.now):
            return []
        if self._room(row.job, 1):
            return [row]
        if row.turn is None:
            self._make_ready(row)
        return []

    def _room(self, job: Job, limit: int) -> int:
        running = 0 if job.slots is None else self._desk.count(self._running(job))
        return room(job.slots, running, limit)

    def _running(self, job: Job) -> str:
        return self._names.of("running", job.application, job.queue)

    def _make_ready(self, row: Row) -> None:
        self._desk.put(row.job.id, row.moved(row.wake_at, self._desk.next_turn(row.job)))

    def _claimed(self, row: Row, command: Claim) -> Claimed:
        job = row.job.claimed(command.now)
        request = self._desk.request(job.id)
        if job.slots is not None:
            self._desk.need_room(job.slots, self._running(job))
        self._desk.put(job.id, row.became(job, wake_at(job, command.lease_until)))
        self._desk.changed[job.id] = None
        return Claimed(job, request)

    def _dispatch(self, command: Dispatch) -> tuple[Job, ...]:
        rows = self._next(command)
        for before, row in enumerate(rows):
            place = row.offered_at or offered_at(command.now, before)
            self._desk.put(row.job.id, row.moved(command.again_at, None, place))
        return tuple(row.job for row in rows)

    def _renew(self, lease: tuple[str, int], lease_until: float) -> bool:
        job_id, attempt = lease
        row = self._known(job_id)
        if row is None or row.job.status is not Status.RUNNING or row.job.attempt != attempt:
            return False
        self._desk.put(job_id, row.moved(lease_until))
        return True

    # --- changes -----------------------------------------------------------------------------------------------------

    def _change(self, command: Change) -> Job:
        row = self._row(command.job_id)
        job = command.apply(row.job)
        if job == row.job:
            return job
        if isinstance(command, Finish | Report):
            self._keep(row, job, command.body if isinstance(command, Finish) else b"")
        else:
            self._keep(self._as_lost(row), job)
        return job

    @staticmethod
    def _as_lost(row: Row) -> Row:
        """Return the row of a job whose attempt may have left pieces that no batch has told of: it could be killed."""
        return replace(row, has_pieces=row.has_pieces or row.job.status is Status.RUNNING)

    def _keep(self, row: Row, job: Job, body: bytes = b"") -> None:
        if job.status is Status.RUNNING:
            self._desk.put(job.id, row.became(job, row.wake_at))
        elif job.status is Status.ACCEPTED:
            self._desk.put(job.id, row.became(job, wake_at(job, None)))
            self._drop(row, Drop(1, job.attempt, 0))
        else:
            self._finish(row, job, body)
        self._desk.changed[job.id] = None

    def _finish(self, row: Row, job: Job, body: bytes) -> None:
        chunks = job.result.chunks if job.result else 0
        is_short = chunks == 1 and len(body) <= INLINE
        kept = 0 if is_short else chunks
        after = replace(row.became(job, wake_at(job, None)), has_pieces=kept > 0)
        self._desk.put(job.id, after)
        self._free_key(row, after.key)
        self._drop(row, Drop(0, job.attempt, kept))
        if kept:
            self._desk.pieces[job.id][Piece(job.attempt, chunks - 1)] = body
        inline = {Piece(job.attempt, 0).field: body if is_short else None, REQUEST: None}
        self._desk.inline[job.id].update(inline)

    def _free_key(self, row: Row, kept: str | None) -> None:
        if row.key is not None and kept is None:
            self._desk.keys[row.key] = None

    def _drop(self, row: Row, drop: Drop) -> None:
        if row.has_pieces:
            self._desk.drop(row.job.id, drop)

    def _purge(self, command: Purge) -> bool:
        row = self._row(command.job_id)
        if not row.job.is_finished or row.job.revision != command.revision:
            return False
        self._forget(row)
        return True

    def _forget(self, row: Row) -> None:
        self._desk.put(row.job.id, None)
        self._free_key(row, None)
        self._drop(row, ALL_PIECES)
        self._desk.changed[row.job.id] = None

    # --- what is due -------------------------------------------------------------------------------------------------

    def _sweep(self, command: Sweep) -> Swept:
        lost = self._listed(self._names.running, command.limit, command.now)
        over = self._listed(self._names.finished, command.limit, command.now)
        moved = [self._swept(row, command.now) for row in lost + over]
        orphans = self._drop_orphans(command)
        is_done = max(len(lost), len(over), orphans) < command.limit
        return Swept(tuple(job for job in moved if job), is_done)

    def _swept(self, row: Row, now: float) -> Job | None:
        """Do what is due about a job; return it if its status changed."""
        job = swept(row.job, now)
        if job is None:
            self._forget(row)
            return None
        self._keep(self._as_lost(row), job)
        return job if job.status is not row.job.status else None

    def _drop_orphans(self, command: Sweep) -> int:
        orphans = self._desk.orphans(prefix_at(command.now - ORPHANED), command.limit)
        for job_id in orphans:
            self._desk.bodies[job_id] = False
            self._desk.drop(job_id, ALL_PIECES)
        for job_id, drop in (self._desk.facts.leftovers or {}).items():
            self._desk.drops.setdefault(job_id, drop)
        return len(orphans)

    def _observe(self, command: Observe) -> None:
        self._desk.observe(command.application, command.route, command.seconds)

    def _claim_callbacks(self, command: ClaimCallbacks) -> tuple[Job, ...]:
        due = self._names.of("callbacks", command.application)
        rows = self._listed(due, command.limit, command.now)
        return tuple(self._with_callback(row, command.apply(row.job)) for row in rows)

    def _settle_callback(self, command: SettleCallback) -> Job:
        row = self._row(command.job_id)
        return self._with_callback(row, command.apply(row.job))

    def _with_callback(self, row: Row, job: Job) -> Job:
        if job != row.job:
            after = row.became(job, row.wake_at)
            self._desk.put(job.id, replace(after, turn=row.turn, offered_at=row.offered_at))
        return job

    # --- rows --------------------------------------------------------------------------------------------------------

    def _listed(self, key: str, limit: int, until: float = FOREVER) -> list[Row]:
        """Return the rows of the first entries of a sorted set; an entry that is not what its row says is put right.

        Mostly it is the row that was read a moment later, and another process has moved the job in between.
        """
        while True:
            found = self._desk.first(key, limit, until)
            scores = [self._score(key, entry) for entry in found]
            wrong = [item for item in zip(found, scores, strict=True) if item[0][0] != item[1]]
            if not wrong:
                return [self._row(job_id) for _, job_id in found]
            for entry, score in wrong:
                self._desk.relist(key, entry, score)

    def _score(self, key: str, entry: tuple[float, str]) -> float | None:
        """Return the score that an entry of a sorted set has to have, None: it does not belong there."""
        score, job_id = entry
        before, row = self._desk.row(job_id), self._known(job_id)
        if row is None:
            return None
        scores = self._names.entries(row)
        if before is not row:  # it was damaged, and has its place only now
            return score if key in scores else None
        return scores.get(key)

    def _row(self, job_id: str) -> Row:
        row = self._known(job_id)
        if row is None:
            raise JobNotFound(job_id)
        return row

    def _known(self, job_id: str) -> Row | None:
        """Return the row of a job, if there is one; one whose record is damaged is set aside first."""
        row = self._desk.row(job_id)
        if row is None or row.was is None:
            return row
        self._finish(row, row.job, b"")
        self._desk.changed[job_id] = None
        return self._desk.row(job_id)
