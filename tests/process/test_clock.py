from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.process.parts import PATIENCE, Handlers, answer, captured, eventually

from deferit._core.commands import Create, Renew
from deferit._core.effects import Wait
from deferit._core.job import Status
from deferit._process.clock import Clock
from deferit._process.engine import Engine
from deferit._process.ledger import Ledger
from deferit.exceptions import StoreUnavailable
from deferit.executors.threads import ThreadExecutor
from deferit.options import Options
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit._process.runs import Run
    from deferit.stores.base import Store


class Times:
    """A wall clock that can be set, and the time that has really passed."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.monotonic = 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def clock(times: Times) -> Clock:
    return Clock(5.0, lambda: times.wall, lambda: times.monotonic)


def test_a_process_that_has_just_started_is_not_certain(times: Times, clock: Clock) -> None:
    assert not clock.is_certain()
    times.pass_(4.9)
    assert not clock.is_certain()
    times.pass_(0.1)
    assert clock.is_certain()


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1.5])
def test_nobody_is_certain_right_after_the_clock_was_set(
    times: Times, clock: Clock, jump: float
) -> None:
    times.pass_(10)
    assert clock.is_certain()

    times.wall += jump

    assert clock.was_set()
    assert not clock.was_set()
    assert not clock.is_certain()
    times.pass_(4.9)
    assert not clock.is_certain()
    times.pass_(0.1)
    assert clock.is_certain()


def test_a_slow_correction_is_no_jump(times: Times, clock: Clock) -> None:
    times.pass_(10)

    for _ in range(100):
        times.pass_(1)
        times.wall += 0.5
        assert not clock.was_set()
        assert clock.is_certain()


def test_what_is_in_doubt_is_so_for_the_time_that_was_said(times: Times, clock: Clock) -> None:
    times.pass_(10)
    clock.doubt(2.0)
    assert not clock.is_certain()
    clock.doubt(1.0)
    times.pass_(1.9)
    assert not clock.is_certain()

    times.pass_(0.1)

    assert clock.is_certain()


class Frail(SQLiteStore):
    """A store whose server goes away, for all processes at once."""

    is_away = threading.Event()

    def _check(self) -> None:
        if self.is_away.is_set():
            raise StoreUnavailable(self.url, "it restarts")

    def execute(self, batch: Sequence[Command]) -> list[object]:
        self._check()
        return super().execute(batch)

    def read(self, query: Query) -> object:
        self._check()
        return super().read(query)

    def version(self) -> int:
        self._check()
        return super().version()


class Neighbours:
    """Two processes on one file: one runs a job, the other sweeps; both read a clock that is set with ``offset``."""

    def __init__(
        self, store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch, lease: float = 1.5
    ) -> None:
        self._lease = lease
        self.offset = 0.0
        self.sweeps = 0
        self._began, self._gate = threading.Event(), threading.Event()
        now = Ledger.now
        monkeypatch.setattr(Ledger, "now", lambda _: now() + self.offset)
        self.at_work, self.beside = self._engine(store()), self._engine(store())
        self._sweep = self.beside._upkeep.sweep
        monkeypatch.setattr(self.beside._upkeep, "sweep", self._counted)

    def start(self) -> None:
        """Have the one run a job, and start the other."""
        self.at_work.start()
        draft = self.at_work.draft(route="a", method="POST", ttl=60.0)
        self._job: Any = self.at_work.perform(Create(draft, captured()))
        assert self._began.wait(PATIENCE)
        self.beside.start()

    def await_sweeps(self, count: int) -> None:
        """Wait until the other has swept so many times more."""
        before = self.sweeps
        eventually(lambda: self.sweeps >= before + count)

    def end_of_the_job(self) -> Any:
        """Let the handler end; return its job."""
        self._gate.set()
        return self.at_work.perform(Wait(self._job, PATIENCE))

    def close(self) -> None:
        self._gate.set()
        self.at_work.close()
        self.beside.close()

    def _engine(self, store: Store) -> Engine:
        handlers = Handlers()
        handlers.handler = self._hold
        return Engine(Options(store=store, lease=self._lease, grace=0), ThreadExecutor(), handlers)

    def _hold(self, run: Run) -> None:
        self._began.set()
        assert self._gate.wait(PATIENCE)
        answer(run)

    def _counted(self) -> bool:
        self.sweeps += 1
        return self._sweep()


def test_a_job_that_runs_is_not_lost_because_the_store_was_away_for_longer_than_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Neighbours(lambda: Frail(f"sqlite:///{tmp_path / 'jobs.db'}"), monkeypatch)
    for engine in (both.at_work, both.beside):
        engine._clock = Clock(0.0)  # which knows nothing of the offset: that much time has passed
    with closing(both):
        both.start()
        both.await_sweeps(1)

        Frail.is_away.set()
        eventually(lambda: not both.beside._clock.is_certain())
        both.offset = 60.0
        Frail.is_away.clear()
        both.await_sweeps(2)
        done = both.end_of_the_job()

    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)


def test_a_job_that_runs_is_not_lost_because_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Neighbours(lambda: SQLiteStore(f"sqlite:///{tmp_path / 'jobs.db'}"), monkeypatch)
    for engine in (both.at_work, both.beside):
        engine._clock = Clock(0.5, wall=engine._ledger.now)
    with closing(both):
        both.start()
        both.await_sweeps(2)

        both.offset = 3600.0
        both.beside._sweep()  # at once, before the other can have renewed its lease
        both.await_sweeps(2)
        done = both.end_of_the_job()

    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)


class Renewals(SQLiteStore):
    """A store that remembers until when leases were renewed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.until: list[float] = []

    def execute(self, batch: Sequence[Command]) -> list[object]:
        answers = super().execute(batch)
        self.until += [one.lease_until for one in batch if isinstance(one, Renew) and one.leases]
        return answers


def test_leases_are_renewed_as_soon_as_the_clock_was_set_however_long_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Renewals(f"sqlite:///{tmp_path / 'jobs.db'}")
    both = Neighbours(lambda: store, monkeypatch, lease=3600.0)
    both.at_work._clock = Clock(0.5, wall=both.at_work._ledger.now)
    with closing(both):
        both.start()
        eventually(lambda: both.at_work._renewal._due > 0)  # the first time is over

        both.offset = 7200.0

        eventually(lambda: store.until[-1:] > [both.at_work._ledger.now()])
        assert both.end_of_the_job().status is Status.SUCCEEDED
