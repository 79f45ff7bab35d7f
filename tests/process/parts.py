"""What the tests of a process are made of: a store that can be held and broken, and a replayer that calls functions."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from deferit._core.commands import Create, Renew
from deferit._core.effects import Replica
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job
from deferit._process.claims import Claims
from deferit._process.ledger import Ledger
from deferit._process.runs import Replayer
from deferit._process.trier import Trier
from deferit._process.upkeep import Upkeep
from deferit._process.worker import Worker
from deferit._records import Captured, decode_captured, encode
from deferit.executors.threads import ThreadExecutor
from deferit.options import Options
from deferit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit._process.runs import Run
    from deferit.executors.base import Executor

PATIENCE = 10.0
"""Seconds after which what a test waits for has not come, and it fails."""

BACKENDS = ["asyncio", "trio"]


def eventually(is_so: Callable[[], object]) -> None:
    """Wait for what no event tells, and do what has to be done for it."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        pause.wait(0.005)


class WatchedStore(MemoryStore):
    """A store in memory that notes its batches, and that a test can hold or break."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Command]] = []
        self.failure: Exception | None = None
        """What `execute` and `read` raise instead of doing anything."""
        self.failures = 0
        """How often they have."""
        self.answer: Exception | None = None
        """What the next command meets."""
        self.entered = threading.Semaphore(0)
        self._gate = threading.Event()
        self._gate.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no batch through for the time of the context."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    def await_entry(self) -> None:
        """Wait until a batch has come in."""
        assert self.entered.acquire(timeout=PATIENCE)

    def execute(self, batch: Sequence[Command]) -> list[object]:
        self.batches.append(list(batch))
        self.entered.release()
        assert self._gate.wait(PATIENCE)
        self._fail()
        if self.answer:
            answer, self.answer = self.answer, None
            return [answer, *super().execute(batch[1:])]
        return super().execute(batch)

    def read(self, query: Query) -> object:
        self._fail()
        return super().read(query)

    def _fail(self) -> None:
        if self.failure:
            self.failures += 1
            raise self.failure

    def executed(self, kind: type[Any]) -> list[Any]:
        """Return the commands of a kind that were executed."""
        return [command for batch in self.batches for command in batch if isinstance(command, kind)]


def answer(run: Run, body: bytes = b"done", status: int = 200) -> None:
    """Answer as a handler does."""
    run.recorder.start(status, ())
    run.write(body)
    run.recorder.end()


async def aanswer(run: Run, body: bytes = b"done", status: int = 200) -> None:
    run.recorder.start(status, ())
    await run.awrite(body)
    run.recorder.end()


class Handlers(Replayer):
    """Plays a request by calling a function; a test sets which."""

    def __init__(self) -> None:
        self.handler: Callable[[Run], object] = answer
        self.ahandler: Callable[[Run], Any] = aanswer

    def replay(self, run: Run) -> None:
        self.handler(run)

    async def areplay(self, run: Run) -> None:
        await self.ahandler(run)


def captured(body: bytes = b"", chunks: int = 0) -> bytes:
    return encode(Captured("test", {}, "https://shop.example/reports", body, chunks))


def replica() -> Replica:
    """Return a captured request as a trial takes it."""
    encoded = captured()
    return Replica(time.time(), decode_captured(encoded), {}, lambda: (encoded, {}))


def draft(number: int = 0, ledger: Ledger | None = None, **changes: Any) -> Job:
    """Return a new job as an engine drafts it."""
    now = (ledger or Ledger).now()
    fields: dict[str, Any] = {
        "id": make_id(now, number.to_bytes(RANDOM_BYTES)),
        "application": "default",
        "route": "POST /reports",
        "method": "POST",
        "created_at": now,
        "updated_at": now,
        "due_at": now,
        "ttl": 3600.0,
    }
    return Job(**fields | changes)


class Process:
    """A worker with all that is around it but the keeper, whose duties a test does by hand."""

    def __init__(self, executor: Executor | None = None, **options: Any) -> None:
        self.store = WatchedStore()
        self.executor = executor or ThreadExecutor()
        self.handlers = Handlers()
        self.ledger = Ledger(self.store)
        self.wakes = 0
        given = {"concurrency": 2, "grace": 0.0, **options}
        self.worker = Worker(
            Options(store=self.store, **given),
            self.ledger,
            self.executor,
            self.handlers,
            self._wake,
        )
        self.claims = Claims(self.worker, "default")
        self.upkeep = Upkeep(self.worker)
        self.trier = Trier(self.worker)
        self.ledger.open()
        self.claims.claim()

    def _wake(self) -> None:
        self.wakes += 1

    def create(
        self, number: int = 0, carried: Mapping[str, Any] | None = None, **changes: Any
    ) -> Job:
        """Have a new job accepted."""
        create = Create(draft(number, **changes), captured())
        return cast("Job", self.worker.create(create, carried or {}))

    @property
    def free(self) -> int:
        """How many more jobs may run."""
        return self.worker.slots._free

    def until(self, job: Job, fits: Callable[[Job], bool]) -> Job:
        """Wait until a job is as it should be; return it."""
        signal = threading.Event()
        with self.ledger.signals.watching(job.id, signal.set):
            while not fits(found := self.ledger.get(job.id)):
                assert signal.wait(PATIENCE), found
                signal.clear()
        return found

    def end_of(self, job: Job) -> Job:
        """Wait until a job is finished; return it."""
        return self.until(job, lambda found: found.is_finished)

    def until_free(self, count: int) -> None:
        """Wait until so many slots are free: a run leaves right after its job is finished."""
        eventually(lambda: self.free == count)

    def settle(self) -> None:
        """Wait until all that was submitted is executed."""
        self.ledger.execute(Renew((), 0.0))

    def close(self) -> None:
        self.worker.close()
        self.ledger.close()
        self.executor.close()
