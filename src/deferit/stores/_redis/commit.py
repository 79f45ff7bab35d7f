"""What a batch has made of a store, as the checks and commands of the script that writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from deferit._core.rules import REMEMBERED
from deferit._records import encode
from deferit.stores._redis.rows import beside, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deferit.stores._redis.desk import Desk
    from deferit.stores._redis.rows import Row

KEPT_CHANGES = 4_000
"""Batches that `Changes` can look back on, at the least; they take up memory."""

FIRST_KEY = 5
"""The number of the first key behind those that every batch has; Lua counts from 1."""

FIRST_DATA = 2
"""The number of the first argument behind the packed one."""

MOST_ARGUMENTS = 1_000
"""Arguments of one command at the most, an even number: Lua has room for 8,000 on its stack."""

Value: TypeAlias = str | bytes


class Commit:
    """The keys and arguments of the script; the mark is this batch's own."""

    def __init__(self, desk: Desk, mark: str, *, needs_room: bool) -> None:
        self._mark = mark
        self._needs_room = needs_room
        self._names = desk.names
        self._keys: dict[str, int] = {}
        self._data: list[bytes] = []
        self._checks: list[tuple[str, str | int, list[int]]] = []
        self._commands: list[tuple[str, int, list[str | int]]] = []
        self._changed = " ".join(desk.changed)
        self._check(desk)
        self._write(desk)
        self.is_empty = not (self._commands or desk.relied_on or desk.facts.assumed)
        """Whether there is nothing to write, nor to make sure of."""
        self.has_rows = bool(desk.rows)
        """Whether it is about jobs."""

    def keys(self, *first: str) -> list[str]:
        """Return the keys, the ones that every batch has first."""
        return [*first, *self._keys]

    def arguments(self, identity: str) -> list[bytes]:
        """Return the arguments."""
        head = [identity, self._mark, self._changed, KEPT_CHANGES, self._needs_room]
        return [encode([*head, self._checks, self._commands]), *self._data]

    # --- checks ------------------------------------------------------------------------------------------------------

    def _check(self, desk: Desk) -> None:
        rows = desk.facts.rows
        for job_id in desk.relied_on | desk.facts.assumed | desk.rows.keys():
            before = rows.get(job_id)
            mark = self._packed(before.mark) if before else ""
            self._is("row", mark, desk.names.row(job_id))
        for key, finds in desk.facts.keys.items():
            if key in desk.keys:  # else its job's row says that it has it
                self._is("text", finds or "", desk.names.of("key", key))
        for keys, room in desk.rooms.items():
            self._is("room", room, *keys)

    def _is(self, kind: str, expected: str | int, *keys: str) -> None:
        self._checks.append((kind, expected, [self._number(key) for key in keys]))

    # --- commands ----------------------------------------------------------------------------------------------------

    def _write(self, desk: Desk) -> None:
        names = desk.names
        for job_id, row in desk.rows.items():
            self._write_row(desk, job_id, row)
        for key, moves in desk.moves.items():
            self._write_moves(key, moves)
        for key, finds in desk.keys.items():
            self._do("SET" if finds else "DEL", names.of("key", key), [finds] if finds else [])
        for application, queue in desk.queues_used:
            self._do("SADD", names.of("queues", application), [quoted(queue)])
        for (application, route), seconds in desk.durations.items():
            history = names.of("history", application, route)
            self._do_some("RPUSH", history, [repr(second) for second in seconds])
            self._do("LTRIM", history, [str(-REMEMBERED), "-1"])
        for job_id, drop in desk.drops.items():
            self._do("HSET", names.trash, [job_id, drop.text])
        self._do_some("ZREM", names.bodies, [i for i, there in desk.bodies.items() if not there])

    def _write_row(self, desk: Desk, job_id: str, row: Row | None) -> None:
        key, before = desk.names.row(job_id), desk.facts.rows.get(job_id)
        if job_id in desk.forgotten:
            self._do("DEL", key, [])
            before = None
        if row is None:
            return
        fields, inline = _fields(row), desk.inline.get(job_id, {})
        gone = _fields(before).keys() - fields.keys() if before else set()
        gone |= {name for name, data in inline.items() if data is None}
        self._do_some("HDEL", key, sorted(gone))
        fields |= {name: data for name, data in inline.items() if data is not None}
        self._do("HSET", key, ["v", self._mark, *_flat(fields.items())])

    def _write_moves(self, key: str, moves: dict[str, float | None]) -> None:
        here = [(repr(score), job_id) for job_id, score in moves.items() if score is not None]
        self._do_some("ZREM", key, [job_id for job_id, score in moves.items() if score is None])
        self._do_some("ZADD", key, _flat(here))

    def _do_some(self, name: str, key: str, arguments: Sequence[Value]) -> None:
        for first in range(0, len(arguments), MOST_ARGUMENTS):
            self._do(name, key, arguments[first : first + MOST_ARGUMENTS])

    def _do(self, name: str, key: str, arguments: Sequence[Value]) -> None:
        self._commands.append((name, self._number(key), [self._packed(a) for a in arguments]))

    def _packed(self, argument: Value) -> str | int:
        """Return a text as it is, and of bytes, which Lua cannot unpack, the number."""
        if isinstance(argument, str):
            return argument
        self._data.append(argument)
        return len(self._data) - 1 + FIRST_DATA

    def _number(self, key: str) -> int:
        return self._keys.setdefault(key, len(self._keys) + FIRST_KEY)


def _fields(row: Row) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "r": row.record,
        "w": repr(row.wake_at),
        "b": beside(row.job),
    }
    if row.turn is not None:
        fields["t"] = str(row.turn)
    if row.offered_at is not None:
        fields["o"] = repr(row.offered_at)
    if row.key is not None:
        fields["k"] = row.key
    if row.has_pieces:
        fields["p"] = "1"
    return fields


def _flat(pairs: Iterable[tuple[Value, Value]]) -> list[Value]:
    return [part for pair in pairs for part in pair]
