"""What a batch was told about the store, and how to ask for what it was not told yet."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from deferit._core.commands import MOST_READY
from deferit.stores._redis.rows import FIELDS, LONG_REQUEST, REQUEST, drop_from, row_from
from deferit.stores._redis.scripts import ROWS, SELECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from deferit.stores._redis.rows import Drop, Names, Row


AFTER_ALL_IDS = "job_~"

FOREVER = float("inf")

Answer = TypeVar("Answer")


class Question(NamedTuple):
    """A command that reads, and who takes the reply."""

    command: tuple[str | int | float, ...]
    tell: Callable[[Any], None]


class NotTold(Exception):
    """Something has to be asked before a batch can be gone through; the argument is the question."""


@dataclass(slots=True)
class Span:
    """The first entries of a sorted set, all of them up to its ``edge``; with the sign -1 the last ones, last first."""

    entries: list[tuple[float, str]]
    edge: tuple[float, str]
    sign: int = 1

    def moved(self, moves: dict[str, float | None]) -> Span:
        """Return a copy after moves: to each job its score, or None where it is gone."""
        entries = [entry for entry in self.entries if entry[1] not in moves]
        span = Span(entries, self.edge, self.sign)
        for job_id, score in moves.items():
            span.set(job_id, None, score)
        return span

    def set(self, job_id: str, before: float | None, after: float | None) -> None:
        """Move an entry; None: it is not there."""
        if before is not None:
            entry = (before * self.sign, job_id)
            at = bisect_left(self.entries, entry)
            if self.entries[at : at + 1] == [entry]:
                del self.entries[at]
        if after is not None and (after * self.sign, job_id) <= self.edge:
            insort(self.entries, (after * self.sign, job_id))

    def first(self, count: int, until: float = FOREVER) -> list[tuple[float, str]] | None:
        """Return up to ``count`` entries up to a score; None: too few are known."""
        end = (until, AFTER_ALL_IDS)
        found = self.entries[: min(count, bisect_right(self.entries, end))]
        return found if len(found) >= count or self.edge >= end else None


class Told(dict[str, Answer]):
    """Answers by what they are about; one that is missing raises `NotTold`."""

    def __init__(self, ask: Callable[[str], Question]) -> None:
        self._ask = ask

    def __missing__(self, name: str) -> Answer:
        raise NotTold(self._ask(name))


class Facts:
    """What is known of the store."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.rows: Told[Row | None] = Told(self.ask_rows)
        self.requests: Told[bytes] = Told(self.ask_request)
        self.keys: Told[str | None] = Told(self.ask_key)
        """Which job each key finds."""
        self.bodies: Told[bool] = Told(self.ask_bodies)
        """Whether pieces are there of the request of a job that is still to be created."""
        self.orphans: Told[list[str]] = Told(self.ask_orphans)
        """Ids that sort before another one, of jobs of which only pieces of a request are there."""
        self.queues: Told[frozenset[str]] = Told(self.ask_queues)
        """The quoted names of an application's queues."""
        self.counts: Told[int] = Told(self.ask_count)
        """How many entries sorted sets have."""
        self.spans: dict[str, Span] = {}
        self.assumed: set[str] = set()
        """Jobs whose ids were taken for new, without asking."""
        self.leftovers: dict[str, Drop] | None = None
        self.selected: set[str] = set()
        """Applications for whose claims was selected."""
        self.are_long: set[str] = set()
        """Jobs whose captured requests lie among the pieces."""

    def assume_new(self, job_ids: Iterable[str]) -> None:
        """Take it for granted that there are no such jobs; the script that writes will see."""
        self.assumed.update(job_ids)
        self.rows.update(dict.fromkeys(self.assumed))

    def span(self, key: str) -> Span:
        """Return what is known of the beginning of a sorted set."""
        return self.spans.get(key, _UNKNOWN)

    # --- questions ---------------------------------------------------------------------------------------------------

    def ask_rows(self, *job_ids: str) -> Question:
        """Ask for rows."""
        keys = map(self.names.row, job_ids)

        def tell(reply: Any) -> None:
            self.rows.update(zip(job_ids, map(row_from, job_ids, reply), strict=True))

        return Question(("EVAL", ROWS.text, len(job_ids), *keys, *FIELDS), tell)

    def ask_request(self, job_id: str) -> Question:
        """Ask for a captured request, where it lies."""
        if job_id in self.are_long:
            command = ("HGET", self.names.pieces(job_id), LONG_REQUEST.field)
        else:
            command = ("HGET", self.names.row(job_id), REQUEST)
        return Question(command, lambda reply: self._tell_request(job_id, reply))

    def ask_key(self, key: str) -> Question:
        """Ask which job a key finds."""
        command = ("GET", self.names.of("key", key))
        return Question(command, lambda reply: self.keys.update({key: reply and reply.decode()}))

    def ask_bodies(self, *job_ids: str) -> Question:
        """Ask whether pieces of requests have come before their jobs."""

        def tell(reply: Any) -> None:
            are_there = (score is not None for score in reply)
            self.bodies.update(zip(job_ids, are_there, strict=True))

        return Question(("ZMSCORE", self.names.bodies, *job_ids), tell)

    def ask_queues(self, application: str) -> Question:
        """Ask for the names of an application's queues."""
        command = ("SMEMBERS", self.names.of("queues", application))
        return Question(command, lambda reply: self._tell_queues(application, reply))

    def ask_count(self, key: str) -> Question:
        """Ask how many entries a sorted set has."""
        return Question(("ZCARD", key), lambda reply: self.counts.update({key: reply}))

    def ask_first(self, key: str, count: int, until: float = FOREVER) -> Question:
        """Ask for up to ``count`` first entries of a sorted set, up to a score."""
        command = ("ZRANGEBYSCORE", key, "-inf", until, "WITHSCORES", "LIMIT", 0, count)
        return Question(
            command, lambda reply: self._tell_span(key, list(_pairs(reply)), count, until)
        )

    def ask_last(self, key: str, count: int) -> Question:
        """Ask for up to ``count`` last entries of a sorted set; as a `Span` their scores are negative."""

        def tell(reply: Any) -> None:
            entries = sorted((-score, job_id) for score, job_id in _pairs(reply))
            # If there are more of them, others may have the score of the last.
            edge = (entries[-1][0], "") if len(entries) >= count else _AFTER_ALL
            self.spans[key] = Span(entries, edge, -1)

        return Question(("ZREVRANGE", key, 0, count - 1, "WITHSCORES"), tell)

    def ask_orphans(self, before: str, count: int = 200) -> Question:
        """Ask for ids that sort before another one, of jobs of which only pieces of a request are there."""

        def tell(reply: Any) -> None:
            self.orphans[before] = [job_id.decode() for job_id in reply]

        return Question(
            ("ZRANGEBYLEX", self.names.bodies, "-", f"({before}", "LIMIT", 0, count), tell
        )

    def ask_leftovers(self, count: int) -> Question:
        """Ask for pieces that should have been dropped, but whose process has ended."""

        def tell(reply: Any) -> None:
            _, found = reply
            self.leftovers = {job_id.decode(): drop_from(text) for job_id, text in found.items()}

        return Question(("HSCAN", self.names.trash, 0, "COUNT", count), tell)

    def ask_selection(self, application: str, now: float, ready: int) -> Question:
        """Ask for what the claims of an application choose from."""
        names, most = self.names, max(ready, 1)
        early, queues = names.of("early", application), names.of("queues", application)
        prefixes = (names.of(kind, application, "") for kind in ("ready", "running"))
        numbers: list[str | int] = [repr(now), MOST_READY, most]
        arguments = [*numbers, *prefixes, names.row(""), *FIELDS, REQUEST]

        def tell(reply: Any) -> None:
            self._tell_selection(application, reply, now, most)

        return Question(("EVAL", SELECT.text, 2, early, queues, *arguments), tell)

    # --- replies -----------------------------------------------------------------------------------------------------

    def _tell_selection(self, application: str, reply: Any, now: float, most: int) -> None:
        early, queues = reply
        of = self.names.of
        self._tell_jobs(of("early", application), early, MOST_READY, now)
        for name, ready, running in queues:
            queue = name.decode()
            self._tell_jobs(of("ready", application, "") + queue, ready, most, FOREVER)
            self.counts[of("running", application, "") + queue] = running
        self._tell_queues(application, [name for name, _, _ in queues])
        self.selected.add(application)

    def _tell_jobs(self, key: str, jobs: list[Any], count: int, until: float) -> None:
        for job_id, _, (*fields, request) in jobs:
            self.rows[job_id.decode()] = row_from(job_id.decode(), fields)
            self._tell_request(job_id.decode(), request)
        entries = [(float(score), job_id.decode()) for job_id, score, _ in jobs]
        self._tell_span(key, entries, count, until)

    def _tell_request(self, job_id: str, reply: bytes | None) -> None:
        if reply is None and job_id not in self.are_long:
            self.are_long.add(job_id)
        else:
            self.requests[job_id] = (
                reply or b""
            )  # gone, if its node has lost it: then the job fails

    def _tell_queues(self, application: str, names: Sequence[bytes]) -> None:
        self.queues[application] = frozenset(name.decode() for name in names)

    def _tell_span(
        self, key: str, entries: list[tuple[float, str]], count: int, until: float
    ) -> None:
        is_cut = len(entries) >= count
        edge = (entries[-1] if entries else _BEFORE_ALL) if is_cut else (until, AFTER_ALL_IDS)
        if edge >= self.span(key).edge:
            self.spans[key] = Span(entries, edge)


def _pairs(reply: Any) -> Iterator[tuple[float, str]]:
    return ((float(score), job_id.decode()) for job_id, score in reply)


_BEFORE_ALL = (-FOREVER, "")
_AFTER_ALL = (FOREVER, AFTER_ALL_IDS)
_UNKNOWN = Span([], _BEFORE_ALL)
