from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.process.parts import PATIENCE, Handlers, answer, captured, eventually

from deferit._core.commands import Create
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
    from collections.abc import Sequence
    from pathlib import Path

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit._process.runs import Run


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


def test_a_job_that_runs_is_not_lost_because_the_store_was_away_for_longer_than_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = 0.0
    now = Ledger.now
    began, gate = threading.Event(), threading.Event()

    def hold(run: Run) -> None:
        began.set()
        assert gate.wait(PATIENCE)
        answer(run)

    def engine() -> Engine:
        store = Frail(f"sqlite:///{tmp_path / 'jobs.db'}")
        handlers = Handlers()
        handlers.handler = hold
        made = Engine(Options(store=store, lease=1.5, grace=0), ThreadExecutor(), handlers)
        made._clock = Clock(0.0)  # which knows nothing of the offset: that much time has passed
        return made

    monkeypatch.setattr(Ledger, "now", lambda _: now() + offset)
    at_work, beside = engine(), engine()
    swept: list[float] = []
    sweep = beside._upkeep.sweep

    def noted() -> bool:
        swept.append(offset)
        return sweep()

    monkeypatch.setattr(beside._upkeep, "sweep", noted)
    at_work.start()
    job: Any = at_work.perform(
        Create(at_work.draft(route="a", method="POST", ttl=60.0), captured())
    )
    assert began.wait(PATIENCE)
    beside.start()
    eventually(lambda: swept)
    Frail.is_away.set()
    eventually(lambda: not beside._clock.is_certain())
    offset = 60.0
    Frail.is_away.clear()

    count = len(swept)
    eventually(lambda: len(swept) > count + 1)
    gate.set()

    done: Any = at_work.perform(Wait(job, PATIENCE))
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    at_work.close()
    beside.close()


def test_a_job_that_runs_is_not_lost_because_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = 0.0
    now = Ledger.now
    began, gate = threading.Event(), threading.Event()

    def hold(run: Run) -> None:
        began.set()
        assert gate.wait(PATIENCE)
        answer(run)

    def engine() -> Engine:
        options = Options(
            store=SQLiteStore(f"sqlite:///{tmp_path / 'jobs.db'}"), lease=1.5, grace=0
        )
        handlers = Handlers()
        handlers.handler = hold
        made = Engine(options, ThreadExecutor(), handlers)
        made._clock = Clock(0.5, wall=made._ledger.now)
        return made

    monkeypatch.setattr(Ledger, "now", lambda _: now() + offset)
    at_work, beside = engine(), engine()
    swept: list[float] = []
    sweep = beside._upkeep.sweep

    def noted() -> bool:
        swept.append(offset)
        return sweep()

    monkeypatch.setattr(beside._upkeep, "sweep", noted)
    at_work.start()
    job: Any = at_work.perform(
        Create(at_work.draft(route="a", method="POST", ttl=60.0), captured())
    )
    assert began.wait(PATIENCE)
    beside.start()
    eventually(lambda: len(swept) > 1)

    offset = 3600.0
    count = len(swept)
    eventually(lambda: len(swept) > count + 1)
    gate.set()

    done: Any = at_work.perform(Wait(job, PATIENCE))
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    at_work.close()
    beside.close()
