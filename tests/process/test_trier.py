from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.process.parts import PATIENCE, Process, answer, draft, eventually, replica

from deferit._core.commands import Create, Limits
from deferit._core.effects import ShuttingDown, Try
from deferit._core.http import Response
from deferit._core.job import Job, Status
from deferit._core.turns import MOST_IN_LINE
from deferit.exceptions import QueueFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._process.runs import Run


class Client(threading.Thread):
    """A request in mode ``auto`` that waits for its answer."""

    def __init__(self, process: Process, job: Job, seconds: float, limits: Limits | None) -> None:
        super().__init__()
        self._process = process
        self._effect = Try(job, replica(), seconds, limits)
        self._end: Response | Job | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._end = self._process.trier.tries(self._effect)
        except Exception as exc:  # noqa: BLE001  a test looks at it
            self._end = exc

    def end(self) -> Response | Job | Exception:
        self.join(PATIENCE)
        assert self._end is not None
        return self._end


class Busy:
    """A process with one slot, which a job has until it is let go; notes which handlers have run."""

    def __init__(self) -> None:
        self.process = Process(concurrency=1)
        self.ran: list[str] = []
        self.gate = threading.Event()
        self.began = threading.Event()
        self.process.handlers.handler = self._handle
        self.first = self.process.create(0, route="first")
        assert self.began.wait(PATIENCE)

    def _handle(self, run: Run) -> None:
        if run.route == "first":
            self.began.set()
            assert self.gate.wait(PATIENCE)
        self.ran.append(run.route)
        answer(run, run.route.encode())

    def ask(self, number: int, seconds: float = PATIENCE, limits: Limits | None = None) -> Client:
        """Have a client ask, and wait until its trial stands in line."""
        before = self.in_line
        job = draft(number, route=f"trial {number}", repeatable=True)
        client = Client(self.process, job, seconds, limits)
        eventually(lambda: self.in_line > before or not client.is_alive())
        return client

    @property
    def in_line(self) -> int:
        return len(self.process.worker.slots._line)


@pytest.fixture
def busy() -> Iterator[Busy]:
    busy = Busy()
    yield busy
    busy.gate.set()
    busy.process.close()


def test_trials_in_line_begin_in_their_order_and_are_not_stored(busy: Busy) -> None:
    clients = [busy.ask(number) for number in (1, 2, 3)]
    busy.gate.set()
    ends = [client.end() for client in clients]

    assert [end.body for end in ends if isinstance(end, Response)] == [
        b"trial 1",
        b"trial 2",
        b"trial 3",
    ]
    assert busy.ran == ["first", "trial 1", "trial 2", "trial 3"]
    assert len(busy.process.store.executed(Create)) == 1
    busy.process.until_free(1)
    assert not busy.process.worker.trials


def test_neither_trials_nor_stored_jobs_keep_the_others_from_slots(busy: Busy) -> None:
    clients = [busy.ask(number) for number in (1, 2, 3)]
    jobs = [busy.process.create(number, route=f"job {number}") for number in (4, 5)]

    busy.gate.set()
    for job in jobs:
        eventually(lambda: busy.process.free == 1)
        busy.process.claims.claim()
        busy.process.end_of(job)
    ends = [client.end() for client in clients]

    assert all(isinstance(end, Response) for end in ends)
    assert busy.ran == ["first", "trial 1", "job 4", "trial 2", "job 5", "trial 3"]


def test_a_store_that_is_away_does_not_keep_trials_from_slots_left_to_it(busy: Busy) -> None:
    clients = [busy.ask(number) for number in (1, 2)]
    busy.process.create(3, route="job")
    busy.gate.set()
    eventually(lambda: busy.process.free == 1)

    busy.process.store.failure = StoreUnavailable("memory://", "it was switched off")
    with pytest.raises(StoreUnavailable):
        busy.process.claims.claim()
    ends = [client.end() for client in clients]
    busy.process.store.failure = None

    assert all(isinstance(end, Response) for end in ends)
    assert busy.ran == ["first", "trial 1", "trial 2"]


def test_a_trial_whose_time_is_over_in_line_waits_in_the_store_and_runs_once(busy: Busy) -> None:
    job = busy.ask(1, seconds=0.01).end()
    assert isinstance(job, Job)
    kept = busy.process.ledger.get(job.id)
    in_line = busy.in_line, len(busy.process.worker.trials)
    busy.gate.set()
    busy.process.end_of(busy.first)
    busy.process.until_free(1)
    busy.process.claims.claim()
    done = busy.process.end_of(job)

    assert (kept.status, kept.attempt) == (Status.ACCEPTED, 0)
    assert in_line == (0, 0)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert busy.ran == ["first", "trial 1"]


def test_a_trial_whose_time_is_over_in_line_is_refused_by_a_full_queue(busy: Busy) -> None:
    busy.process.create(1, route="job")

    end = busy.ask(2, seconds=0.01, limits=Limits(max_queue=1)).end()

    assert isinstance(end, QueueFull)
    assert not busy.process.worker.trials


def test_a_draining_process_stores_who_stands_in_line_and_begins_none(busy: Busy) -> None:
    clients = [busy.ask(number) for number in (1, 2)]

    busy.process.worker.drain()
    jobs = [client.end() for client in clients]
    busy.gate.set()
    busy.process.end_of(busy.first)
    busy.process.claims.claim()

    for job in jobs:
        assert isinstance(job, Job)
        assert busy.process.ledger.get(job.id).status is Status.ACCEPTED
    assert busy.ran == ["first"]


def test_a_closed_process_has_stored_who_stood_in_line_and_takes_nobody(busy: Busy) -> None:
    client = busy.ask(1)

    busy.process.worker.close()
    job = client.end()
    late = busy.ask(2).end()

    assert isinstance(job, Job)
    assert busy.process.ledger.get(job.id).status is Status.ACCEPTED
    assert isinstance(late, ShuttingDown)


def test_a_trial_for_which_there_is_no_room_in_line_waits_in_the_store(busy: Busy) -> None:
    busy.process.worker.slots._line.update(dict.fromkeys(range(MOST_IN_LINE)))  # type: ignore[arg-type]

    job = busy.ask(1).end()
    busy.process.worker.slots._line.clear()

    assert isinstance(job, Job)
    assert busy.process.ledger.get(job.id).status is Status.ACCEPTED


def test_the_time_of_an_attempt_begins_when_it_begins(busy: Busy) -> None:
    job = draft(1, route="trial", timeout=PATIENCE)
    client = Client(busy.process, job, PATIENCE, None)
    eventually(lambda: busy.in_line)
    (run,) = busy.process.worker.slots._line

    waiting = run._deadline
    busy.gate.set()

    assert isinstance(client.end(), Response)
    assert waiting is None
    assert run._deadline is not None
