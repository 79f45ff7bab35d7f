"""How queries are answered from Redis, each in a round trip or two."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, assert_never

from deferit._core.queries import (
    Ahead,
    Changed,
    Changes,
    Due,
    Get,
    History,
    List,
    Load,
    Position,
)
from deferit._records import decode_job
from deferit.exceptions import JobNotFound, RecordDamaged
from deferit.stores._redis.rows import FIELDS, Piece, row_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deferit._core.job import Job
    from deferit._core.queries import Query
    from deferit.stores._redis.rows import Names, Row
    from deferit.stores._redis.server import Connected

PAGE = 200
"""Jobs of a list that are read at once, if not all of them may be asked for."""


class Reader:
    """Answers queries, from any thread."""

    def __init__(self, connected: Connected, names: Names) -> None:
        self._ask = connected.ask
        self._ask_all = connected.ask_all
        self._names = names

    def read(self, query: Query) -> object:  # noqa: PLR0911  one for each query
        """Answer a query."""
        match query:
            case Get():
                return self._get(query.job_id)
            case Load():
                return self._load(query)
            case Position():
                return self._position(query)
            case Due():
                return self._is_due(query)
            case List():
                return self._list(query)
            case History():
                history = self._names.of("history", query.application, query.route)
                return tuple(map(float, self._ask("LRANGE", history, 0, -1)))
            case Changes():
                return self._changes(query.since)
        assert_never(query)

    def get_all(self, job_ids: Sequence[str]) -> list[Job | Exception]:
        """Find jobs by their ids."""
        records = self._ask_all(("HGET", self._names.row(job_id), "r") for job_id in job_ids)
        return [self._found(*pair) for pair in zip(job_ids, records, strict=True)]

    def _get(self, job_id: str) -> Job:
        found = self._found(job_id, self._ask("HGET", self._names.row(job_id), "r"))
        if isinstance(found, Exception):
            raise found
        return found

    def _found(self, job_id: str, record: bytes | None) -> Job | Exception:
        job = None if record is None else self._decoded(job_id, record)
        return job or JobNotFound(job_id)

    def _decoded(self, job_id: str, record: bytes) -> Job | None:
        """Return a job; of one whose record is damaged, what lies beside it; None if that is damaged too."""
        try:
            return decode_job(record)
        except RecordDamaged:
            row = self._row(job_id)
            return row.job if row else None

    def _row(self, job_id: str) -> Row | None:
        return row_from(job_id, self._ask("HMGET", self._names.row(job_id), *FIELDS))

    def _load(self, query: Load) -> bytes:
        """Look in the row, where short bodies lie, and among the pieces."""
        field = Piece(query.attempt, query.index).field
        keys = [self._names.pieces(query.job_id)]
        if query.index == 0:
            keys.insert(0, self._names.row(query.job_id))
        for data in self._ask_all(("HGET", key, field) for key in keys):
            if data is not None:
                return bytes(data)
        raise JobNotFound(query.job_id)

    def _position(self, query: Position) -> Ahead:
        """Look in all places where the job may be, at once: it moves from one to the next."""
        row = self._row(query.job_id)
        if row is None:
            return Ahead(0, 0)
        names, job = self._names, row.job
        offered, ready = (name(job.application, job.queue) for name in (names.offered, names.ready))
        places = [("ZRANK", offered, job.id), ("ZRANK", ready, job.id)]
        early = ("ZSCORE", names.of("early", job.application), job.id)
        sizes = [("ZCARD", offered), ("ZCARD", ready)]
        running = ("ZCARD", names.of("running", job.application))
        found = self._ask_all([*places, early, *sizes, running], at_once=True)
        return Ahead(min(_in_front(*found[:5]), query.most), min(found[5], query.most))

    def _is_due(self, query: Due) -> bool:
        of, application = self._names.of, query.application
        early = ("ZRANGEBYSCORE", of("early", application), "-inf", query.now, "LIMIT", 0, 1)
        due, queues = self._ask_all([early, ("SMEMBERS", of("queues", application))])
        ready = [of("ready", application, "") + name.decode() for name in queues]
        return bool(due) or (bool(ready) and self._ask("EXISTS", *ready) > 0)

    def _list(self, query: List) -> tuple[Job, ...]:
        is_narrow = query.status is not None or query.route is not None
        pages = self._pages(query, PAGE if is_narrow else max(query.limit, 1))
        jobs = (job for job in chain.from_iterable(pages) if query.includes(job))
        return tuple(islice(jobs, query.limit))

    def _pages(self, query: List, size: int) -> Iterator[list[Job]]:
        kind = ("all",) if query.owner is None else ("owned", query.owner)
        key = self._names.of(kind[0], query.application, *kind[1:])
        end = f"({query.before}" if query.before else "+"
        while True:
            found = self._ask("ZREVRANGEBYLEX", key, end, "-", "LIMIT", 0, size)
            ids = [job_id.decode() for job_id in found]
            rows = [("HGET", self._names.row(job_id), "r") for job_id in ids]
            records = zip(ids, self._ask_all(rows) if rows else [], strict=True)
            jobs = [self._decoded(*pair) for pair in records if pair[1] is not None]
            yield [job for job in jobs if job is not None]
            if len(ids) < size:
                return
            end = f"({ids[-1]}"

    def _changes(self, since: int) -> Changed:
        cursor = int(self._ask("GET", self._names.cursor) or 0)
        if since < 0 or since == cursor:
            return Changed(cursor, ())
        if since > cursor:
            since = 0  # it is of another server, or of data that was lost
        changes = self._ask("XRANGE", self._names.changes, f"({since}-0", f"{cursor}-0")
        ids = (job_id for _, change in changes for job_id in change[b"ids"].decode().split())
        return Changed(cursor, tuple(dict.fromkeys(ids)))


def _in_front(
    place: int | None, turn: int | None, early: float | None, offered: int, ready: int
) -> int:
    """Count the jobs in front of one, by its place among the offered ones and its turn among the ready ones."""
    if place is not None:
        return place
    if turn is not None:
        return offered + turn
    return 0 if early is None else offered + ready
