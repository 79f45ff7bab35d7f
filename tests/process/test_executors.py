from __future__ import annotations

import asyncio
import os
import threading
from abc import abstractmethod
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from tests.process.parts import PATIENCE, eventually

from deferit.executors.base import Executor, Work
from deferit.executors.event_loop import EventLoopExecutor
from deferit.executors.inline import InlineExecutor
from deferit.executors.threads import ThreadExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator


class Task(Work):
    """Work that notes where it was done, and that can be held at its beginning."""

    def __init__(self, backend: str = "asyncio", *, is_held: bool = False) -> None:
        self.backend = backend
        self.began = threading.Event()
        self.ended = threading.Event()
        self.gate = threading.Event()
        self.thread: threading.Thread | None = None
        self.was_canceled = False
        if not is_held:
            self.gate.set()

    def run(self) -> None:
        self._begin()
        assert self.gate.wait(PATIENCE)
        self.ended.set()

    async def arun(self) -> None:
        self._begin()
        try:
            if self.gate.is_set():
                await anyio.lowlevel.checkpoint()
            else:
                await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            self.was_canceled = True
            raise
        finally:
            self.ended.set()

    def _begin(self) -> None:
        self.thread = threading.current_thread()
        self.began.set()

    def await_end(self) -> None:
        assert self.ended.wait(PATIENCE)


class ExecutorContract:
    """What every executor keeps."""

    @abstractmethod
    def make_executor(self) -> Executor:
        """Return a new one."""

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        executor = self.make_executor()
        yield executor
        executor.close()

    def test_it_starts_nothing_before_the_first_work(self) -> None:
        before = threading.enumerate()

        self.make_executor()

        assert [thread for thread in threading.enumerate() if thread not in before] == []

    def test_it_runs_work(self, executor: Executor) -> None:
        task = Task()

        executor.submit(task)

        task.await_end()

    def test_it_takes_work_from_any_thread(self, executor: Executor) -> None:
        tasks = [Task() for _ in range(16)]
        threads = [threading.Thread(target=executor.submit, args=(task,)) for task in tasks]

        for thread in threads:
            thread.start()
        for task in tasks:
            task.await_end()
        for thread in threads:
            thread.join(PATIENCE)

    def test_it_takes_work_from_a_task(self, executor: Executor, backend: str) -> None:
        task = Task(backend)

        async def main() -> None:
            async with executor.serving():
                await executor.asubmit(task)
                await anyio.to_thread.run_sync(task.await_end)

        anyio.run(main, backend=backend)

        assert not task.was_canceled

    def test_it_says_nothing_to_a_stop_of_what_it_does_not_run(self, executor: Executor) -> None:
        executor.stop(Task())
        done = Task()
        executor.submit(done)
        done.await_end()

        executor.stop(done)

        assert not done.was_canceled

    def test_closing_twice_is_once(self, executor: Executor) -> None:
        task = Task()
        executor.submit(task)
        task.await_end()

        executor.close()
        executor.close()

    def test_it_can_be_used_again_after_it_was_closed(self, executor: Executor) -> None:
        for _ in range(3):
            tasks = [Task(), Task()]
            for task in tasks:
                executor.submit(task)
            for task in tasks:
                task.await_end()
            executor.close()
            executor.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_child_has_threads_of_its_own(self, executor: Executor) -> None:
        first = Task()
        executor.submit(first)
        first.await_end()

        child = os.fork()
        if child == 0:
            task = Task()
            executor.submit(task)
            os._exit(0 if task.ended.wait(PATIENCE) else 1)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0


class TestThreadExecutor(ExecutorContract):
    def make_executor(self) -> Executor:
        return ThreadExecutor()

    def test_it_runs_work_side_by_side(self) -> None:
        executor, tasks = ThreadExecutor(), [Task(is_held=True) for _ in range(3)]

        for task in tasks:
            executor.submit(task)
        for task in tasks:
            assert task.began.wait(PATIENCE)

        assert len({task.thread for task in tasks}) == 3
        release(executor, tasks)

    def test_it_keeps_threads_for_the_next_work(self) -> None:
        executor = ThreadExecutor()
        threads = set()

        for _ in range(5):
            task = Task()
            executor.submit(task)
            task.await_end()
            eventually(lambda: executor._idle == 1)
            threads.add(task.thread)

        assert len(threads) == 1
        executor.close()

    def test_its_threads_are_daemons_and_end_when_it_is_closed(self) -> None:
        executor, tasks = ThreadExecutor(), [Task(is_held=True) for _ in range(3)]
        for task in tasks:
            executor.submit(task)
        for task in tasks:
            assert task.began.wait(PATIENCE)

        executor.close()
        release(executor, tasks)

        for task in tasks:
            assert task.thread is not None
            assert task.thread.daemon
            task.thread.join(PATIENCE)
            assert not task.thread.is_alive()

    def test_what_was_submitted_before_it_was_closed_is_done(self) -> None:
        executor, tasks = ThreadExecutor(), [Task() for _ in range(20)]

        for task in tasks:
            executor.submit(task)
        executor.close()

        for task in tasks:
            task.await_end()

    def test_it_cannot_stop_what_runs(self) -> None:
        executor, task = ThreadExecutor(), Task(is_held=True)
        executor.submit(task)

        executor.stop(task)

        assert not executor.can_stop
        release(executor, [task])


def release(executor: Executor, tasks: list[Task]) -> None:
    for task in tasks:
        task.gate.set()
        task.await_end()
    executor.close()


class TestInlineExecutor(ExecutorContract):
    def make_executor(self) -> Executor:
        return InlineExecutor()

    def test_it_runs_work_before_submit_returns(self) -> None:
        task = Task()

        InlineExecutor().submit(task)

        assert task.thread is threading.current_thread()
        assert task.ended.is_set()


class TestEventLoopExecutor(ExecutorContract):
    def make_executor(self) -> Executor:
        return EventLoopExecutor()

    def test_it_runs_work_in_the_loop_that_is_served(self, backend: str) -> None:
        executor, task = EventLoopExecutor(), Task(backend)

        async def main() -> None:
            async with executor.serving():
                await anyio.to_thread.run_sync(executor.submit, task)
                await anyio.to_thread.run_sync(task.await_end)

        anyio.run(main, backend=backend)

        assert task.thread is threading.current_thread()

    def test_else_in_a_private_loop_of_the_kind_that_was_asked_for(self, backend: str) -> None:
        executor, tasks = EventLoopExecutor(), [Task(backend), Task(backend)]

        for task in tasks:
            executor.submit(task)
            task.await_end()

        (thread,) = {task.thread for task in tasks}
        assert thread is not None
        assert thread.name == f"deferit-{backend}"
        executor.close()
        assert not thread.is_alive()

    def test_once_it_is_prepared_to_submit_starts_nothing(self, backend: str) -> None:
        executor, task = EventLoopExecutor(), Task(backend)
        before = threading.enumerate()

        anyio.run(executor.aprepare, backend, backend=backend)
        prepared = [thread for thread in threading.enumerate() if thread not in before]
        executor.submit(task)
        task.await_end()

        assert task.thread in prepared
        executor.close()

    def test_a_loop_that_is_served_needs_no_private_one(self, backend: str) -> None:
        executor = EventLoopExecutor()

        async def main() -> None:
            async with executor.serving():
                await executor.aprepare(backend)

        anyio.run(main, backend=backend)

        assert executor._private == {}

    def test_it_goes_back_to_a_private_loop_when_serving_ends(self, backend: str) -> None:
        executor, task = EventLoopExecutor(), Task(backend)

        async def main() -> None:
            async with executor.serving():
                pass

        anyio.run(main, backend=backend)
        executor.submit(task)

        task.await_end()
        assert task.thread is not threading.current_thread()
        executor.close()

    def test_many_run_in_one_loop_at_once(self, backend: str) -> None:
        executor, tasks = EventLoopExecutor(), [Task(backend, is_held=True) for _ in range(9)]

        for task in tasks:
            executor.submit(task)
        for task in tasks:
            assert task.began.wait(PATIENCE)
        executor.close()

        assert all(task.was_canceled for task in tasks)

    def test_stopping_cancels_that_one_alone(self, backend: str) -> None:
        executor = EventLoopExecutor()
        stopped, other = Task(backend, is_held=True), Task(backend, is_held=True)
        for task in (stopped, other):
            executor.submit(task)
            assert task.began.wait(PATIENCE)
        host = executor._private_host(backend)

        executor.stop(stopped)

        stopped.await_end()
        assert (stopped.was_canceled, other.ended.is_set()) == (True, False)
        executor.close()
        assert host._begun == {}

    def test_what_runs_when_serving_ends_is_canceled(self, backend: str) -> None:
        executor, task = EventLoopExecutor(), Task(backend, is_held=True)

        async def main() -> None:
            async with executor.serving():
                executor.submit(task)
                await anyio.to_thread.run_sync(task.began.wait, PATIENCE)

        anyio.run(main, backend=backend)

        assert task.was_canceled

    def test_work_that_cancels_itself_does_not_take_the_others_along(self) -> None:
        class Odd(Task):
            async def arun(self) -> None:
                self.ended.set()
                raise asyncio.CancelledError

        class SelfCanceling(Task):
            async def arun(self) -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                self.ended.set()
                await asyncio.sleep(PATIENCE)

        executor, held = EventLoopExecutor(), Task(is_held=True)
        executor.submit(held)
        assert held.began.wait(PATIENCE)

        for odd in (Odd(), SelfCanceling()):
            executor.submit(odd)
            odd.await_end()
        later = Task()
        executor.submit(later)

        later.await_end()
        assert not held.was_canceled
        executor.close()

    def test_it_can_be_closed_from_its_own_loop(self, backend: str) -> None:
        executor = EventLoopExecutor()

        class Closing(Task):
            async def arun(self) -> None:
                self.thread = threading.current_thread()
                executor.close()
                self.ended.set()

        task = Closing(backend)
        executor.submit(task)

        task.await_end()
        assert task.thread is not None
        task.thread.join(PATIENCE)
        assert not task.thread.is_alive()
