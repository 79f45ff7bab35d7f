"""Runs handlers as tasks: in the server's own event loop where there is one, else in a private one."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from deferit._loops import Loop, current_loop
from deferit._signals import AsyncSignal
from deferit.executors.base import Executor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from deferit.executors.base import Work


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
        self._scopes: dict[Work, tuple[Loop, anyio.CancelScope]] = {}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run handlers in the current loop for the time of the context; what still runs at its end is canceled."""
        host = self._served = _Host(self._run)
        async with anyio.create_task_group() as group:
            group.start_soon(host.serve)
            try:
                yield
            finally:
                self._served = None
                group.cancel_scope.cancel()

    async def aprepare(self, backend: str) -> None:
        if self._served is None and (os.getpid(), backend) not in self._private:
            await anyio.to_thread.run_sync(self._private_host, backend)

    def submit(self, work: Work) -> None:
        host = self._served or self._private_host(work.backend)
        host.submit(work)

    def stop(self, work: Work) -> None:
        found = self._scopes.get(work)
        if found:
            loop, scope = found
            loop.post(scope.cancel)

    def close(self) -> None:
        with self._lock:
            hosts, self._private = self._private, {}
        for (pid, _), host in hosts.items():
            if pid == os.getpid():
                host.close()

    async def _run(self, work: Work) -> None:
        with anyio.CancelScope() as scope:
            self._scopes[work] = (current_loop(), scope)
            try:
                await work.arun()
            except anyio.get_cancelled_exc_class():
                if anyio.current_effective_deadline() > -math.inf:
                    return  # only the work was canceled; its task group would cancel all the others
                raise
            finally:
                del self._scopes[work]

    def _private_host(self, backend: str) -> _Host:
        key = os.getpid(), backend  # a thread does not survive a fork
        with self._lock:
            if key not in self._private:
                self._private[key] = _PrivateHost(backend, self._run)
            return self._private[key].host


class _Host:
    """A task that starts others, one for each work that any thread submits."""

    def __init__(self, run: Callable[[Work], Coroutine[Any, Any, None]]) -> None:
        """Belong to the current loop."""
        self._run = run
        self._waiting: deque[Work] = deque()
        self._signal = AsyncSignal()

    def submit(self, work: Work) -> None:
        """Have work started; from any thread."""
        self._waiting.append(work)
        self._signal.set()

    async def serve(self) -> None:
        """Start what is submitted, until canceled; what runs then is canceled too."""
        async with anyio.create_task_group() as group:
            while True:
                self._signal.clear()
                while self._waiting:
                    group.start_soon(self._run, self._waiting.popleft())
                await self._signal.wait()


class _PrivateHost:
    """A host in a thread with a loop of its own."""

    def __init__(self, backend: str, run: Callable[[Work], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=partial(anyio.run, self._serve, backend=backend),
            name=f"deferit-{backend}",
            daemon=True,
        )
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self.host = _Host(self._run)
        self._loop = current_loop()
        with anyio.CancelScope() as self._scope:
            self._ready.set()
            await self.host.serve()

    def close(self) -> None:
        """Cancel what runs, and end the thread."""
        self._loop.post(self._scope.cancel)
        if self._thread is not threading.current_thread():
            self._thread.join()
