"""What one process needs to keep its promises: performs what flows yield; owns ledger, worker and keeper."""

from __future__ import annotations

import atexit
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import anyio.to_thread
import msgspec

from deferit._core.commands import Create
from deferit._core.effects import Foresee, Now, Recall, ShuttingDown, Stop, Try, Wait
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job, Status
from deferit._core.queries import QUERIES, Changed, Changes
from deferit._process.claims import Claims
from deferit._process.clock import Clock
from deferit._process.deliverer import Deliverer
from deferit._process.forecaster import INTERVAL, Forecaster
from deferit._process.keeper import PAUSE, Duty, Keeper
from deferit._process.ledger import Ledger
from deferit._process.offers import Offers
from deferit._process.server import is_stopping
from deferit._process.slots import Slots
from deferit._process.trier import Trier
from deferit._process.upkeep import Upkeep
from deferit._process.worker import Worker
from deferit._signals import AsyncSignal
from deferit.exceptions import StoreUnavailable
from deferit.executors.base import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from deferit._core.effects import Effect
    from deferit._process.runs import Replayer
    from deferit._process.trier import Meanwhile
    from deferit.executors.base import Executor
    from deferit.options import Options

LONGEST_DOUBT = 4.5
"""Seconds for which leases are not trusted at the most: a lost job is to be noticed within lease + 5 s."""

TICK = 0.05
"""Seconds between two looks at what other processes did, if nobody waits for it; a look costs microseconds."""

RENEWAL_AFTER = PAUSE + 0.25
"""Seconds after which all that live have renewed their leases, when a store is back that was out of reach."""

RETURN_AFTER = RENEWAL_AFTER + PAUSE
"""The same since the store was last seen out of reach: it may have come back up to `PAUSE` seconds later."""


class Hosting(msgspec.Struct, frozen=True, gc=False):
    """What a process does that is no web server's: claims so many jobs at once, or with None only those it is told."""

    concurrency: int | None


class Engine:
    """Performs what flows yield, runs jobs, keeps their leases alive, and takes over those of lost workers.

    It belongs to one process; a forked child makes its own. Nothing is opened or started before `start`.
    """

    def __init__(
        self,
        options: Options,
        executor: Executor,
        replayer: Replayer,
        elsewhere: Dispatcher | Hosting | None = None,
    ) -> None:
        """Begin jobs as they are accepted, so many at once, unless they are to be run ``elsewhere``."""
        self.pid = os.getpid()
        self.executor = executor
        self._application = options.application
        self._ledger = Ledger(options.store)
        self._keeper = Keeper(TICK)
        self._grace = options.grace
        self._worker = Worker(options, self._ledger, executor, replayer, self._wake)
        self._trier = Trier(self._worker)
        self._claims = Claims(self._worker, options.application)
        self._employ(elsewhere)
        self._upkeep = Upkeep(self._worker)
        renewal = options.lease / 3
        self._forecaster = Forecaster(
            options.application, options.concurrency, self._ledger, self._worker.durations
        )
        self._clock = Clock(min(renewal, LONGEST_DOUBT))
        self._keeper.duties = self._duties(renewal)
        callbacks, application = options.callbacks, options.application
        self._deliverer = Deliverer(callbacks, application, self._ledger) if callbacks else None
        self._carried: dict[str, Mapping[str, Any]] = {}
        self._performs = self._what_is_performed()
        self._aperforms = self._what_is_awaited()
        self._seen_version = -1
        self._cursor = -1
        self._random = Random()
        self._start_lock = threading.Lock()
        self._is_started = False
        self._has_missed_store = False
        self._is_draining = False
        self._is_closed = False

    def _employ(self, elsewhere: Dispatcher | Hosting | None) -> None:
        """Settle who runs the jobs: this process as they are accepted, this one as a host, or an executor elsewhere."""
        self._hosts = isinstance(elsewhere, Hosting) and elsewhere.concurrency is not None
        self._claims_jobs = elsewhere is None or self._hosts
        self._offers: Offers | None = None
        if isinstance(elsewhere, Dispatcher):
            self._offers = Offers(self._ledger, elsewhere, self._application)
            self._worker.slots = Slots(0)
        elif elsewhere is not None:
            self._worker.slots = Slots(elsewhere.concurrency or 0)
        if self._claims_jobs and not self.executor.runs_in_place:
            self._worker.claim_along = self._claims.along

    def _duties(self, renewal: float) -> list[Duty]:
        self._renewal = Duty(self._upkeep.renew, renewal)
        return [
            Duty(self._look_at_server, 0),
            Duty(self._look_at_clock, 0),
            Duty(self._observe, 0),
            Duty(self._upkeep.write_reports, 0),
            Duty(self._upkeep.expire, 0),
            Duty(self._worker.give_back_late, 0),
            Duty(self._claim, 0),
            Duty(self._ledger.finish_again, 1),
            self._renewal,
            Duty(self._sweep, min(renewal, 5)),
            Duty(self._forecaster.attend, INTERVAL),
        ]

    # --- its own life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the store and start the threads; idempotent, from any thread.

        Raises:
            StoreUnavailable: the store cannot be opened; `start` may be called again.
            ShuttingDown: it was closed.
        """
        with self._start_lock:
            if self._is_started:
                return
            if self._is_closed:
                raise ShuttingDown
            self._open()
            self._look_at_server()  # its first job may come with its last request
            self._claims.look()
            self._keeper.start()
            if self._offers:
                self._offers.start()
            if self._deliverer:
                self._deliverer.start()
            self._is_started = True
            _engines.add(self)

    def _open(self) -> None:
        """Open the store; if it could not be reached before, others have yet to renew their leases."""
        try:
            self._ledger.open()
        except StoreUnavailable:
            self._has_missed_store = True
            raise
        if self._has_missed_store:
            self._clock.doubt(RENEWAL_AFTER)

    def hold(self) -> None:
        """Begin no job before `release`: the application has not started yet. Called before `start`."""
        self._set_held(is_held=True)

    def release(self) -> None:
        """Begin jobs from now on; idempotent."""
        if self._worker.is_held:
            self._set_held(is_held=False)
            self._wake()

    def _set_held(self, *, is_held: bool) -> None:
        self._worker.is_held = is_held
        if self._offers:
            self._offers.is_held = is_held

    def drain(self) -> None:
        """Begin no more jobs, and let nobody wait here any longer: this process is about to end; idempotent.

        What is accepted from now on is left to other processes, or the next.
        """
        if not self._is_draining:
            self._is_draining = True
            self._worker.drain()
            if self._offers:
                self._offers.drain()
            self._ledger.signals.notify_all()

    def close(self) -> None:
        """Take no more jobs, let running ones end within the option ``grace``, give back the rest; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self.drain()
        if self._is_started:
            self._end_threads()
        if self._ledger.is_open:  # without a start too: the first look into it may have failed
            self._ledger.close()
        self.executor.close()
        _engines.discard(self)

    def _end_threads(self) -> None:
        self._claims.close()
        self._worker.close()
        if self._offers:
            self._offers.close(self._grace)
        self._keeper.close()
        if self._deliverer:
            self._deliverer.close()
        self._worker.give_back()  # what the keeper claimed while the worker closed
        self._forecaster.write()

    def run(self, job_id: str, claimed: Callable[[int], object]) -> None:
        """Claim a job by its id, run it here, and return when the store knows how it ended; see `Hosted.run`."""
        self.start()
        run = self._claims.claim_one(job_id, claimed)
        if run:
            run.over.wait()
            self._ledger.settle()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs here, and no job waits that could."""
        return self._claims.is_idle

    @property
    def has_unwanted(self) -> bool:
        """Whether a handler runs here that was told to stop."""
        return any(run.canceled for run in list(self._worker.runs.values()))

    def now(self) -> float:
        """Return the present instant, in seconds since the epoch."""
        return self._ledger.now()

    def draft(self, at: float | None = None, **members: Any) -> Job:
        """Return a new job of this application, as it will be accepted, now or ``at`` an instant."""
        now = self._ledger.now() if at is None else at
        job_id = make_id(now, self._random.take())
        return Job(
            id=job_id,
            application=self._application,
            created_at=now,
            updated_at=now,
            due_at=now,
            **members,
        )

    def carry(self, job_id: str, entries: Mapping[str, Any]) -> None:
        """Keep what a captured request has by reference, until its job is created."""
        self._carried[job_id] = entries

    # --- what flows yield --------------------------------------------------------------------------------------------

    def perform(self, effect: Effect) -> object:
        """Do what a flow yields, and return the answer."""
        if not self._is_started:
            self._start_for(effect)
        perform = self._performs.get(type(effect), self._ledger.execute)
        return perform(effect)

    def aperform(self, effect: Effect) -> Awaitable[object]:
        """Same as `perform`, but to be awaited."""
        if not self._is_started:
            return self._astarted(effect)
        perform = self._aperforms.get(type(effect), self._ledger.aexecute)
        return perform(effect)

    def _what_is_performed(self) -> dict[type, Callable[[Any], object]]:
        """Return what is done for each kind of effect; the others are commands."""
        return {
            Create: self._create,
            Try: self._trier.tries,
            Wait: self._wait,
            Stop: lambda stop: self._stop(stop.job),
            Now: lambda _: self._ledger.now(),
            Foresee: self._forecaster.foresee,
            Recall: self._forecaster.recall,
            **dict.fromkeys(QUERIES, self._ledger.read),
        }

    def _what_is_awaited(self) -> dict[type, Callable[[Any], Awaitable[object]]]:
        """Return the same, but to be awaited."""
        return {
            Create: self._acreate,
            Try: self._trier.atries,
            Wait: self._await,
            Stop: lambda stop: self._astop(stop.job),
            Now: lambda _: self._anow(),
            Foresee: self._forecaster.aforesee,
            Recall: self._forecaster.arecall,
            **dict.fromkeys(QUERIES, self._ledger.aread),
        }

    def _create(self, create: Create) -> object:
        return self._worker.create(create, self._carried.pop(create.job.id, {}))

    def _acreate(self, create: Create) -> Awaitable[object]:
        return self._worker.acreate(create, self._carried.pop(create.job.id, {}))

    async def atry(self, effect: Try, meanwhile: Meanwhile) -> object:
        """Same as `aperform`, but spends the time in ``meanwhile`` if it takes a while."""
        if not self._is_started:
            await anyio.to_thread.run_sync(self._start_for, effect)
        return await self._trier.atries(effect, meanwhile)

    async def _astarted(self, effect: Effect) -> object:
        """Start, then perform an effect."""
        await anyio.to_thread.run_sync(self._start_for, effect)
        return await self.aperform(effect)

    async def _anow(self) -> float:
        return self._ledger.now()

    def _stop(self, job: Job) -> str:
        return self._offers.revoke(job) if self._offers else self._worker.stop(job)

    async def _astop(self, job: Job) -> str:
        if self._offers:
            return await anyio.to_thread.run_sync(self._offers.revoke, job)
        return await self._worker.astop(job)

    def _start_for(self, effect: Effect) -> None:
        try:
            self.start()
        except StoreUnavailable:
            if isinstance(effect, Create):
                self._carried.pop(effect.job.id, None)
            raise

    def _wait(self, wait: Wait) -> Job:
        deadline = time.monotonic() + wait.seconds
        signal = threading.Event()
        with self._ledger.signals.watching(wait.job.id, signal.set) as watch:
            job = wait.job.or_later(self._ledger.get(wait.job.id))  # who knows it may know less
            self._expect(job)
            while not wait.is_over(job) and (left := deadline - time.monotonic()) > 0:
                self._check_open()
                signal.wait(left)
                signal.clear()
                job = watch.after(job)
        return job

    async def _await(self, wait: Wait) -> Job:
        deadline = time.monotonic() + wait.seconds
        signal = AsyncSignal()
        with self._ledger.signals.watching(wait.job.id, signal.set) as watch:
            job = wait.job.or_later(await self._ledger.aget(wait.job.id))
            self._expect(job)
            while not wait.is_over(job) and (left := deadline - time.monotonic()) > 0:
                self._check_open()
                await signal.wait(left)
                signal.clear()
                job = watch.after(job)
        return job

    def _expect(self, job: Job) -> None:
        """Look more often for a while if it is another process that is to end a job, as nobody tells of that."""
        if job.is_finished:
            return
        runs_elsewhere = job.status is Status.RUNNING and not self._worker.is_running(job)
        if self._offers or runs_elsewhere:
            self._keeper.stir()

    def _check_open(self) -> None:
        if self._is_draining:
            raise ShuttingDown

    # --- duties of the keeper ----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Have somebody look after jobs that wait."""
        if self._offers:
            self._offers.wake()
        else:
            self._keeper.wake()

    def _claim(self) -> None:
        """Take jobs that wait, unless others run them, or say which ones."""
        if self._claims_jobs:
            self._claims.claim()

    def _sweep(self) -> bool:
        """Sweep, unless nobody can say which leases have run out; return whether to look again soon."""
        self._look_at_clock()
        return not self._clock.is_certain() or self._upkeep.sweep()

    def _look_at_clock(self) -> None:
        """Renew leases as soon as the clock was set, before others take them for run out."""
        if self._clock.was_set():
            self._renewal.hurry()

    def _look_at_server(self) -> None:
        """Make way as soon as the server was told to stop: it waits for those who wait here."""
        if is_stopping():
            self.drain()

    def _observe(self) -> None:
        """Look what other processes did to the store, and tell whom it concerns."""
        try:
            self._look_at_others()
        except StoreUnavailable:
            self._clock.doubt(RETURN_AFTER)
            raise

    def _look_at_others(self) -> None:
        version = self._ledger.store.version()
        if version == self._seen_version:
            return
        changed = cast("Changed", self._ledger.read(Changes(self._cursor)))
        self._ledger.forget()
        # What happened before the first look is not told: then those who wait look for themselves.
        job_ids = changed.job_ids if self._cursor >= 0 else self._ledger.signals.watched()
        self._seen_version, self._cursor = version, changed.cursor
        if self._hosts:
            self._keeper.stir()
        self._ledger.tell(job_ids)
        self._claims.recheck()
        self._upkeep.recheck(job_ids)
        if self._offers:
            self._offers.recheck(job_ids)


RANDOM_AT_ONCE = 256
"""Ids for which random bytes are taken from the system together: for each call Python lets go of its lock."""


class Random:
    """Random bytes of the system's, each given out once; it belongs to one process, like its engine."""

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def take(self) -> bytes:
        """Return as many as an id has."""
        while True:
            try:
                return self._ready.pop()
            except IndexError:
                bulk = secrets.token_bytes(RANDOM_BYTES * RANDOM_AT_ONCE)
                starts = range(0, len(bulk), RANDOM_BYTES)
                self._ready.extend([bulk[at : at + RANDOM_BYTES] for at in starts])


_engines: WeakSet[Engine] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Let a process that ends, without a lifespan that would tell, give back what it runs."""
    for engine in list(_engines):
        if engine.pid == os.getpid():
            engine.close()
