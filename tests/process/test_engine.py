from __future__ import annotations

import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from tests.process.parts import PATIENCE, Handlers, WatchedStore, answer, captured, eventually

from deferit._core.commands import Cancel, Claim, Create, Finish, Observe, Release, Report, Sweep
from deferit._core.effects import Foresee, Now, Recall, ShuttingDown, Stop, Wait
from deferit._core.ids import is_id
from deferit._core.job import Job, Status
from deferit._core.queries import Ahead, Get, History, Position
from deferit._process.clock import Clock
from deferit._process.engine import Engine, Hosting, _close_all
from deferit.exceptions import JobNotFound, StoreUnavailable
from deferit.executors.event_loop import EventLoopExecutor
from deferit.executors.threads import ThreadExecutor
from deferit.executors.worker import WorkerExecutor
from deferit.options import Options
from deferit.stores.sqlite import SQLiteStore
from deferit.testing import NOON, REQUEST, a_job, a_result, is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deferit._core.commands import Command
    from deferit._core.effects import Effect
    from deferit._process.runs import Run
    from deferit.executors.base import Dispatcher, Executor
    from deferit.stores.base import Store

Perform = Any
MEMBERS: dict[str, Any] = {"route": "POST /reports", "method": "POST", "ttl": 3600.0}
LEASE = 60.0
"""Seconds for which no process stands still, however much is done beside the tests."""
A_MOMENT = 0.05


class Kit:
    """An engine with its parts."""

    def __init__(
        self,
        store: Store | None = None,
        executor: Executor | None = None,
        grace: float = 0.0,
        elsewhere: Dispatcher | Hosting | None = None,
        lease: float = LEASE,
    ) -> None:
        self.store = store or WatchedStore()
        self.handlers = Handlers()
        options = Options(store=self.store, lease=lease, grace=grace, concurrency=4)
        self.engine = Engine(options, executor or ThreadExecutor(), self.handlers, elsewhere)

    def create(self, carried: dict[str, Any] | None = None, **changes: Any) -> Create:
        job = self.engine.draft(**MEMBERS | changes)
        if carried:
            self.engine.carry(job.id, carried)
        return Create(job, captured())


@pytest.fixture
def kit() -> Iterator[Kit]:
    kit = Kit()
    yield kit
    kit.engine.close()


def blocking(engine: Engine, effect: Effect) -> Any:
    return engine.perform(effect)


def awaiting(backend: str, engine: Engine, effect: Effect) -> Any:
    return anyio.run(engine.aperform, effect, backend=backend)


DRIVERS = [blocking, partial(awaiting, "asyncio"), partial(awaiting, "trio")]


@pytest.fixture(params=DRIVERS, ids=["blocking", "asyncio", "trio"])
def perform(request: pytest.FixtureRequest) -> Callable[[Engine, Effect], Any]:
    found: Callable[[Engine, Effect], Any] = request.param
    return found


def held(kit: Kit) -> tuple[threading.Event, threading.Event]:
    """Have the handler wait; return when it has begun and what lets it go."""
    began, gate = threading.Event(), threading.Event()

    def handler(run: Run) -> None:
        began.set()
        assert gate.wait(PATIENCE)
        answer(run)

    kit.handlers.handler = handler
    return began, gate


def status_of(kit: Kit, job: Job) -> Status:
    found = kit.store.read(Get(job.id))
    assert isinstance(found, Job)
    return found.status


# --- what flows yield ------------------------------------------------------------------------------------------------


def test_it_performs_all_that_a_flow_yields(kit: Kit, perform: Perform) -> None:
    create = kit.create()

    job = perform(kit.engine, create)
    done = perform(kit.engine, Wait(job, PATIENCE))

    assert is_id(job.id)
    assert job.application == "default"
    assert done.status is Status.SUCCEEDED
    assert perform(kit.engine, Get(job.id)) == done
    assert perform(kit.engine, Position(create.job.id)) == Ahead(0, 0)
    assert abs(perform(kit.engine, Now()) - job.created_at) < PATIENCE
    assert perform(kit.engine, Stop(done)) == "asked to stop"
    assert perform(kit.engine, Cancel(job.id, 1, 0.0, "stopped")) == done
    with pytest.raises(JobNotFound):
        perform(kit.engine, Get("job_nobody"))


def test_what_has_expired_is_swept_piece_by_piece_without_a_pause() -> None:
    store = WatchedStore()
    kit = Kit(store)
    jobs = [a_job(number, application="default", ttl=0.0) for number in range(200)]
    for job in jobs:
        store.execute([Create(job.claimed(NOON), REQUEST, LEASE)])
        store.execute([Finish(job.id, 1, 0.0, a_result(), None, b"hello")])

    kit.engine.start()
    kit.engine._clock = Clock(0.0)

    eventually(lambda: len(store.executed(Sweep)) >= 4)
    eventually(lambda: all(is_gone(store, Get(job.id)) for job in jobs))
    kit.engine.close()


def test_waiting_ends_with_its_time(kit: Kit, perform: Perform) -> None:
    _, gate = held(kit)
    job = perform(kit.engine, kit.create())

    assert not perform(kit.engine, Wait(job, 0.0)).is_finished
    assert not perform(kit.engine, Wait(job, 0.01)).is_finished

    gate.set()


def test_waiting_ends_with_a_change_for_who_asks_for_it(kit: Kit, perform: Perform) -> None:
    began, gate = threading.Event(), threading.Event()

    def handler(run: Run) -> None:
        assert began.wait(PATIENCE)
        run.report(40, "rows")
        assert gate.wait(PATIENCE)
        answer(run)

    kit.handlers.handler = handler
    job = perform(kit.engine, kit.create())
    eventually(lambda: status_of(kit, job) is Status.RUNNING)
    running = perform(kit.engine, Get(job.id))
    began.set()

    changed = perform(kit.engine, Wait(running, PATIENCE, running.revision))

    gate.set()
    assert changed.revision > running.revision
    assert perform(kit.engine, Wait(job, PATIENCE)).progress == 100


def test_nobody_is_watched_after_the_waiting(kit: Kit, perform: Perform) -> None:
    job = perform(kit.engine, kit.create())
    perform(kit.engine, Wait(job, PATIENCE))

    assert list(kit.engine._ledger.signals.watched()) == []


def test_a_wait_for_what_is_not_there_is_told(kit: Kit, perform: Perform) -> None:
    ghost = kit.create().job

    with pytest.raises(JobNotFound):
        perform(kit.engine, Wait(ghost, PATIENCE))


def test_what_is_carried_reaches_the_handler(kit: Kit, perform: Perform) -> None:
    seen: list[object] = []

    def handler(run: Run) -> None:
        seen.append(run.carried)
        answer(run)

    kit.handlers.handler = handler
    carried = {"db": object()}
    job = perform(kit.engine, kit.create(carried))
    perform(kit.engine, Wait(job, PATIENCE))

    assert seen == [carried]
    assert kit.engine._carried == {}


# --- its own life ----------------------------------------------------------------------------------------------------


def test_nothing_is_started_before_it_is_asked_for_something() -> None:
    before = threading.enumerate()
    kit = Kit()
    kit.engine.draft(**MEMBERS)

    assert [thread for thread in threading.enumerate() if thread not in before] == []
    kit.engine.close()


class Stopping:
    """What a server that was told to stop is like: its handler of the signal is a method of what knows."""

    should_exit = True

    def handle_exit(self, _number: int, _frame: object) -> None:
        """Take the signal; none comes."""


def test_one_that_starts_in_a_server_that_ends_begins_nothing(kit: Kit, perform: Perform) -> None:
    before = signal.signal(signal.SIGTERM, Stopping().handle_exit)
    try:
        job = perform(kit.engine, kit.create())
    finally:
        signal.signal(signal.SIGTERM, before)

    assert job.status is Status.ACCEPTED
    with pytest.raises(ShuttingDown):
        perform(kit.engine, Wait(job, PATIENCE))
    assert status_of(kit, job) is Status.ACCEPTED


def test_it_starts_once_from_however_many_threads(kit: Kit) -> None:
    before = threading.enumerate()
    starts = [threading.Thread(target=kit.engine.start) for _ in range(8)]

    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join(PATIENCE)

    names = [thread.name for thread in threading.enumerate() if thread not in before]
    assert (names.count("deferit-committer"), names.count("deferit-keeper")) == (1, 1)


def test_its_threads_end_with_it(kit: Kit) -> None:
    before = threading.enumerate()
    kit.engine.start()
    its_own = [thread for thread in threading.enumerate() if thread not in before]
    assert {thread.name for thread in its_own} == {"deferit-committer", "deferit-keeper"}

    kit.engine.close()
    kit.engine.close()

    assert not any(thread.is_alive() for thread in its_own)


class Shy(WatchedStore):
    is_shy = True

    def open(self) -> None:
        if self.is_shy:
            raise StoreUnavailable("memory://", "no such disk")
        super().open()


def test_who_could_not_reach_the_store_as_it_started_gives_others_time_to_renew_their_leases() -> (
    None
):
    store = Shy()
    kit = Kit(store)
    kit.engine._clock = Clock(0.0)
    with pytest.raises(StoreUnavailable):
        kit.engine.start()
    assert kit.engine._clock.is_certain()

    store.is_shy = False
    kit.engine.start()

    assert not kit.engine._clock.is_certain()
    kit.engine.close()


def test_a_store_that_opens_and_then_fails_is_tried_again(perform: Perform) -> None:
    store = WatchedStore()
    kit = Kit(store)

    store.failure = StoreUnavailable("memory://", "it restarts")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            kit.engine.start()
    store.failure = None
    job = perform(kit.engine, kit.create())

    assert perform(kit.engine, Wait(job, PATIENCE)).status is Status.SUCCEEDED


def test_nothing_is_left_of_a_store_that_opens_and_then_fails() -> None:
    store = WatchedStore()
    kit = Kit(store)
    store.failure = StoreUnavailable("memory://", "it restarts")
    before = set(threading.enumerate())
    with pytest.raises(StoreUnavailable):
        kit.engine.start()
    (committer,) = set(threading.enumerate()) - before

    kit.engine.close()

    assert not committer.is_alive()


def test_a_store_that_cannot_be_opened_is_tried_again_and_nothing_is_left_of_it(
    perform: Perform,
) -> None:
    store = Shy()
    kit = Kit(store)

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            perform(kit.engine, kit.create({"db": object()}))
        with pytest.raises(StoreUnavailable):
            perform(kit.engine, Get("job_nobody"))
    left = dict(kit.engine._carried)
    store.is_shy = False
    job = perform(kit.engine, kit.create())

    assert left == {}
    assert perform(kit.engine, Wait(job, PATIENCE)).status is Status.SUCCEEDED
    kit.engine.close()


def test_who_waits_is_let_go_when_it_closes(backend: str) -> None:
    kit = Kit(grace=PATIENCE)
    _, gate = held(kit)
    job = kit.engine.perform(kit.create())
    assert isinstance(job, Job)
    let_go: list[Wait] = []
    waiting = Wait(job, PATIENCE * 10)

    def is_watched() -> bool:
        return len(kit.engine._ledger.signals._watches.get(job.id, ())) == 2

    def wait() -> None:
        with pytest.raises(ShuttingDown):
            kit.engine.perform(waiting)
        let_go.append(waiting)

    async def await_() -> None:
        with pytest.raises(ShuttingDown):
            await kit.engine.aperform(waiting)
        let_go.append(waiting)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(await_)
            await anyio.to_thread.run_sync(eventually, is_watched)
            group.start_soon(anyio.to_thread.run_sync, kit.engine.close)
            await anyio.to_thread.run_sync(eventually, lambda: len(let_go) == 2)
            gate.set()

    thread = threading.Thread(target=wait)
    thread.start()
    anyio.run(main, backend=backend)
    thread.join(PATIENCE)

    assert status_of(kit, job) is Status.SUCCEEDED


def test_a_closed_engine_refuses_new_jobs_and_leaves_nobody_waiting(
    kit: Kit, perform: Perform
) -> None:
    job = perform(kit.engine, kit.create())
    perform(kit.engine, Wait(job, PATIENCE))

    kit.engine.close()

    with pytest.raises(ShuttingDown):
        perform(kit.engine, kit.create())
    with pytest.raises(StoreUnavailable):
        perform(kit.engine, Cancel(job.id, 1, 0.0, "stopped"))


def test_closing_gives_back_what_does_not_end_within_the_grace(kit: Kit) -> None:
    _, gate = held(kit)
    safe = kit.engine.perform(kit.create(repeatable=True))
    unsafe = kit.engine.perform(kit.create())
    assert isinstance(safe, Job)
    assert isinstance(unsafe, Job)
    eventually(lambda: {status_of(kit, job) for job in (safe, unsafe)} == {Status.RUNNING})

    kit.engine.close()

    assert (status_of(kit, safe), status_of(kit, unsafe)) == (Status.ACCEPTED, Status.FAILED)
    gate.set()


def test_what_is_claimed_while_it_closes_is_given_back_too(kit: Kit) -> None:
    _, gate = held(kit)
    store = kit.store
    assert isinstance(store, WatchedStore)
    kit.engine.start()
    closer = threading.Thread(target=kit.engine.close)

    create = kit.create(repeatable=True)
    kit.engine._ledger.execute(create)
    with store.held():
        kit.engine._claims.recheck()
        kit.engine._keeper.wake()
        eventually(lambda: store.executed(Claim) and kit.engine._worker.slots._free == 0)
        closer.start()
        eventually(lambda: kit.engine._worker.is_closing)
    closer.join(PATIENCE)

    assert status_of(kit, create.job) is Status.ACCEPTED
    gate.set()


def test_a_process_that_ends_closes_its_own_engines_alone(kit: Kit) -> None:
    parents = Kit()
    for engine in (kit.engine, parents.engine):
        engine.start()
    parents.engine.pid -= 1

    _close_all()

    assert (kit.engine._is_closed, parents.engine._is_closed) == (True, False)
    parents.engine.close()


def test_a_task_is_canceled_when_it_closes(backend: str) -> None:
    kit = Kit(executor=EventLoopExecutor())
    began, ended = threading.Event(), threading.Event()

    async def ahandler(_run: Run) -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    kit.handlers.ahandler = ahandler
    anyio.run(kit.engine.aperform, kit.create(), backend=backend)
    assert began.wait(PATIENCE)

    kit.engine.close()

    assert ended.wait(PATIENCE)


# --- the keeper's duties, with a real keeper -------------------------------------------------------------------------


def test_leases_are_kept_for_as_long_as_a_handler_runs() -> None:
    store = WatchedStore()
    kit = Kit(store, lease=1.0)
    began, gate = held(kit)
    job = kit.engine.perform(kit.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)

    first = store._rows[job.id].wake_at
    eventually(lambda: store._rows[job.id].wake_at > first + 0.5)
    gate.set()
    done = kit.engine.perform(Wait(job, PATIENCE))
    kit.engine.close()

    assert isinstance(done, Job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Kit, Kit]]:
    """Two engines on one file, as two processes have them."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    kits = Kit(SQLiteStore(url)), Kit(SQLiteStore(url))
    for kit in kits:
        kit.engine.start()
    yield kits
    for kit in kits:
        kit.engine.close()


def test_a_waiting_client_hears_of_the_end_in_another_process(pair: tuple[Kit, Kit]) -> None:
    here, there = pair
    began, gate = held(there)
    job = there.engine.perform(there.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(here.engine.perform(Wait(job, PATIENCE))))
    thread.start()

    gate.set()
    thread.join(PATIENCE)

    assert isinstance(found[0], Job)
    assert found[0].status is Status.SUCCEEDED


@pytest.fixture
def drowsy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have engines look what others did only where there is a reason to."""
    monkeypatch.setattr("deferit._process.engine.TICK", 1000.0)


@pytest.mark.usefixtures("drowsy")
@pytest.mark.parametrize("elsewhere", [None, WorkerExecutor()], ids=["in place", "elsewhere"])
def test_who_waits_for_another_process_has_it_looked_at_more_often(
    tmp_path: Path, elsewhere: Dispatcher | None, perform: Perform
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    here, there = Kit(SQLiteStore(url), elsewhere=elsewhere), Kit(SQLiteStore(url))
    began, gate = held(there)
    job = there.engine.perform(there.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)
    thread = opened_once_somebody_waits(here, job, gate)

    found = perform(here.engine, Wait(running(here, job), PATIENCE))

    assert found.status is Status.SUCCEEDED
    thread.join(PATIENCE)
    here.engine.close()
    there.engine.close()


def eventually_done(kit: Kit, job: Job, help_it: Callable[[], object] = bool) -> None:
    eventually(lambda: [help_it(), status_of(kit, job) is Status.SUCCEEDED][1])


def running(kit: Kit, job: Job) -> Job:
    found = kit.engine.perform(Get(job.id))
    assert isinstance(found, Job)
    assert found.status is Status.RUNNING
    return found


def opened_once_somebody_waits(kit: Kit, job: Job, gate: threading.Event) -> threading.Thread:
    def open_it() -> None:
        eventually(lambda: job.id in kit.engine._ledger.signals.watched())
        gate.set()

    thread = threading.Thread(target=open_it)
    thread.start()
    return thread


@pytest.mark.usefixtures("drowsy")
def test_who_waits_for_this_process_has_nothing_looked_at(kit: Kit) -> None:
    began, gate = held(kit)
    job = kit.engine.perform(kit.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)
    thread = opened_once_somebody_waits(kit, job, gate)

    found = kit.engine.perform(Wait(running(kit, job), PATIENCE))

    assert isinstance(found, Job)
    assert found.is_finished
    assert kit.engine._keeper._glances.pause(time.monotonic()) == 1000.0
    thread.join(PATIENCE)


class LateStore(WatchedStore):
    """A store in which others make changes that this process never hears of."""

    is_shared = True


def test_who_waits_is_told_nothing_older_than_what_was_read(perform: Perform) -> None:
    store = LateStore()
    kit = Kit(store, elsewhere=WorkerExecutor())
    kit.engine.start()
    eventually(lambda: kit.engine._seen_version >= 0)
    older = a_job(application="default").claimed(NOON)
    store.execute([Create(older, captured(), NOON + 60)])
    assert perform(kit.engine, Wait(older, 0.0)) == older
    store.execute([Report(older.id, 1, NOON, 50, None)])
    newer = perform(kit.engine, Get(older.id))

    assert perform(kit.engine, Wait(newer, 0.0, newer.revision)) == newer
    kit.engine.close()


def told(store: WatchedStore, **options: Any) -> tuple[Kit, Job]:
    """Make an engine that runs only what it is told to, and a job that waits."""
    kit = Kit(store, elsewhere=Hosting(None), **options)
    kit.engine.start()
    job = a_job(application="default")
    store.execute([Create(job, captured())])
    return kit, job


def test_who_closes_waits_for_a_job_that_was_claimed_and_has_yet_to_begin() -> None:
    kit, job = told(WatchedStore(), grace=PATIENCE)
    closes = threading.Thread(target=kit.engine.close)

    def claimed(_attempt: int) -> None:
        closes.start()
        closes.join(A_MOMENT)
        assert closes.is_alive()

    kit.engine.run(job.id, claimed)
    closes.join(PATIENCE)

    assert status_of(kit, job) is Status.SUCCEEDED


def test_nothing_is_left_to_settle_once_it_is_closed() -> None:
    kit, _ = told(WatchedStore())
    kit.engine.close()

    kit.engine._ledger.settle()


def test_a_job_that_comes_while_the_engine_drains_is_left_to_others() -> None:
    kit, job = told(WatchedStore())
    kit.engine.drain()

    kit.engine.run(job.id, bool)

    assert status_of(kit, job) is Status.ACCEPTED
    kit.engine.close()


class SlowToTell(WatchedStore):
    """A store that has done what it was told for a while before it says so."""

    def execute(self, batch: Sequence[Command]) -> list[object]:
        results = super().execute(batch)
        if any(isinstance(command, Claim) for command in batch):
            assert self.may_tell.wait(PATIENCE)
        return results

    def __init__(self) -> None:
        super().__init__()
        self.may_tell = threading.Event()


def test_a_process_is_not_idle_while_a_job_is_claimed_that_has_yet_to_begin() -> None:
    store = SlowToTell()
    kit = Kit(store, elsewhere=Hosting(2))
    create = kit.create()
    store.open()
    store.execute([create])
    kit.engine.start()
    eventually(lambda: status_of(kit, create.job) is Status.RUNNING)

    is_idle = kit.engine.is_idle
    store.may_tell.set()

    assert is_idle is False
    eventually(lambda: status_of(kit, create.job) is Status.SUCCEEDED)
    eventually(lambda: kit.engine.is_idle)
    kit.engine.close()


def test_a_process_that_was_told_to_stop_claims_nothing_before_its_keeper_has_looked(
    kit: Kit,
) -> None:
    kit.engine.start()
    waits = kit.create()
    before = signal.signal(signal.SIGTERM, Stopping().handle_exit)
    try:
        kit.engine._ledger.execute(waits)
        kit.engine._claims.recheck()
        kit.engine._claims.claim()
        status = status_of(kit, waits.job)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert status is Status.ACCEPTED


@pytest.mark.usefixtures("drowsy")
def test_a_process_that_runs_jobs_of_others_goes_on_looking_where_something_has_happened(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    accepts = Kit(SQLiteStore(url), elsewhere=WorkerExecutor())
    works = Kit(SQLiteStore(url), elsewhere=Hosting(2))
    works.engine.start()
    first = accepts.engine.perform(accepts.create())
    assert isinstance(first, Job)
    eventually_done(accepts, first, works.engine._keeper.wake)

    second = accepts.engine.perform(accepts.create())

    assert isinstance(second, Job)
    eventually_done(accepts, second)
    works.engine.close()
    accepts.engine.close()


def test_who_began_to_wait_before_the_first_look_is_woken_by_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    here, there = Kit(SQLiteStore(url)), Kit(SQLiteStore(url))
    here.engine._ledger.open()
    woken = threading.Event()

    job = there.engine.perform(there.create())
    assert isinstance(job, Job)
    with here.engine._ledger.signals.watching(job.id, woken.set):
        there.engine.perform(Wait(job, PATIENCE))
        here.engine._observe()

    assert woken.is_set()
    here.engine._ledger.close()
    there.engine.close()


class HardOfHearing(SQLiteStore):
    """Hears of changes when the test says so, as a store does that is told of them by its server."""

    heard = 0

    def version(self) -> int:
        return self.heard


def test_who_waits_is_told_of_a_change_that_is_seen_before_it_was_heard_of(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    store = HardOfHearing(url)
    here, there = Kit(store), Kit(SQLiteStore(url))
    here.engine._ledger.open()
    here.engine._observe()
    began, gate = held(there)
    job = there.engine.perform(there.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)
    store.heard += 1

    with here.engine._ledger.signals.watching(job.id, lambda: None) as watch:
        before = here.engine._ledger.get(job.id)
        gate.set()
        there.engine.perform(Wait(job, PATIENCE))
        here.engine._observe()
        told = watch.after(before)
        store.heard += 1
        here.engine._observe()

    assert (before.status, told.status) == (Status.RUNNING, Status.SUCCEEDED)
    here.engine._ledger.close()
    there.engine.close()


def test_a_cancel_in_another_process_reaches_the_handler(pair: tuple[Kit, Kit]) -> None:
    here, there = pair
    began, told = threading.Event(), threading.Event()

    def handler(run: Run) -> None:
        began.set()
        eventually(lambda: run.canceled)
        told.set()

    there.handlers.handler = handler
    job = there.engine.perform(there.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)

    here.engine.perform(Cancel(job.id, 1, job.updated_at + 1, "asked to stop"))

    assert told.wait(PATIENCE)


def test_what_a_process_leaves_behind_another_takes(pair: tuple[Kit, Kit]) -> None:
    here, there = pair
    began, gate = held(there)
    job = there.engine.perform(there.create(repeatable=True))
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)

    there.engine.close()
    done = here.engine.perform(Wait(job, PATIENCE))
    gate.set()

    assert isinstance(done, Job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)


def test_a_job_that_ends_while_the_store_is_away_is_finished_when_it_is_back(kit: Kit) -> None:
    began, gate = held(kit)
    store = kit.store
    assert isinstance(store, WatchedStore)
    job = kit.engine.perform(kit.create())
    assert isinstance(job, Job)
    assert began.wait(PATIENCE)

    store.failure = StoreUnavailable("memory://", "disk full")
    gate.set()
    eventually(lambda: kit.engine._ledger._unfinished)
    store.failure = None
    done = kit.engine.perform(Wait(job, PATIENCE))

    assert isinstance(done, Job)
    assert done.status is Status.SUCCEEDED
    assert len(store.executed(Finish)) >= 2
    assert store.executed(Release) == []


def test_once_closed_it_is_not_started_again() -> None:
    kit = Kit()
    before = threading.enumerate()
    kit.engine.close()

    with pytest.raises(ShuttingDown):
        kit.engine.start()

    assert [thread for thread in threading.enumerate() if thread not in before] == []


# --- how long jobs take ----------------------------------------------------------------------------------------------


def test_what_jobs_took_is_in_the_store_when_a_process_has_closed(
    kit: Kit, perform: Callable[[Engine, Effect], Any]
) -> None:
    job = perform(kit.engine, kit.create())
    eventually(lambda: status_of(kit, job) is Status.SUCCEEDED)

    kit.engine.close()

    for name in ("POST /reports", ""):
        history = kit.store.read(History("default", name))
        assert isinstance(history, tuple)
        assert len(history) == 1


def test_what_jobs_took_is_written_while_a_process_goes_on(kit: Kit) -> None:
    kit.engine.perform(kit.create())

    eventually(lambda: kit.store.read(History("default", "POST /reports")) != ())


def test_the_outlook_of_a_job_comes_from_what_others_took(
    kit: Kit, perform: Callable[[Engine, Effect], Any]
) -> None:
    kit.engine.perform(Observe("default", "POST /reports", (10.0,) * 30))
    job = kit.engine.draft(**MEMBERS)

    waiting = perform(kit.engine, Foresee(job))
    running = perform(kit.engine, Foresee(job.claimed(job.created_at)))
    known = perform(kit.engine, Recall(job))

    assert (waiting.position, running.position) == (0, None)
    assert running.expected.median == pytest.approx(job.created_at + 10, abs=0.2)
    assert waiting.expected.median == pytest.approx(job.created_at + 10, abs=5)
    assert (known.route.mean, known.concurrency) == (10.0, 4)
