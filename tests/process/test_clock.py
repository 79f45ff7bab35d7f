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
from deferit._process.engine import RETURN_AFTER, Engine
from deferit._process.ledger import Ledger
from deferit.exceptions import StoreUnavailable
from deferit.executors.threads import ThreadExecutor
from deferit.options import Options
from deferit.stores.sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
    """A store whose server goes away, for all processes at once; it remembers until when leases were renewed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_away = threading.Event()
        self.refused: list[Command] = []
        self.leases_until: list[float] = []

    def execute(self, batch: Sequence[Command]) -> list[object]:
        if self.is_away.is_set():
            self.refused += batch
        self._check()
        answers = super().execute(batch)
        self.leases_until += [one.lease_until for one in batch if isinstance(one, Renew)]
        return answers

    def read(self, query: Query) -> object:
        self._check()
        return super().read(query)

    def version(self) -> int:
        self._check()
        return super().version()

    def _check(self) -> None:
        if self.is_away.is_set():
            raise StoreUnavailable(self.url, "it restarts")


class Neighbours:
    """Two processes on one store: one runs a job, the other sweeps; both read a clock that is set with ``offset``.

    That no lease can be trusted lasts until `pass_`, however slow the machine is.
    """

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch, lease: float = 60.0) -> None:
        self._lease = lease
        self.offset = 0.0
        self._times = Times()
        self._began, self._gate = threading.Event(), threading.Event()
        now = Ledger.now
        monkeypatch.setattr(Ledger, "now", lambda _: now() + self.offset)
        self.store = Frail(url)
        self.at_work, self.beside = self._engine(), self._engine()

    def start(self, *, sees_offset: bool) -> None:
        """Have the one run a job, and start the other; without ``sees_offset`` it is time that has really passed."""
        for engine in (self.at_work, self.beside):
            engine._clock = self._clock(sees_offset=sees_offset)
        self.at_work.start()
        draft = self.at_work.draft(route="a", method="POST", ttl=60.0)
        self._job: Any = self.at_work.perform(Create(draft, captured()))
        assert self._began.wait(PATIENCE)
        self.beside.start()
        eventually(lambda: self.at_work._renewal._due > 0)  # the first time is over

    def pass_(self, seconds: float) -> None:
        """Let so much time pass, as far as doubts are concerned."""
        self._times.pass_(seconds)

    def sweep(self) -> bool:
        """Have the other sweep; return whether it has."""
        return not self.beside._sweep()

    def await_renewal(self) -> None:
        """Wait until the one has renewed its lease by the clock as it is now."""
        eventually(lambda: self.store.leases_until[-1:] > [self.at_work._ledger.now()])

    def end_of_the_job(self) -> Any:
        """Let the handler end; return its job."""
        self._gate.set()
        return self.at_work.perform(Wait(self._job, PATIENCE))

    def close(self) -> None:
        self._gate.set()
        self.at_work.close()
        self.beside.close()

    def _engine(self) -> Engine:
        handlers = Handlers()
        handlers.handler = self._hold
        options = Options(store=self.store, lease=self._lease, grace=0)
        return Engine(options, ThreadExecutor(), handlers)

    def _clock(self, *, sees_offset: bool) -> Clock:
        times = self._times
        return Clock(0.5, lambda: times.wall + self.offset * sees_offset, lambda: times.monotonic)

    def _hold(self, run: Run) -> None:
        self._began.set()
        assert self._gate.wait(PATIENCE)
        answer(run)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Neighbours]:
    with closing(Neighbours(f"sqlite:///{tmp_path / 'jobs.db'}", monkeypatch)) as neighbours:
        yield neighbours


def test_a_job_that_runs_is_not_lost_because_the_store_was_away_for_longer_than_its_lease(
    both: Neighbours,
) -> None:
    both.start(sees_offset=False)
    both.pass_(1)
    assert both.sweep()

    both.store.is_away.set()
    both.at_work._renewal.hurry()  # it is time for that within the lease
    eventually(lambda: any(isinstance(command, Renew) for command in both.store.refused))
    eventually(lambda: not both.beside._clock.is_certain())
    both.offset = 3600.0
    both.store.is_away.clear()
    swept_at_once = both.sweep()
    both.await_renewal()
    both.pass_(RETURN_AFTER)
    swept = both.sweep()
    done = both.end_of_the_job()

    assert (swept_at_once, swept) == (False, True)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)


def test_a_job_that_runs_is_not_lost_because_the_clock_was_set(both: Neighbours) -> None:
    both.start(sees_offset=True)
    both.pass_(1)
    assert both.sweep()

    both.offset = 3600.0
    swept_at_once = both.sweep()
    both.await_renewal()
    both.pass_(0.5)
    swept = both.sweep()
    done = both.end_of_the_job()

    assert (swept_at_once, swept) == (False, True)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)


def test_leases_are_renewed_as_soon_as_the_clock_was_set_however_long_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with closing(Neighbours(url, monkeypatch, lease=3600.0)) as both:
        both.start(sees_offset=True)

        both.offset = 7200.0

        both.await_renewal()
        assert both.end_of_the_job().status is Status.SUCCEEDED
