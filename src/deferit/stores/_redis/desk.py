"""Where a batch is gone through: what the store would be after the commands so far."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from deferit._core.rules import next_turn
from deferit.stores._redis.facts import FOREVER, NotTold
from deferit.stores._redis.rows import ALL_PIECES, LONG_REQUEST, REQUEST, Piece, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deferit._core.job import Job
    from deferit.stores._redis.facts import Facts, Span
    from deferit.stores._redis.rows import Drop, Row


class Desk:
    """A store as it was told to be, and what a batch makes of it; nothing is written from here.

    Every method that returns something may raise `NotTold`.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.names = facts.names
        self.rows: dict[str, Row | None] = {}
        """Those that were put; None: forgotten."""
        self.forgotten: set[str] = set()
        """Jobs that were forgotten, even if their ids were used again."""
        self.relied_on: set[str] = set()
        """Jobs whose rows must not have changed, though they are not written."""
        self.inline: defaultdict[str, dict[str, bytes | None]] = defaultdict(dict)
        """Short bodies, by job and name of the field; None: there is none."""
        self.keys: dict[str, str | None] = {}
        self.moves: defaultdict[str, dict[str, float | None]] = defaultdict(dict)
        """What becomes of sorted sets: of each job the score, or None where it is gone."""
        self.rooms: dict[tuple[str, ...], int] = {}
        """How many entries there may be in sorted sets before this batch is written."""
        self.queues_used: set[tuple[str, str]] = set()
        self.durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.pieces: defaultdict[str, dict[Piece, bytes]] = defaultdict(dict)
        """Pieces of bodies that have come with this batch, and are still of use."""
        self.bodies: dict[str, bool] = {}
        """Whether pieces are there of the request of a job that is still to be created."""
        self.drops: dict[str, Drop] = {}
        self.changed: dict[str, None] = {}
        self._requests: dict[str, bytes] = {}
        self._more: Counter[str] = Counter()
        self._spans: dict[str, Span] = {}

    # --- rows --------------------------------------------------------------------------------------------------------

    def row(self, job_id: str) -> Row | None:
        """Return the row of a job, None if there is none."""
        return self.rows[job_id] if job_id in self.rows else self.facts.rows[job_id]

    def rely_on(self, job_id: str) -> None:
        """Have nothing written if the row of a job is not what it was any more."""
        self.relied_on.add(job_id)

    def put(self, job_id: str, row: Row | None) -> None:
        """Keep a row, or with None forget it."""
        before = self.row(job_id)
        was = self.names.entries(before) if before else {}
        will = self.names.entries(row) if row else {}
        self.rows[job_id] = row
        if row is None:
            self.forgotten.add(job_id)
            self.inline.pop(job_id, None)
        for key in was.keys() | will.keys():
            if was.get(key) != will.get(key):
                self._move(key, job_id, was.get(key), will.get(key))

    def _move(self, key: str, job_id: str, before: float | None, after: float | None) -> None:
        self.moves[key][job_id] = after
        self._more[key] += (after is not None) - (before is not None)
        if key in self._spans:
            self._spans[key].set(job_id, before, after)

    def relist(self, key: str, entry: tuple[float, str], score: float | None) -> None:
        """Give an entry of a sorted set the score that its job's row says, None: remove it; if that row still is so."""
        before, job_id = entry
        if self.row(job_id):  # else nothing can be made of what may be there, nor of its mark
            self.rely_on(job_id)
        if score is None and job_id not in self.moves[key]:
            self._more[key] -= 1
        self.moves[key][job_id] = score
        self._span(key).set(job_id, before, score)

    def request(self, job_id: str) -> bytes:
        """Return the captured request of a job."""
        known = self._requests.get(job_id)
        return self.facts.requests[job_id] if known is None else known

    def put_request(self, job_id: str, request: bytes, *, is_long: bool) -> None:
        """Keep the captured request of a new job, a long one among the pieces."""
        self._requests[job_id] = request
        if is_long:
            self.pieces[job_id][LONG_REQUEST] = request
        else:
            self.inline[job_id][REQUEST] = request

    # --- what finds rows ---------------------------------------------------------------------------------------------

    def key(self, key: str) -> str | None:
        """Return the id of the job that a key finds."""
        return self.keys[key] if key in self.keys else self.facts.keys[key]

    def count(self, *keys: str) -> int:
        """Return how many entries sorted sets have, together."""
        return sum(self.facts.counts[key] + self._more[key] for key in keys)

    def need_room(self, most: int, *keys: str) -> None:
        """Have nothing written if others have filled these sorted sets, so that there is no room for one more entry."""
        room = most - 1 - sum(self._more[key] for key in keys)
        self.rooms[keys] = min(room, self.rooms.get(keys, room))

    def first(self, key: str, count: int, until: float = FOREVER) -> list[tuple[float, str]]:
        """Return up to ``count`` first entries of a sorted set, up to a score."""
        found = self._span(key).first(max(count, 0), until)
        if found is None:
            raise NotTold(self.facts.ask_first(key, self._enough(key, count), until))
        return found

    def next_turn(self, job: Job) -> int:
        """Return the turn of a job that becomes ready."""
        head = self.first(self.names.ready(job.application, job.queue), 1)
        return next_turn(int(head[0][0]) if head else None, self._last_turn(self.names.lane(job)))

    def _last_turn(self, lane: str) -> int | None:
        found = self._span(lane).first(1)
        if found is None:
            raise NotTold(self.facts.ask_last(lane, self._enough(lane, 1)))
        return -int(found[0][0]) if found else None

    def _span(self, key: str) -> Span:
        if key not in self._spans:
            self._spans[key] = self.facts.span(key).moved(self.moves[key])
        return self._spans[key]

    def _enough(self, key: str, count: int) -> int:
        """Return how many entries to ask for, so that as many as wanted are left after this batch's moves."""
        return count + sum(score is None for score in self.moves[key].values())

    def queues(self, application: str) -> set[str]:
        """Return the quoted names of an application's queues."""
        used = {quoted(queue) for name, queue in self.queues_used if name == application}
        return used | self.facts.queues[application]

    # --- what lies beside --------------------------------------------------------------------------------------------

    def has_bodies(self, job_id: str) -> bool:
        """Whether pieces are there of the request of a job that is still to be created."""
        known = self.bodies.get(job_id)
        return self.facts.bodies[job_id] if known is None else known

    def orphans(self, before: str, count: int) -> list[str]:
        """Return up to ``count`` ids of jobs that were never created, of those that sort before another one."""
        found = {job_id for job_id in self.facts.orphans[before] if self.bodies.get(job_id, True)}
        found |= {job_id for job_id, is_there in self.bodies.items() if is_there}
        return sorted(job_id for job_id in found if job_id < before)[: max(count, 0)]

    def drop(self, job_id: str, drop: Drop) -> None:
        """Let go of pieces."""
        pieces = self.pieces[job_id]
        for piece in [piece for piece in pieces if drop.includes(piece)]:
            del pieces[piece]
        if self.drops.get(job_id) == ALL_PIECES:
            return  # all that was there goes; what came since is in `pieces`
        self.drops[job_id] = drop

    def observe(self, application: str, route: str, seconds: Iterable[float]) -> None:
        """Add to what is known of a route."""
        self.durations[application, route] += seconds
