"""Event loops, asyncio's or trio's: runs one in a thread, wakes one from any other."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from anyio.lowlevel import RunVar, current_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine


def run(main: Callable[[], Coroutine[Any, Any, None]], backend: str = "asyncio") -> None:
    """Run a loop in this thread until its main task has ended, whatever others raise.

    Where a task raises `SystemExit` or `KeyboardInterrupt`, asyncio ends the whole loop besides, as if that were the
    program's own: then a handler that says `sys.exit` would take those of all other jobs with it.
    """
    if backend != "asyncio":
        anyio.run(main, backend=backend)
        return
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(main())
        while not task.done():
            with suppress(SystemExit, KeyboardInterrupt):
                loop.run_until_complete(task)
        task.result()


class Loop:
    """A running event loop, seen from other threads."""

    def __init__(self) -> None:
        """Take hold of the loop that runs in this thread."""
        native: Any = current_token().native_token
        is_trio = hasattr(native, "run_sync_soon")
        self._native = native
        self._post = native.run_sync_soon if is_trio else native.call_soon_threadsafe
        self.backend = "trio" if is_trio else "asyncio"

    def new_event(self) -> Event:
        """Return an event for one of its tasks."""
        return _AsyncioEvent(self._native) if self.backend == "asyncio" else _AnyEvent()

    def post(self, function: Callable[..., object], *args: object) -> bool:
        """Have a function called in the loop soon; False if the loop has ended, and with it whoever waited."""
        try:
            self._post(function, *args)
        except RuntimeError:  # both backends say "the loop is closed" so
            return False
        return True


def is_canceled() -> bool:
    """Whether the current task was told to end; else a cancellation that comes up in it is of its own making."""
    if anyio.current_effective_deadline() == -math.inf:
        return True
    task = asyncio.current_task() if current_loop().backend == "asyncio" else None
    return task is not None and task.cancelling() > 0


class Event(Protocol):
    """Something that one task waits for, and no other one, and that is set in the same loop."""

    def set(self) -> object:
        """Wake whoever waits."""
        ...

    def is_set(self) -> bool:
        """Whether it was set."""
        ...

    def wait(self, seconds: float | None = None) -> Awaitable[object]:
        """Wait until it is set, at most so long."""
        ...


class _AsyncioEvent:
    """An event for one task: half of the price of asyncio's own, which is a tenth of anyio's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        self._wake()

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None = None) -> Awaitable[object]:
        waiting = self._waiting = self._loop.create_future()
        if self._is_set:
            waiting.set_result(None)
        return waiting if seconds is None else self._wait(waiting, seconds)

    async def _wait(self, waiting: asyncio.Future[None], seconds: float) -> None:
        timer = self._loop.call_later(seconds, self._wake)
        try:
            await waiting
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


class _AnyEvent:
    """An event of any backend."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self.set, self.is_set = self._event.set, self._event.is_set

    async def wait(self, seconds: float | None = None) -> None:
        with anyio.move_on_after(seconds):
            await self._event.wait()


class _Latest(threading.local):
    """The loop that a thread was seen to run, so that it need not be looked up for each request."""

    native: object = None
    loop: Loop


_here: RunVar[Loop] = RunVar("deferit loop")
_latest = _Latest()


def current_loop() -> Loop:
    """Return the loop that runs in this thread, always the same object for the same loop."""
    try:
        native = asyncio.get_running_loop()
    except RuntimeError:  # it is none of asyncio's
        return _looked_up()
    if native is not _latest.native:
        _latest.native, _latest.loop = native, _looked_up()
    return _latest.loop


def _looked_up() -> Loop:
    try:
        return _here.get()
    except LookupError:
        loop = Loop()
        _here.set(loop)
        return loop
