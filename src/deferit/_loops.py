"""Wakes an event loop from any thread: asyncio's or trio's."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import RunVar, current_token

if TYPE_CHECKING:
    from collections.abc import Callable


class Loop:
    """A running event loop, seen from other threads."""

    def __init__(self) -> None:
        """Take hold of the loop that runs in this thread."""
        native: Any = current_token().native_token
        is_trio = hasattr(native, "run_sync_soon")
        self._post = native.run_sync_soon if is_trio else native.call_soon_threadsafe
        self.backend = "trio" if is_trio else "asyncio"

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


_here: RunVar[Loop] = RunVar("deferit loop")


def current_loop() -> Loop:
    """Return the loop that runs in this thread, always the same object for the same loop."""
    try:
        return _here.get()
    except LookupError:
        loop = Loop()
        _here.set(loop)
        return loop
