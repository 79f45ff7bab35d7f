from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from tests.process.parts import Process, WatchedStore, draft

from deferit._core.commands import Create, Observe
from deferit._core.effects import Foresee, Recall
from deferit._core.job import Failure, Job
from deferit._core.queries import History, Position
from deferit._core.rules import REMEMBERED
from deferit._process.durations import ALL, Durations
from deferit._process.forecaster import STALE, TOLD, Forecaster
from deferit._process.ledger import Ledger
from deferit.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._core.estimate import Known, Outlook
    from deferit._core.queries import Query
    from deferit._process.runs import Run

ROUTE = "POST /reports"


class ReadStore(WatchedStore):
    """A store that notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[Query] = []

    def read(self, query: Query) -> object:
        self.queries.append(query)
        return super().read(query)


class Kit:
    """A forecaster with its parts, and a clock that stands still."""

    def __init__(self, *, is_quick: bool = True) -> None:
        self.store = ReadStore()
        self.store.reads_are_quick = is_quick
        self.ledger = Ledger(self.store)
        self.ledger.open()
        self.durations = Durations()
        self.clock = 1_000.0
        self.forecaster = Forecaster("default", 4, self.ledger, self.durations, lambda: self.clock)

    def seen(self, *seconds: float, name: str = ROUTE) -> None:
        """Have it in the store that jobs took so long."""
        self.ledger.execute(Observe("default", name, seconds))

    def stored(self, number: int = 0, **changes: Any) -> Job:
        job = draft(number, **changes)
        self.ledger.execute(Create(job, b""))
        return job

    def left(self, job: Job) -> float:
        """Return the seconds that are left by the estimate, of a job that has just begun."""
        outlook = self.forecaster.foresee(Foresee(job))
        assert outlook.expected is not None
        return outlook.expected.median - job.updated_at

    def reads(self, kind: type[Any] = History) -> int:
        return sum(isinstance(query, kind) for query in self.store.queries)


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    kit = Kit(is_quick=getattr(request, "param", True))
    yield kit
    kit.ledger.close()


def begun(**changes: Any) -> Job:
    job = draft(**changes)
    return job.claimed(job.created_at)


# --- what is read ----------------------------------------------------------------------------------------------------


def test_a_job_that_runs_costs_no_query_but_the_first_of_its_route(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)

    found = [kit.left(begun()) for _ in range(9)]

    assert found == [pytest.approx(10, rel=0.02)] * 9
    assert kit.store.queries == [History("default", ROUTE)]


def test_a_job_that_waits_costs_its_position_and_no_more(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    job = kit.stored()

    for _ in range(9):
        outlook = kit.forecaster.foresee(Foresee(job))
        assert (outlook.position, outlook.expected is not None) == (0, True)

    assert kit.reads(Position) == 9
    assert kit.reads() == 2  # its route's, and its queue's


def test_what_others_wrote_is_known_after_the_next_look(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    kit.left(begun())

    kit.seen(*[30.0] * 60)
    assert kit.left(begun()) == pytest.approx(10, rel=0.02)
    kit.forecaster.attend()

    assert kit.left(begun()) == pytest.approx(30, rel=0.02)


def test_only_what_was_asked_for_is_looked_at_again(kit: Kit) -> None:
    kit.forecaster.foresee(Foresee(begun()))
    for _ in range(5):
        kit.forecaster.attend()

    assert kit.reads() == 2


def test_a_history_that_nobody_asked_for_in_a_while_is_read_again(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    kit.left(begun())
    kit.seen(*[30.0] * 60)

    kit.clock += STALE

    assert kit.left(begun()) == pytest.approx(30, rel=0.02)


def test_a_limited_queue_has_the_history_of_its_route_alone(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    job = kit.stored(queue=ROUTE, slots=2)

    known = kit.forecaster.recall(Recall(job))

    assert known.route is known.queue is not None
    assert kit.store.queries == [History("default", ROUTE)]


def test_the_queue_of_all_has_a_history_of_its_own(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    kit.seen(*[40.0] * 30, name=ALL)

    known = kit.forecaster.recall(Recall(draft()))

    assert known.route is not None
    assert known.queue is not None
    assert (known.route.mean, known.queue.mean) == (10.0, 40.0)
    assert known.concurrency == 4


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kit", [True, False], ids=["quick", "slow"], indirect=True)
def test_those_who_await_are_told_the_same(kit: Kit, backend: str) -> None:
    kit.seen(*[10.0] * 30)
    job = kit.stored()

    outlook: Outlook = anyio.run(kit.forecaster.aforesee, Foresee(job), backend=backend)
    known: Known = anyio.run(kit.forecaster.arecall, Recall(job), backend=backend)

    assert outlook.position == 0
    assert outlook.expected == kit.forecaster.foresee(Foresee(job)).expected
    assert known == kit.forecaster.recall(Recall(job))


def test_a_store_that_is_down_is_said_to_be_and_nothing_is_remembered_of_it(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)

    kit.store.failure = StoreUnavailable("memory://", "gone")
    with pytest.raises(StoreUnavailable):
        kit.forecaster.foresee(Foresee(begun()))
    kit.store.failure = None

    assert kit.left(begun()) == pytest.approx(10, rel=0.02)


def test_a_route_that_is_known_is_told_of_while_the_store_is_down(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    kit.left(begun())

    kit.store.failure = StoreUnavailable("memory://", "gone")

    assert kit.left(begun()) == pytest.approx(10, rel=0.02)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_job_that_waits_is_told_the_same_until_it_is_far_from_true(kit: Kit) -> None:
    for name in (ROUTE, ALL):
        kit.seen(*[10.0] * 30, name=name)
    kit.stored(0)
    job = kit.stored(1)

    first = kit.forecaster.foresee(Foresee(job)).expected
    kit.seen(*[11.0] * 60)
    kit.forecaster.attend()
    near = kit.forecaster.foresee(Foresee(job)).expected
    kit.seen(*[60.0] * 60)
    kit.forecaster.attend()
    far = kit.forecaster.foresee(Foresee(job)).expected

    assert near is not None
    assert first is near
    assert far is not None
    assert far.median > near.median + 40


def test_no_more_is_remembered_of_what_was_said_than_fits(kit: Kit) -> None:
    kit.seen(*[10.0] * 30)
    for number in range(TOLD + 2):
        kit.forecaster.foresee(Foresee(draft(number)))

    assert len(kit.forecaster._told) == 2


# --- what is written -------------------------------------------------------------------------------------------------


def wrote(kit: Kit) -> list[Observe]:
    kit.ledger.execute(Observe("default", "after all others", ()))
    return [command for command in kit.store.executed(Observe) if command.seconds]


def test_what_jobs_took_is_written_in_one_go(kit: Kit) -> None:
    for number in range(50):
        kit.durations.add(job := begun(number=number), job.updated_at + 0.5, None)
    kit.durations.add(job := begun(route="PUT /logo"), job.updated_at + 2, None)

    kit.forecaster.attend()
    kit.forecaster.attend()

    written = {command.route: len(command.seconds) for command in wrote(kit)}
    assert written == {ROUTE: 50, "PUT /logo": 1, ALL: 51}
    assert len(wrote(kit)) == 3


def test_where_nothing_was_done_nothing_is_written(kit: Kit) -> None:
    kit.forecaster.attend()

    assert wrote(kit) == []


def test_no_more_is_written_than_is_remembered(kit: Kit) -> None:
    job = begun()
    for number in range(REMEMBERED + 5):
        kit.durations.add(job, job.updated_at + number, None)

    kit.forecaster.write()

    assert {len(command.seconds) for command in wrote(kit)} == {REMEMBERED}
    assert wrote(kit)[0].seconds[-1] == pytest.approx(REMEMBERED + 4, abs=1e-3)


def test_a_limited_route_is_written_down_once(kit: Kit) -> None:
    job = begun(queue=ROUTE, slots=2)
    kit.durations.add(job, job.updated_at + 3, None)

    kit.forecaster.write()

    assert [command.route for command in wrote(kit)] == [ROUTE]


def test_failures_and_times_that_cannot_be_are_not_taken_note_of() -> None:
    durations = Durations()
    job = begun()

    durations.add(job, job.updated_at + 1, Failure("handler-exception", "KeyError"))
    durations.add(job, job.updated_at - 1, None)
    durations.add(draft(), job.updated_at + 1, None)

    assert durations.take() == {}


# --- in a process ----------------------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.close()


def raising(_run: Run) -> None:
    raise RuntimeError


def test_a_worker_takes_note_of_what_succeeds(process: Process) -> None:
    process.end_of(process.create(0))
    process.handlers.handler = raising
    process.end_of(process.create(1))

    taken = process.worker.durations.take()

    assert {name: len(seconds) for name, seconds in taken.items()} == {ROUTE: 1, ALL: 1}
    assert 0 <= taken[ROUTE][0] < 60
