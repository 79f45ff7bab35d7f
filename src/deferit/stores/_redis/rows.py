"""How jobs lie in Redis: the names of keys, the fields of a row, and its entries in the sorted sets that find it.

Everything that a batch may change together has one hash tag, ``{prefix}``, and so lies on one node of a cluster: rows,
sorted sets, the log of changes. The pieces of bodies, which are most of the bytes, have a tag for each job,
``{prefix:id}``, and spread over all nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from deferit._core.callback import Callback
from deferit._core.job import Job, Status
from deferit._core.remains import Remains, salvaged
from deferit._records import decode_job, encode, encode_job, report, salvage
from deferit.exceptions import RecordDamaged

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS = ("v", "r", "w", "t", "o", "k", "p", "b")
"""What is read of a row: the mark of the batch that wrote it, the job's record, `Row.wake_at`, its turn,
`Row.offered_at`, the key that finds it, whether there are pieces of bodies, what finds the job if the record cannot be
read (`beside`). In it are also ``q``, a short captured request, and ``1:0``, a short result of attempt 1."""

REQUEST = "q"


@dataclass(frozen=True, slots=True)
class Row:
    """A job and what the store keeps of it for itself."""

    job: Job
    record: bytes
    wake_at: float
    turn: int | None = None
    key: str | None = None
    has_pieces: bool = False
    mark: str | bytes = ""
    """Of the batch that wrote it; no other has the same. Bytes, if it is damaged."""
    was: Job | None = None
    """If its record is damaged, the job as which it is still found in the sorted sets."""
    offered_at: float | None = None

    def moved(
        self, wake_at: float, turn: int | None = None, offered_at: float | None = None
    ) -> Row:
        """Return the row of the same job, waiting for something else."""
        return replace(self, wake_at=wake_at, turn=turn, offered_at=offered_at)

    def became(self, job: Job, wake_at: float) -> Row:
        """Return the row of a job that has changed, and has no turn any more, nor is offered."""
        key = self.key if job.key else None
        return replace(self.moved(wake_at), job=job, record=encode_job(job), key=key, was=None)


def row_from(job_id: str, fields: Sequence[bytes | None]) -> Row | None:
    """Return the row that `FIELDS` make, None if there is none, or nothing of it can be read."""
    mark, record, wake_at, turn, offered_at, key, has_pieces, rest = fields
    if mark is None or record is None or wake_at is None:
        return None
    row = partial(
        Row,
        record=record,
        wake_at=_number(wake_at),
        turn=None if turn is None else int(_number(turn)),
        offered_at=None if offered_at is None else _number(offered_at),
        key=None if key is None else key.decode(errors="replace"),
        has_pieces=has_pieces is not None,
        mark=mark.decode() if mark.isascii() else mark,
    )
    try:
        return row(decode_job(record))
    except RecordDamaged as exc:
        remains = _remains(job_id, rest, row.keywords)
        if remains:
            return row(salvage(remains, exc), was=_found(remains))
        report(job_id, exc, "nothing of it is left, and it is forgotten")
        return None


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def beside(job: Job) -> bytes:
    """Return what finds a job, apart from its record."""
    return encode((job.application, job.owner, job.queue, job.status, job.attempt))


_decode_beside = msgspec.msgpack.Decoder(tuple[str, str | None, str, Status, int]).decode


def _remains(job_id: str, data: bytes | None, row: dict[str, Any]) -> Remains | None:
    try:
        application, owner, queue, status, attempt = _decode_beside(data or b"")
    except msgspec.DecodeError:
        return None
    key, wake_at = row["key"], row["wake_at"]
    return Remains(job_id, application, owner, key, queue, status, attempt, wake_at)


def _found(remains: Remains) -> Job:
    """Return the job that is in all sorted sets where one with these remains may be."""
    job = salvaged(remains)
    return job.but(status=remains.status, callback=Callback("", "", due_at=0.0))


@dataclass(frozen=True, slots=True)
class Piece:
    """Which piece of a job's bodies; those of the captured request have the attempt 0.

    The index -1 is that of a request itself, if it is too long for a row.
    """

    attempt: int
    index: int

    @property
    def field(self) -> str:
        """Its name in the hash of its job's pieces."""
        return f"{self.attempt}:{self.index}"


LONG_REQUEST = Piece(0, -1)


class Drop(NamedTuple):
    """Which pieces of a job are of no use any more: all of some attempts, but the first ones of the last."""

    first: int
    last: int
    kept: int

    def includes(self, piece: Piece) -> bool:
        """Whether a piece goes."""
        is_kept = piece.attempt == self.last and 0 <= piece.index < self.kept
        return self.first <= piece.attempt <= self.last and not is_kept

    @property
    def text(self) -> str:
        """How it is noted until it is done."""
        return " ".join(map(str, self))


ALL_PIECES = Drop(0, 2**31, 0)


def drop_from(text: bytes) -> Drop:
    """Return what was noted."""
    first, last, kept = map(int, text.split())
    return Drop(first, last, kept)


class Names:
    """The names of a store's keys."""

    def __init__(self, prefix: str) -> None:
        self._tag = f"{{{prefix}}}"
        self._prefix = prefix
        self.identity = self.of("store")
        self.cursor = self.of("cursor")
        self.changes = self.of("changes")
        self.running = self.of("running")
        self.finished = self.of("finished")
        self.bodies = self.of("bodies")
        """Ids of jobs that are still to be created, of whose request there are pieces."""
        self.trash = self.of("trash")
        """Which pieces of a job are still to be dropped."""

    def of(self, kind: str, *parts: str) -> str:
        """Return a key; no two have the same name, whatever the parts contain."""
        return ":".join([self._tag, kind, *map(quoted, parts)])

    def row(self, job_id: str) -> str:
        """Return the key of a job's row."""
        return f"{self._tag}:job:{job_id}"

    def pieces(self, job_id: str) -> str:
        """Return the key of the pieces of a job's bodies, which has a hash tag of its own."""
        return f"{{{self._prefix}:{job_id}}}:pieces"

    def ready(self, application: str, queue: str) -> str:
        """Return the key of a queue's ready jobs, by turn."""
        return self.of("ready", application, queue)

    def offered(self, application: str, queue: str) -> str:
        """Return the key of a queue's offered jobs, in the order in which they were offered."""
        return self.of("offered", application, queue)

    def lane(self, job: Job) -> str:
        """Return the key of the turns that an owner's jobs have in a queue."""
        owner = () if job.owner is None else (job.owner,)
        return self.of("lane", job.application, job.queue, *owner)

    def entries(self, row: Row) -> dict[str, float]:
        """Return the sorted sets in which a job is, each with its score."""
        job = row.was or row.job
        found = {self.of("all", job.application): 0.0}
        if job.owner is not None:
            found[self.of("owned", job.application, job.owner)] = 0.0
            if not job.is_finished:
                found[self.of("unfinished", job.application, job.owner)] = 0.0
        if job.callback_at is not None:
            found[self.of("callbacks", job.application)] = job.callback_at
        return found | self._by_status(row, job)

    def _by_status(self, row: Row, job: Job) -> dict[str, float]:
        if row.turn is not None:
            turn = float(row.turn)
            return {self.ready(job.application, job.queue): turn, self.lane(job): turn}
        if job.status is Status.ACCEPTED:
            found = {self.of("early", job.application): row.wake_at}
            if row.offered_at is not None:
                found[self.offered(job.application, job.queue)] = row.offered_at
            return found
        if job.is_finished:
            return {self.finished: row.wake_at}
        return {
            self.running: row.wake_at,
            self.of("running", job.application): 0.0,
            self.of("running", job.application, job.queue): 0.0,
        }


@lru_cache(4096)
def quoted(part: str) -> str:
    """Return a part of a key without colons."""
    return quote(part, safe="")
