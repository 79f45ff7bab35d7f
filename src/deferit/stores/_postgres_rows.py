"""What a batch has read of the jobs in PostgreSQL, and has to write back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.generators import send

from deferit._core.job import Status
from deferit._core.remains import Remains
from deferit._core.rules import keeps, wake_at
from deferit._records import decode_job, encode_job, salvage
from deferit.exceptions import RecordDamaged
from deferit.stores import _postgres_statements as sql
from deferit.stores._postgres_facts import Facts, Reply
from deferit.stores._postgres_texts import findable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import LiteralString

    from psycopg import Cursor, Pipeline

    from deferit._core.job import Job
    from deferit.stores._postgres_server import Connection

FOREVER = 2**31 - 1
"""Behind the last piece of a body."""


@dataclass(slots=True, eq=False)
class Row:
    """A job, and what of it has a column of its own."""

    job: Job
    record: bytes
    wake_at: float
    turn: int | None
    key: str | None
    offered_at: float | None = None
    request: bytes | None = None
    """If it lies in the row, and was read or is to be written."""
    body: bytes | None = None
    """Only if it was set and not written yet."""
    has_new_body: bool = False
    is_new: bool = False
    """Whether it was not written yet."""


class Rows:
    """The rows that a batch has locked, as they are after the commands so far.

    Changes are kept here until something is selected, or the batch ends; then they are written in sets, one statement
    for all of a kind. Statements are pipelined: only who fetches waits for the server.
    """

    def __init__(self, connection: Connection, pipeline: Pipeline) -> None:
        self.changed: dict[str, None] = {}
        """The ids that `Changes` will tell."""
        self.has_written = False
        self.facts = Facts(self.send, self.flush)
        self._connection = connection
        self._pipeline = pipeline
        self._is_ahead = False
        self._rows: dict[str, Row] = {}
        self._keys: dict[str, Row] = {}
        self._dirty: dict[str, Row] = {}
        self._gone: dict[str, None] = {}
        self._pieces: dict[tuple[str, int, int], bytes] = {}
        self._kept_pieces: dict[str, tuple[int, int]] = {}

    # --- reading -----------------------------------------------------------------------------------------------------

    def send(self, statement: LiteralString, *values: object) -> Reply:
        """Have a statement executed behind those before it; what is returned waits for its rows."""
        cursor = self._connection.execute(statement, values, binary=True)
        self._is_ahead = True
        return lambda: self._received(cursor)

    def _received(self, cursor: Cursor[Any]) -> list[Any]:
        # With a Sync, as only then the server knows that it waits for us, and not for ever (_postgres_server).
        if self._is_ahead:
            self._send_all()
            self._pipeline.sync()
            self._is_ahead = False
        return cursor.fetchall()

    def _send_all(self) -> None:
        """Wait until nothing is left to be sent: `Pipeline.sync` does not, and then waits for the answers for ever."""
        if self._connection.pgconn.flush():
            self._connection.wait(send(self._connection.pgconn))

    def load(self, ids: Iterable[str], keys: Iterable[str]) -> Callable[[], list[Row]]:
        """Lock and read the rows with these ids or keys; the function waits for them.

        All batches lock in the order of ids, so that none waits for one that waits for it.
        """
        named, keyed = list(ids), list(keys)
        if not named:
            return list
        if keyed:
            reply = self.send(sql.NAMED_OR_KEYED, named, keyed)
        else:
            reply = self.send(sql.NAMED, named)
        return lambda: self._known(reply)

    def select(self, statement: LiteralString, *values: object) -> Callable[[], list[Row]]:
        """Write what has changed, then lock and read rows that nobody else has locked; the function waits for them."""
        self.flush()
        reply = self.send(statement, *values)
        return lambda: self._known(reply)

    def fetch(self, statement: LiteralString, *values: object) -> list[Any]:
        """Write what has changed, and return what a statement selects then."""
        self.flush()
        return self.send(statement, *values)()

    def get(self, job_id: str) -> Row | None:
        """Return the row of a job that was loaded, selected or created."""
        return self._rows.get(job_id)

    def keyed(self, key: str | None) -> Row | None:
        """Return the row that has a key."""
        row = self._keys.get(key or "")
        return row if row and row.key else None

    def _known(self, reply: Reply) -> list[Row]:
        return [self._remember(*values) for values in reply()]

    def _remember(self, job_id: str, record: bytes, *columns: Any) -> Row:
        """Return the row of a job; what the batch has made of it counts more than what is read again."""
        row = self._rows.get(job_id)
        _, _, key, _, *request = columns
        if row is None:
            row = self._rows[job_id] = self._row(job_id, record, *columns[:4])
            self._keys[key or ""] = row
        if request and request[0] is not None:
            row.request = request[0]
        return row

    def _row(self, job_id: str, record: bytes, *columns: Any) -> Row:
        """Return a row; one whose record is damaged is set aside first: its job has failed."""
        try:
            return Row(decode_job(record), record, *columns)
        except RecordDamaged as exc:
            job = salvage(remains_from(job_id, self.send(sql.REMAINS, job_id)()), exc)
        wake, turn, key, _ = columns
        row = Row(job, encode_job(job), wake, turn, key and job.key)
        self.set_body(row, None)
        self.keep(row, job, wake_at(job, None))
        self.keep_pieces(job)
        self.changed[job_id] = None
        return row

    # --- changing ----------------------------------------------------------------------------------------------------

    def create(self, row: Row) -> None:
        """Add a new row."""
        row.is_new = True
        self._rows[row.job.id] = self._dirty[row.job.id] = row
        self._keys[row.key or ""] = row
        self.facts.note(row.job, row.turn, 1)
        self.changed[row.job.id] = None

    def keep(
        self,
        row: Row,
        job: Job,
        wake_at: float,
        turn: int | None = None,
        offered: float | None = None,
    ) -> None:
        """Change a row."""
        if job is not row.job:
            row.record = encode_job(job)
        if (job.status, turn) != (row.job.status, row.turn):
            self.facts.note(row.job, row.turn, -1)
            self.facts.note(job, turn, 1)
        row.job, row.wake_at, row.turn, row.offered_at = job, wake_at, turn, offered
        self._dirty[job.id] = row

    def set_body(self, row: Row, body: bytes | None) -> None:
        """Change the short body that lies in a row."""
        row.body, row.has_new_body = body, True

    def free_key(self, row: Row) -> None:
        """Take its key from a row."""
        row.key = None
        self._dirty[row.job.id] = row

    def forget(self, row: Row) -> None:
        """Remove a row, and all that lies beside it."""
        job_id = row.job.id
        row.key = None
        del self._rows[job_id]
        self._dirty.pop(job_id, None)
        if not row.is_new:
            self._gone[job_id] = None
        self.facts.note(row.job, row.turn, -1)
        self._keep_pieces(job_id, (-1, 0), lambda *_: False)
        self.changed[job_id] = None

    def append(self, job_id: str, attempt: int, position: int, data: bytes) -> None:
        """Add a piece of a body."""
        self._pieces[job_id, attempt, position] = data

    def keep_pieces(self, job: Job) -> None:
        """Remove the pieces that are of no use any more, now that a job waits again or is finished."""
        kept = job.attempt, (job.result.chunks if job.result else 0) - 1
        if not job.is_finished:
            kept = 0, FOREVER
        self._keep_pieces(job.id, kept, lambda attempt, index: keeps(job, attempt, index))

    def drop_pieces(self, job_ids: Iterable[str]) -> None:
        """Remove all pieces of jobs that are not there."""
        for job_id in job_ids:
            self._kept_pieces[job_id] = -1, 0

    def _keep_pieces(
        self, job_id: str, kept: tuple[int, int], is_kept: Callable[[int, int], bool]
    ) -> None:
        self._kept_pieces[job_id] = kept
        for piece in [piece for piece in self._pieces if piece[0] == job_id]:
            if not is_kept(*piece[1:]):
                del self._pieces[piece]

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, statement: LiteralString, *values: object) -> None:
        """Send a statement that changes something."""
        self.has_written = True
        self.send(statement, *values)

    def flush(self) -> None:
        """Send what has changed. Pieces are dropped first: those that are added now are of use."""
        if self._gone:
            self.write(sql.FORGET, list(self._gone))
        old = [row for row in self._dirty.values() if not row.is_new]
        if old:
            self.write(sql.SAVE, *_columns(old), *_changed_columns(old))
        new = [row for row in self._dirty.values() if row.is_new]
        if new:
            self._insert(new)
        self._flush_pieces()
        for row in self._dirty.values():
            row.is_new, row.has_new_body, row.body = False, False, None
        self._gone.clear()
        self._dirty.clear()

    def _insert(self, rows: list[Row]) -> None:
        rows.sort(
            key=lambda row: row.key or ""
        )  # as two who wait for each other's keys would wait for ever
        self.write(sql.CREATE, *_columns(rows), *_new_columns(rows))

    def _flush_pieces(self) -> None:
        if self._kept_pieces:
            kept = [(job_id, *kept) for job_id, kept in self._kept_pieces.items()]
            self.write(sql.DROP_PIECES, *_transposed(kept))
        for piece, data in self._pieces.items():
            self.write(sql.APPEND, *piece, data)
        self._kept_pieces.clear()
        self._pieces.clear()


def remains_from(job_id: str, rows: Sequence[Sequence[Any]]) -> Remains:
    """Return what is left of a job, from the row that `sql.REMAINS` selects."""
    ((application, owner, key, queue, status, *rest),) = rows
    return Remains(job_id, application, owner, key, queue, Status(status), *rest)


def _columns(rows: list[Row]) -> list[list[Any]]:
    return _transposed(
        [
            (
                row.job.id,
                row.job.status.value,
                row.job.attempt,
                row.wake_at,
                row.job.callback_at,
                row.turn,
                row.key,
                row.record,
            )
            for row in rows
        ]
    )


def _changed_columns(rows: list[Row]) -> list[list[Any]]:
    return _transposed(
        [(row.offered_at, not row.job.is_finished, row.has_new_body, row.body) for row in rows]
    )


def _new_columns(rows: list[Row]) -> list[list[Any]]:
    return _transposed(
        [
            (
                row.job.application,
                findable(row.job.owner),
                row.job.queue,
                row.job.route,
                None if row.job.is_finished else row.request,
                row.body,
            )
            for row in rows
        ]
    )


def _transposed(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
