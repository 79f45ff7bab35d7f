"""Runs handlers as tasks: in the server's own event loop where there is one, else in a private one."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from deferit._loops import current_loop, run
from deferit._signals import AsyncSignal
from deferit.executors.base import Executor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deferit.executors.base import Work


LAST_WORDS = 1.0
"""Seconds that tasks are waited for once they are canceled."""


class EventLoopExecutor(Executor):
    """Runs handlers as tasks of one event loop.

    Inside `serving`, that is while the server's lifespan lasts, in the loop of it: pools and clients which the
    application made at start-up are bound to that loop. Otherwise in the loop of a thread of its own, of the kind that
    the first work was submitted in.
    """

    can_stop = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: _Host | None = None
        self._private: dict[tuple[int, str], _PrivateHost] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run handlers in the current loop for the time of the context; what still runs at its end is canceled."""
        host = self._served = _new_host()
        async with anyio.create_task_group() as group:
            group.start_soon(host.serve)
            try:
                yield
            finally:
                self._served = None
                group.cancel_scope.cancel()

    def is_ready(self, backend: str) -> bool:
        return self._served is not None or (os.getpid(), backend) in self._private

    async def aprepare(self, backend: str) -> None:
        if not self.is_ready(backend):
            await anyio.to_thread.run_sync(self._private_host, backend)

    def submit(self, work: Work) -> None:
        host = self._served or self._private_host(work.backend)
        host.submit(work)

    def stop(self, work: Work) -> None:
        for host in [self._served, *(private.host for private in self._private.values())]:
            if host:
                host.stop(work)

    def close(self) -> None:
        with self._lock:
            hosts, self._private = self._private, {}
        for (pid, _), host in hosts.items():
            if pid == os.getpid():
                host.close()

    def _private_host(self, backend: str) -> _Host:
        key = os.getpid(), backend  # a thread does not survive a fork
        with self._lock:
            if key not in self._private:
                self._private[key] = _PrivateHost(backend)
            return self._private[key].host


class _Host(ABC):
    """Runs work as tasks of one loop; belongs to the loop in which it was made."""

    def __init__(self) -> None:
        self._loop = current_loop()
        self._new_scope = type(
            anyio.CancelScope()
        )  # anyio would look each time in which loop it is
        self._begun: dict[Work, anyio.CancelScope] = {}

    @abstractmethod
    def submit(self, work: Work) -> None:
        """Have work started; from any thread."""

    @abstractmethod
    async def serve(self) -> None:
        """Start what is submitted, until canceled; what runs then is canceled too."""

    def stop(self, work: Work) -> None:
        """Cancel work, if it has begun here and not ended; from any thread."""
        scope = self._begun.get(work)
        if scope:
            self._loop.post(scope.cancel)

    async def _run(self, work: Work) -> None:
        with self._new_scope() as scope:
            self._begun[work] = scope
            try:
                await work.arun()
            except anyio.get_cancelled_exc_class():
                if anyio.current_effective_deadline() > -math.inf:
                    return  # only the work was canceled; its task group would cancel all the others
                raise
            finally:
                del self._begun[work]


def _new_host() -> _Host:
    return _AsyncioHost() if current_loop().backend == "asyncio" else _TrioHost()


class _AsyncioHost(_Host):
    """Makes asyncio's own tasks: a task group of anyio takes ten times as long to start one."""

    def __init__(self) -> None:
        super().__init__()
        self._native = asyncio.get_running_loop()
        self._context = copy_context()  # a job does not see what its request has set
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_over = False

    def submit(self, work: Work) -> None:
        if _running_loop() is self._native:
            self._start(work)
        else:
            self._loop.post(self._start, work)

    def _start(self, work: Work) -> None:
        if self._is_over:
            return
        task = self._native.create_task(self._run(work), context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def serve(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self._end()

    async def _end(self) -> None:
        """Start nothing more, cancel what has begun, and wait for its end."""
        self._is_over = True
        await asyncio.sleep(0)  # what was started a moment ago begins
        for scope in self._begun.values():
            scope.cancel()
        while self._begun:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _TrioHost(_Host):
    """Has a task that starts others, one for each work."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[Work] = deque()
        self._signal = AsyncSignal()

    def submit(self, work: Work) -> None:
        self._waiting.append(work)
        self._signal.set()

    async def serve(self) -> None:
        async with anyio.create_task_group() as group:
            while True:
                self._signal.clear()
                while self._waiting:
                    group.start_soon(self._run, self._waiting.popleft())
                await self._signal.wait()


class _PrivateHost:
    """A host in a thread with a loop of its own."""

    def __init__(self, backend: str) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=run, args=(self._serve, backend), name=f"deferit-{backend}", daemon=True
        )
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self.host = _new_host()
        self._loop = current_loop()
        with anyio.CancelScope() as self._scope:
            self._ready.set()
            await self.host.serve()

    def close(self) -> None:
        """Cancel what runs, and end the thread; it is left alone if it waits for a thread of a handler's."""
        self._loop.post(self._scope.cancel)
        if self._thread is not threading.current_thread():
            self._thread.join(LAST_WORDS)
