from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from tests.process.parts import BACKENDS, PATIENCE, WatchedStore, draft

from deferit._core.commands import Create, Purge, Renew
from deferit._loops import current_loop
from deferit._process.committer import (
    LARGEST_BATCH,
    AwaitableReply,
    BlockingReply,
    Callback,
    Committer,
    returned,
)
from deferit._process.pauses import FORGETTING, LONGEST, SIBLINGS, SLICE, SLOW, Pauses
from deferit.exceptions import JobExists, JobNotFound, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deferit._core.commands import Command

NOTHING = Renew((), 0.0)


class Sink:
    """Takes outcomes in the committer's thread."""

    def __init__(self, count: int = 1) -> None:
        self.outcomes: list[object] = []
        self._left = threading.Semaphore(0)
        self._count = count

    def take(self, outcome: object) -> None:
        self.outcomes.append(outcome)
        self._left.release()

    def all(self) -> list[object]:
        for _ in range(self._count):
            assert self._left.acquire(timeout=PATIENCE)
        return self.outcomes


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def committer(store: WatchedStore) -> Iterator[Committer]:
    committer = Committer(store.execute, "memory://")
    committer.start()
    yield committer
    committer.close()


def commit(committer: Committer, command: Command) -> object:
    reply = BlockingReply()
    committer.submit(command, reply)
    return reply.outcome()


async def acommit(committer: Committer, command: Command) -> object:
    reply = AwaitableReply()
    committer.submit(command, reply)
    return await reply.outcome()


def sizes(store: WatchedStore) -> list[int]:
    return [len(batch) for batch in store.batches]


# --- groups ----------------------------------------------------------------------------------------------------------


def test_what_comes_while_a_commit_is_under_way_is_the_next_group(
    store: WatchedStore, committer: Committer
) -> None:
    sink = Sink(4)

    with store.held():
        committer.submit(NOTHING, Callback(sink.take))
        store.await_entry()
        for _ in range(3):
            committer.submit(NOTHING, Callback(sink.take))
    sink.all()

    assert sizes(store) == [1, 3]


def test_a_group_has_a_largest_size(store: WatchedStore, committer: Committer) -> None:
    sink = Sink(2 * LARGEST_BATCH + 2)

    with store.held():
        committer.submit(NOTHING, Callback(sink.take))
        store.await_entry()
        for _ in range(2 * LARGEST_BATCH + 1):
            committer.submit(NOTHING, Callback(sink.take))
    sink.all()

    assert sizes(store) == [1, LARGEST_BATCH, LARGEST_BATCH, 1]


def test_outcomes_come_in_the_order_of_their_commands(
    store: WatchedStore, committer: Committer
) -> None:
    jobs, sink = [draft(number) for number in range(3)], Sink(4)

    with store.held():
        committer.submit(NOTHING, Callback(lambda _: None))
        store.await_entry()
        for job in (*jobs, jobs[0]):
            committer.submit(Create(job, b""), Callback(sink.take))
    outcomes = sink.all()

    assert outcomes[:3] == jobs
    assert isinstance(outcomes[3], JobExists)
    assert sizes(store) == [1, 4]


def test_many_threads_each_get_their_own_outcome(committer: Committer) -> None:
    wrong: list[object] = []

    def work(thread: int) -> None:
        for number in range(100):
            job = draft(1000 * thread + number)
            found = commit(committer, Create(job, b""))
            if found != job:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_a_task_gets_its_own_outcome(committer: Committer, backend: str) -> None:
    jobs = [draft(number) for number in range(50)]
    found: dict[str, object] = {}

    async def create(number: int) -> None:
        found[jobs[number].id] = await acommit(committer, Create(jobs[number], b""))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(len(jobs)):
                group.start_soon(create, number)

    anyio.run(main, backend=backend)

    assert found == {job.id: job for job in jobs}


def test_each_loop_is_woken_once_for_a_group(
    store: WatchedStore, committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    posts: list[str] = []
    ready = threading.Barrier(3)

    async def main() -> None:
        loop = current_loop()
        post = loop.post

        def counted(*args: Any) -> bool:
            posts.append(loop.backend)
            return post(*args)

        monkeypatch.setattr(loop, "post", counted)
        replies = [AwaitableReply() for _ in range(5)]
        for reply in replies:
            committer.submit(NOTHING, reply)
        ready.wait(PATIENCE)
        for reply in replies:
            assert await reply.outcome() == ()

    threads = [
        threading.Thread(target=anyio.run, args=(main,), kwargs={"backend": name})
        for name in BACKENDS
    ]
    with store.held():
        committer.submit(NOTHING, Callback(lambda _: None))
        store.await_entry()
        for thread in threads:
            thread.start()
        ready.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)

    assert sizes(store) == [1, 10]
    assert sorted(posts) == BACKENDS


class SlowDisk:
    """Takes so many seconds for each batch, by a clock of its own; while one is waited for, others submit commands."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.sizes: list[int] = []
        self.slept = 0.0
        self.others: Callable[[], object] = bool
        self.meanwhile: Callable[[], object] = bool

    def execute(self, batch: Sequence[Command]) -> list[object]:
        self.now += self.seconds
        self.meanwhile()
        self.sizes.append(len(batch))
        return [()] * len(batch)

    def pauses(self) -> Pauses:
        return Pauses(clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self.others()


def committed(disk: SlowDisk, committer: Committer, size: int) -> None:
    """Have so many commands committed, all of which are there before the committer looks."""
    sink = Sink(size)
    for _ in range(size):
        committer.submit(NOTHING, Callback(sink.take))
    committer.start()
    sink.all()


@pytest.mark.parametrize(("seconds", "pause"), [(0.002, 0.002), (0.05, LONGEST)])
def test_after_many_at_once_on_a_slow_disk_those_who_follow_are_waited_for(
    seconds: float, pause: float
) -> None:
    disk, sink = SlowDisk(seconds), Sink(3)
    committer = Committer(disk.execute, "memory://", pauses=disk.pauses())
    committed(disk, committer, SIBLINGS)
    followers = iter(range(2))

    def submit() -> None:
        committer.submit(NOTHING, Callback(sink.take))

    def submit_if_one_follows() -> None:
        if next(followers, None) is not None:
            submit()

    disk.others = submit_if_one_follows
    submit()
    sink.all()

    committer.close()
    assert disk.sizes == [SIBLINGS, 3]
    assert disk.slept == pytest.approx(pause, abs=SLICE)


def test_who_waits_for_others_goes_on_when_they_have_all_come() -> None:
    disk, sink = SlowDisk(LONGEST), Sink(2 + SIBLINGS)
    committer = Committer(disk.execute, "memory://", pauses=disk.pauses())

    def submit() -> None:
        committer.submit(NOTHING, Callback(sink.take))

    def submit_two() -> None:
        disk.meanwhile, disk.others = bool, submit
        submit()
        submit()

    disk.meanwhile = submit_two
    committed(disk, committer, SIBLINGS)
    sink.all()

    committer.close()
    assert disk.sizes == [SIBLINGS, 2 + SIBLINGS]
    assert disk.slept == pytest.approx(SIBLINGS * SLICE)


@pytest.mark.parametrize(("seconds", "size"), [(0.002, SIBLINGS - 1), (SLOW / 2, SIBLINGS)])
def test_nobody_is_waited_for_after_few_at_once_nor_on_a_quick_disk(
    seconds: float, size: int
) -> None:
    disk = SlowDisk(seconds)
    committer = Committer(disk.execute, "memory://", pauses=disk.pauses())
    committed(disk, committer, size)

    commit(committer, NOTHING)

    committer.close()
    assert disk.sizes == [size, 1]
    assert disk.slept == 0.0


def test_the_quickest_commit_tells_what_a_disk_takes() -> None:
    disk = SlowDisk(0.002)
    pauses = disk.pauses()

    seen = [after(disk, pauses, seconds) for seconds in (0.002, 0.02, SLOW / 2, 0.02)]

    assert seen == [pytest.approx(0.002), pytest.approx(0.002, rel=1e-3), 0.0, 0.0]


def test_a_disk_that_has_become_slow_is_noticed_in_the_end() -> None:
    disk = SlowDisk(0.002)
    pauses = disk.pauses()
    after(disk, pauses, SLOW / 2)

    seen = {after(disk, pauses, 0.002) > SLOW for _ in range(round(1 / (FORGETTING - 1)))}

    assert seen == {False, True}


def test_few_commands_tell_nothing_of_a_disk_for_they_may_have_had_nothing_to_write() -> None:
    disk = SlowDisk(0.002)
    pauses = disk.pauses()
    after(disk, pauses, 0.0, SIBLINGS - 1)

    assert after(disk, pauses, 0.002) == pytest.approx(0.002)


def after(disk: SlowDisk, pauses: Pauses, seconds: float, size: int = SIBLINGS) -> float:
    """Return the pause that follows a commit of that length."""
    pauses.begin()
    disk.now += seconds
    pauses.end(size, 0)
    return pauses.next()


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StoreUnavailable("memory://", "disk full"), "disk full"),
        (ValueError("a bug"), "ValueError: a bug"),
    ],
)
def test_an_exception_of_the_store_reaches_everybody(
    store: WatchedStore, committer: Committer, failure: Exception, reason: str
) -> None:
    sink = Sink(3)
    store.failure = failure

    with store.held():
        for _ in range(3):
            committer.submit(NOTHING, Callback(sink.take))
    outcomes = sink.all()

    assert [str(outcome) for outcome in outcomes] == [
        f"the store memory:// is not available: {reason}"
    ] * 3
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)


def test_it_goes_on_after_an_exception(store: WatchedStore, committer: Committer) -> None:
    store.failure = ValueError("a bug")
    assert isinstance(commit(committer, NOTHING), StoreUnavailable)

    store.failure = None

    assert commit(committer, NOTHING) == ()


def test_a_store_that_gives_too_few_answers_is_not_believed() -> None:
    committer = Committer(lambda batch: [None] * (len(batch) - 1), "odd://")
    committer.start()

    outcome = commit(committer, NOTHING)

    committer.close()
    assert isinstance(outcome, StoreUnavailable)
    assert "0 answers to 1 commands" in str(outcome)


def test_who_cannot_take_an_outcome_does_not_keep_the_others_from_theirs(
    store: WatchedStore, committer: Committer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_outcome: object) -> None:
        raise RuntimeError("cannot take it")

    sink = Sink()
    with store.held():
        committer.submit(NOTHING, Callback(lambda _: None))
        store.await_entry()
        committer.submit(NOTHING, Callback(fail))
        committer.submit(NOTHING, Callback(sink.take))

    assert sink.all() == [()]
    assert commit(committer, NOTHING) == ()
    assert "nobody could take the tuple that a command met" in caplog.text


def test_nor_does_a_canceled_task_whose_otherwise_fails(
    store: WatchedStore, committer: Committer, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_outcome: object) -> None:
        raise RuntimeError("cannot go on")

    async def main() -> object:
        abandoned, reply = AwaitableReply(fail), AwaitableReply()
        with store.held():
            committer.submit(NOTHING, Callback(lambda _: None))
            store.await_entry()
            committer.submit(NOTHING, abandoned)
            committer.submit(NOTHING, reply)
            with anyio.move_on_after(0):
                await abandoned.outcome()
        return await reply.outcome()

    assert anyio.run(main, backend=backend) == ()
    assert "cannot go on" in caplog.text


def test_an_outcome_is_returned_or_raised() -> None:
    assert returned("result") == "result"
    with pytest.raises(JobNotFound):
        returned(JobNotFound("job"))


# --- tasks that go away ----------------------------------------------------------------------------------------------


def test_a_task_that_is_canceled_before_the_commit_has_its_outcome_told_otherwise(
    store: WatchedStore, committer: Committer, backend: str
) -> None:
    told: list[object] = []

    async def main() -> None:
        reply = AwaitableReply(told.append)
        with store.held():
            committer.submit(NOTHING, reply)
            with anyio.move_on_after(0):
                await reply.outcome()
            assert told == []
        await acommit(committer, NOTHING)

    anyio.run(main, backend=backend)

    assert told == [()]


def test_a_task_that_is_canceled_right_after_the_commit_has_it_told_otherwise_too(
    committer: Committer,
) -> None:
    told: list[object] = []

    async def main() -> None:
        reply = AwaitableReply(told.append)
        task = asyncio.ensure_future(reply.outcome())
        await asyncio.sleep(0)  # it waits now
        reply.resolve("committed")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert told == ["committed"]


def test_a_loop_that_has_ended_has_it_told_otherwise_once(
    store: WatchedStore, committer: Committer, backend: str
) -> None:
    told, sink = Sink(), Sink()

    async def main() -> None:
        committer.submit(NOTHING, AwaitableReply(told.take))
        store.await_entry()

    with store.held():
        anyio.run(main, backend=backend)
        assert told.outcomes == []
        committer.submit(NOTHING, Callback(sink.take))
    sink.all()

    assert told.all() == [()]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_closing_executes_what_waits(store: WatchedStore, committer: Committer) -> None:
    sink = Sink(3)

    with store.held():
        for _ in range(3):
            committer.submit(NOTHING, Callback(sink.take))
        closer = threading.Thread(target=committer.close)
        closer.start()
    closer.join(PATIENCE)

    assert not closer.is_alive()
    assert sink.outcomes == [()] * 3


def test_closing_twice_is_once_and_works_from_its_own_thread(committer: Committer) -> None:
    closed = threading.Event()

    def close(_outcome: object) -> None:
        committer.close()
        closed.set()

    committer.submit(NOTHING, Callback(close))

    assert closed.wait(PATIENCE)
    committer.close()
    committer.close()


def test_one_that_was_never_started_can_be_closed(store: WatchedStore) -> None:
    Committer(store.execute, "memory://").close()

    assert store.batches == []


def test_who_comes_too_late_does_not_wait_for_ever(committer: Committer, backend: str) -> None:
    sink = Sink()
    committer.close()

    committer.submit(NOTHING, Callback(sink.take))
    outcomes = [
        *sink.all(),
        commit(committer, NOTHING),
        anyio.run(acommit, committer, NOTHING, backend=backend),
    ]

    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert "this process has closed it" in str(outcomes[0])


def test_every_command_has_an_outcome_however_close_to_the_end() -> None:
    for _ in range(20):
        committer = Committer(lambda batch: [()] * len(batch), "memory://")
        committer.start()
        outcomes: list[object] = []
        start = threading.Barrier(5)

        def work(
            committer: Committer = committer,
            outcomes: list[object] = outcomes,
            start: threading.Barrier = start,
        ) -> None:
            start.wait(PATIENCE)
            outcomes.extend(commit(committer, Purge("job", 1)) for _ in range(20))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        start.wait(PATIENCE)
        committer.close()
        for thread in threads:
            thread.join(PATIENCE)

        assert len(outcomes) == 80
        assert all(found == () or isinstance(found, StoreUnavailable) for found in outcomes)
