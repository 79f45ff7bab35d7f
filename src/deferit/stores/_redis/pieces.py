"""How pieces of bodies come and go beside the batch that they belong to.

They lie on other nodes of a cluster, so no script can write them with the rest. Before a batch is written the new ones
are there; after it, and only then, the old ones go. A process that ends in between leaves some that nobody needs: of a
job that was never created they are known by `Names.bodies`, others that a batch drops by `Names.trash`, and a sweep of
any process removes both.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from deferit.exceptions import StoreUnavailable
from deferit.stores._redis.scripts import DROP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit.stores._redis.desk import Desk
    from deferit.stores._redis.rows import Names, Piece
    from deferit.stores._redis.server import Argument, Connected


class PieceWriter:
    """Writes pieces before one batch, again for each try, and drops them after it."""

    def __init__(self, connected: Connected, names: Names) -> None:
        self._connected = connected
        self._names = names
        self._in_vain: defaultdict[str, set[Piece]] = defaultdict(set)
        """Written for a try that was not the last, it may be."""

    def write(self, desk: Desk) -> None:
        """Write the pieces that come with a batch."""
        pieces = {job_id: data for job_id, data in desk.pieces.items() if data}
        if not pieces:
            return
        new = [job_id for job_id in pieces if desk.facts.rows.get(job_id) is None]
        if new:
            scored: list[Argument] = [part for job_id in new for part in (0, job_id)]
            self._connected.ask("ZADD", self._names.bodies, *scored)
        for job_id, data in pieces.items():
            self._in_vain[job_id] |= data.keys()
        self._connected.ask_all(
            ("HSET", self._names.pieces(job_id), *_flat(data)) for job_id, data in pieces.items()
        )

    def drop(self, desk: Desk) -> None:
        """Drop what nobody needs after a batch; if that fails, a sweep will do it."""
        in_vain, self._in_vain = self._in_vain, defaultdict(set)
        commands = [*self._drops(desk), *self._leftovers(desk, in_vain)]
        if not commands:
            return
        with suppress(StoreUnavailable):
            self._connected.ask_all(commands)
            if desk.drops:
                self._connected.ask("HDEL", self._names.trash, *desk.drops)

    def _drops(self, desk: Desk) -> Iterator[tuple[Argument, ...]]:
        for job_id, drop in desk.drops.items():
            stay = [piece.field for piece in desk.pieces[job_id]]
            yield "EVAL", DROP.text, 1, self._names.pieces(job_id), *drop, *stay

    def _leftovers(
        self, desk: Desk, in_vain: dict[str, set[Piece]]
    ) -> Iterator[tuple[Argument, ...]]:
        for job_id, pieces in in_vain.items():
            if gone := [piece.field for piece in pieces - desk.pieces[job_id].keys()]:
                yield "HDEL", self._names.pieces(job_id), *gone


def _flat(data: dict[Piece, bytes]) -> list[Argument]:
    return [part for piece, value in data.items() for part in (piece.field, value)]
