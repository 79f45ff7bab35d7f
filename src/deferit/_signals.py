"""Tells those who wait for a job that something has become of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

import anyio

from deferit._loops import current_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Signals:
    """Who waits for which job; any thread may `notify`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: dict[str, list[Callable[[], object]]] = {}

    @contextmanager
    def watching(self, job_id: str, wake: Callable[[], object]) -> Iterator[None]:
        """Have ``wake`` called whenever the job changes, from any thread, for the time of the context."""
        with self._lock:
            self._watchers.setdefault(job_id, []).append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._watchers[job_id].remove(wake)
                if not self._watchers[job_id]:
                    del self._watchers[job_id]

    def notify(self, job_id: str) -> None:
        """Wake those who wait for a job."""
        if job_id in self._watchers:
            with self._lock:
                wakes = list(self._watchers.get(job_id, ()))
            for wake in wakes:
                wake()

    def notify_all(self) -> None:
        """Wake everybody."""
        for job_id in self.watched():
            self.notify(job_id)

    def watched(self) -> Iterable[str]:
        """Return the ids of the jobs that are waited for."""
        with self._lock:
            return list(self._watchers)


class AsyncSignal:
    """An event that any thread sets and one task waits for, again and again."""

    def __init__(self) -> None:
        self._loop = current_loop()
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake the task; from any thread."""
        self._loop.post(self._set)

    def clear(self) -> None:
        """Forget what was set."""
        self._event = anyio.Event()

    async def wait(self, seconds: float = inf) -> None:
        """Wait until it is set, at most so long."""
        with anyio.move_on_after(seconds):
            await self._event.wait()

    def _set(self) -> None:
        self._event.set()
