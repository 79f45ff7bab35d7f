"""What a batch has to know of jobs that it does not touch: whose turn is next, and how many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from deferit._core.job import Status
from deferit._core.rules import next_turn
from deferit.stores import _postgres_statements as sql
from deferit.stores._postgres_texts import findable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deferit._core.commands import Create
    from deferit._core.job import Job

Reply: TypeAlias = Callable[[], list[Any]]
"""Waits for the rows of a statement that was sent."""

Lane: TypeAlias = tuple[str, str, str | None]
"""The application, queue and owner of jobs that take their turns one behind the other."""

Counted: TypeAlias = tuple[str, str | None]
"""An application, whose waiting jobs are counted; with an owner, those of it that are not finished."""


CLOSE = 2_048
"""Jobs below a limit from which on batches that create some go one after the other: eight of the largest at once."""


class Facts:
    """Keeps what `next_turn` and `Create.admit` ask about: looked up for all commands at once, then kept true.

    What other processes do meanwhile it does not see. That makes turns a little less fair; where it would pass a limit,
    a lock keeps them from it (`make_sure`).
    """

    def __init__(self, send: Callable[..., Reply], flush: Callable[[], object]) -> None:
        self._send = send
        self._flush = flush
        self._heads: dict[tuple[str, str], int | None] = {}
        self._lasts: dict[Lane, int | None] = {}
        self._counts: dict[Counted, tuple[int, int]] = {}

    def ask(self, creates: list[Create]) -> Callable[[], None]:
        """Ask for what these commands need, in two statements; the function waits for the answers."""
        lanes = self.ask_lanes(create.job for create in creates if create.is_ready)
        wanted = [pair for create in creates for pair in _counted(create)]
        most = max((most for _, most in wanted), default=0)
        counts = self._ask_counts((whose for whose, _ in wanted), most)

        def learn() -> None:
            lanes()
            counts()

        return learn

    def ask_lanes(self, jobs: Iterable[Job]) -> Callable[[], None]:
        """Ask for the turns in the lanes of these jobs; the function waits for the answer."""
        lanes = dict.fromkeys(map(lane_of, jobs))
        if not lanes:
            return _nothing
        reply = self._send(sql.LANES, *map(list, zip(*lanes, strict=True)))
        return lambda: self._learn_lanes(reply)

    def make_sure(self, creates: list[Create], lock: Callable[..., int]) -> None:
        """Keep others from counting what is close to a limit, until this batch is committed, and count again."""
        close = {
            whose: most
            for create in creates
            for whose, most in _counted(create)
            if self._counts[whose][0] + CLOSE > most
        }
        if close:
            self._send(sql.LOCK, sorted(lock("limit", *whose) for whose in close))
            self._ask_counts(close, max(close.values()))()

    def next_turn(self, job: Job) -> int:
        """Return the turn of a job that becomes ready now."""
        lane = lane_of(job)
        if lane[:2] not in self._heads or lane not in self._lasts:
            self._flush()
            self.ask_lanes([job])()
        return next_turn(self._heads[lane[:2]], self._lasts[lane])

    def count_waiting(self, job: Job, most: int) -> int:
        """Count the waiting jobs of the application, as far as ``most``."""
        return self._count((job.application, None), most)

    def count_owned(self, job: Job, most: int) -> int:
        """Count the unfinished jobs of the owner in the application, as far as ``most``."""
        return self._count(_owned(job), most)

    def note(self, job: Job, turn: int | None, by: int) -> None:
        """Take note that a row comes (1) or goes (-1)."""
        if turn is not None and by > 0:
            self._add_turn(lane_of(job), turn)
        elif turn is not None:  # which is the next one now, has to be asked again
            self._heads.pop(lane_of(job)[:2], None)
            self._lasts.pop(lane_of(job), None)
        if job.status is Status.ACCEPTED:
            self._note_count((job.application, None), by)
        if job.owner is not None and not job.is_finished:
            self._note_count(_owned(job), by)

    def _add_turn(self, lane: Lane, turn: int) -> None:
        if self._heads.get(lane[:2], turn) is None:
            self._heads[lane[:2]] = turn
        if lane in self._lasts:
            self._lasts[lane] = turn

    def _note_count(self, whose: Counted, by: int) -> None:
        count, most = self._counts.get(whose, (0, 0))
        if by < 0 and count >= most:  # there may be more than were counted
            self._counts.pop(whose, None)
        elif whose in self._counts:
            self._counts[whose] = count + by, most

    def _learn_lanes(self, reply: Reply) -> None:
        for application, queue, owner, head, last in reply():
            self._heads[application, queue] = head
            self._lasts[application, queue, owner] = last

    def _count(self, whose: Counted, most: int) -> int:
        if self._counts.get(whose, (0, -1))[1] < most:
            self._flush()
            self._ask_counts([whose], most)()
        return min(self._counts[whose][0], most)

    def _ask_counts(self, whose: Iterable[Counted], most: int) -> Callable[[], None]:
        pairs = dict.fromkeys(whose)
        if not pairs:
            return _nothing
        reply = self._send(sql.COUNTS, most, most, *map(list, zip(*pairs, strict=True)))
        return lambda: self._learn_counts(reply, most)

    def _learn_counts(self, reply: Reply, most: int) -> None:
        for application, owner, count in reply():
            self._counts[application, owner] = count, most


def lane_of(job: Job) -> Lane:
    """Return where a job takes its turn."""
    return job.application, job.queue, findable(job.owner)


def _counted(create: Create) -> Iterator[tuple[Counted, int]]:
    """Yield what has to be counted before a job is created, and how far."""
    job, limits = create.job, create.limits
    if limits and limits.max_queue is not None and job.status is Status.ACCEPTED:
        yield (job.application, None), limits.max_queue
    if limits and limits.max_per_owner is not None and job.owner is not None:
        yield _owned(job), limits.max_per_owner


def _owned(job: Job) -> Counted:
    return job.application, findable(job.owner)


def _nothing() -> None:
    """Wait for no answer."""
