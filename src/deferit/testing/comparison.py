"""A comparison of a store with the one in memory, at random."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec.structs import replace

from deferit._core.commands import (
    Append,
    Cancel,
    Claim,
    ClaimCallbacks,
    Create,
    Dispatch,
    Finish,
    Limits,
    Observe,
    Placed,
    Purge,
    Release,
    Renew,
    Report,
    SettleCallback,
    Sweep,
)
from deferit._core.job import Failure, Job, Status
from deferit._core.queries import Due, Get, History, List, Load, Position
from deferit.exceptions import JobNotFound
from deferit.stores.memory import MemoryStore
from deferit.testing.samples import (
    CALLBACK,
    LONG,
    NOON,
    SAME,
    Follower,
    a_job,
    a_result,
    is_gone,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit.stores.base import Store

JOBS = st.integers(0, 4)
ATTEMPTS = st.sampled_from([0, 0, 0, 0, 1, -1])
"""How far a command's attempt is from the job's."""
BODIES = st.sampled_from([b"", b"hello", LONG])
SPANS = st.sampled_from([0.0, 1.0, 20.0, 4000.0, 90_000.0])
LIMITS = st.sampled_from([1, 2, 200])
IDENTITIES = [
    None,
    SAME,
    replace(SAME, fingerprint="another"),
    replace(SAME, while_unfinished=True),
]


class StoreComparison(RuleBasedStateMachine):
    """Does the same at random to a store and to a `MemoryStore`, and compares all that they say.

    Inherit from it and say how a store is made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make_store()
        self.model = MemoryStore()
        self.now = NOON
        self.size = 1
        self.batch: list[Command] = []
        self.followers = Follower(self.store), Follower(self.model)

    @abstractmethod
    def make_store(self) -> Store:
        """Return an empty store, opened."""

    def teardown(self) -> None:
        """Execute what is left, and close the store."""
        self._execute()
        self.store.close()

    @rule(seconds=SPANS)
    def let_time_pass(self, seconds: float) -> None:
        self._execute()
        self.now += seconds

    @rule(size=st.integers(1, 6))
    def let_batches_have(self, size: int) -> None:
        self.size = size

    @rule(
        number=JOBS,
        application=st.sampled_from(["shop", "another"]),
        delay=SPANS,
        ttl=SPANS,
        repeatable=st.booleans(),
        callback=st.sampled_from([None, CALLBACK]),
        identity=st.sampled_from(IDENTITIES),
        owner=st.sampled_from(["ada", "ben", None]),
        queue=st.sampled_from(["", "", "export"]),
        retries=st.sampled_from([0, 1]),
        limits=st.sampled_from([None, Limits(2, None), Limits(None, 2)]),
        at_once=st.booleans(),
        asks_place=st.booleans(),
        request=BODIES,
    )
    def create(  # noqa: PLR0913, PLR0917  what a job begins with
        self,
        number: int,
        delay: float,
        queue: str,
        limits: Limits | None,
        at_once: bool,  # noqa: FBT001
        asks_place: bool,  # noqa: FBT001
        request: bytes,
        **rest: Any,
    ) -> None:
        slots = 1 if queue else None
        instants = {"created_at": self.now, "due_at": self.now + delay}
        job = a_job(number, queue=queue, slots=slots, **instants, **rest)
        if at_once:
            self._ask(Create(job.claimed(self.now), request, self.now + 15, limits, asks_place))
        else:
            self._ask(Create(job, request, None, limits, asks_place))

    @rule(number=JOBS, off=ATTEMPTS, index=st.integers(0, 3), data=BODIES, early=st.booleans())
    def append(self, number: int, off: int, index: int, data: bytes, early: bool) -> None:  # noqa: FBT001
        attempt = 0 if early else max(1, self._attempt(number) + off)
        self._ask(Append(a_job(number).id, attempt, index, data))

    @rule(application=st.sampled_from(["shop", "another"]), limit=LIMITS)
    def claim(self, application: str, limit: int) -> None:
        self._ask(Claim(application, self.now, self.now + 15, limit))

    @rule(number=JOBS)
    def claim_one(self, number: int) -> None:
        self._ask(Claim("shop", self.now, self.now + 15, 1, a_job(number).id))

    @rule(application=st.sampled_from(["shop", "another"]), limit=LIMITS)
    def dispatch(self, application: str, limit: int) -> None:
        self._ask(Dispatch(application, self.now, self.now + 10, limit))

    @rule(seconds=st.lists(st.floats(0, 9), max_size=3))
    def observe(self, seconds: list[float]) -> None:
        self._ask(Observe("shop", "POST /reports", tuple(seconds)))

    @rule(leases=st.lists(st.tuples(JOBS, ATTEMPTS), max_size=3))
    def renew(self, leases: list[tuple[int, int]]) -> None:
        held = tuple((a_job(number).id, self._attempt(number) + off) for number, off in leases)
        self._ask(Renew(held, self.now + 15))

    @rule(number=JOBS, off=ATTEMPTS, progress=st.sampled_from([None, 0, 50, 100]))
    def report(self, number: int, off: int, progress: int | None) -> None:
        attempt = self._attempt(number) + off
        self._ask(Report(a_job(number).id, attempt, self.now, progress, None))

    @rule(
        number=JOBS,
        off=ATTEMPTS,
        chunks=st.sampled_from([None, 0, 1, 1, 3]),
        body=BODIES,
        delay=st.sampled_from([None, 20.0]),
    )
    def finish(
        self, number: int, off: int, chunks: int | None, body: bytes, delay: float | None
    ) -> None:
        result = None if chunks is None else a_result(chunks)
        error = Failure("handler-exception", "…") if result is None else None
        attempt = self._attempt(number) + off
        retry_at = None if delay is None else self.now + delay
        self._ask(Finish(a_job(number).id, attempt, self.now, result, error, body, retry_at))

    @rule(number=JOBS, off=ATTEMPTS)
    def release(self, number: int, off: int) -> None:
        self._ask(Release(a_job(number).id, self._attempt(number) + off, self.now))

    @rule(number=JOBS, off=ATTEMPTS)
    def cancel(self, number: int, off: int) -> None:
        attempt = self._attempt(number) + off
        self._ask(Cancel(a_job(number).id, attempt, self.now, "asked to stop"))

    @rule(application=st.sampled_from(["shop", "another"]), limit=LIMITS)
    def claim_callbacks(self, application: str, limit: int) -> None:
        self._ask(ClaimCallbacks(application, self.now, self.now + 60, limit))

    @rule(number=JOBS, off=ATTEMPTS, delay=st.sampled_from([None, 0.0, 20.0]))
    def settle_callback(self, number: int, off: int, delay: float | None) -> None:
        job = self._known(number)
        attempts = (job.callback.attempts if job and job.callback else 1) + off
        again_at = None if delay is None else self.now + delay
        self._ask(SettleCallback(a_job(number).id, attempts, again_at))

    @rule(number=JOBS, off=ATTEMPTS)
    def purge(self, number: int, off: int) -> None:
        job = self._known(number)
        self._ask(Purge(a_job(number).id, (job.revision if job else 1) + off))

    @rule(limit=LIMITS)
    def sweep(self, limit: int) -> None:
        self._ask(Sweep(self.now, limit))

    def _known(self, number: int) -> Job | None:
        query = Get(a_job(number).id)
        return None if is_gone(self.model, query) else stored(self.model, query.job_id)

    def _attempt(self, number: int) -> int:
        job = self._known(number)
        return job.attempt if job else 1

    def _ask(self, command: Command) -> None:
        self.batch.append(command)
        if len(self.batch) >= self.size:
            self._execute()

    def _execute(self) -> None:
        batch, self.batch = self.batch, []
        answers = [_comparable(store, store.execute(batch)) for store in (self.store, self.model)]
        assert answers[0] == answers[1], batch
        for query in self._queries():
            assert _reply(self.store, query) == _reply(self.model, query), query
        changed = [follow() for follow in self.followers]
        assert changed[0] == changed[1], batch

    def _queries(self) -> Iterator[Query]:
        yield List("shop", "ada", None, 3, None)
        yield List("shop", "ada", Status.ACCEPTED, 9, a_job(3).id)
        yield List("shop", None, None, 9, None)
        yield Due("shop", self.now)
        yield History("shop", "POST /reports")
        for number in range(5):
            job = self._known(number)
            yield Get(a_job(number).id)
            if job:
                yield Position(job.id)
            for attempt in range(self._attempt(number) + 1):
                for index in range(4):
                    yield Load(a_job(number).id, attempt, index)


def _comparable(store: Store, answers: Sequence[object]) -> list[object]:
    return [_told(store, answer) for answer in answers]


def _told(store: Store, answer: object) -> object:
    if isinstance(answer, Exception):
        return type(answer), answer.args
    if isinstance(answer, Placed) and answer.ahead is None:
        return replace(answer, ahead=store.read(Position(answer.job.id)))
    return answer


def _reply(store: Store, query: Query) -> object:
    try:
        return store.read(query)
    except JobNotFound as exc:
        return (type(exc), exc.args)
