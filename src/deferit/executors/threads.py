"""Runs handlers in threads of this process."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from deferit.executors.base import Executor

if TYPE_CHECKING:
    from deferit.executors.base import Work


class ThreadExecutor(Executor):
    """Runs handlers in daemon threads, which are kept for the next one.

    They are daemons, unlike those of `concurrent.futures`, because a process that was asked to stop must not wait for
    a handler longer than its grace; what was not finished then is given back to the store.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    def submit(self, work: Work) -> None:
        with self._lock:
            if self._process != os.getpid():
                self._begin()  # threads do not survive a fork
            if self._idle:
                self._idle -= 1
            else:
                self._threads += 1
                name = f"deferit-handler-{self._threads}"
                queue = self._queue
                threading.Thread(target=self._work, args=(queue,), name=name, daemon=True).start()
            self._queue.put(work)

    def close(self) -> None:
        with self._lock:
            queue, threads = self._queue, self._threads
            self._begin()
        for _ in range(threads):
            queue.put(None)

    def _work(self, queue: SimpleQueue[Work | None]) -> None:
        while (work := queue.get()) is not None:
            work.run()
            del work  # it need not be kept until there is more
            with self._lock:
                self._idle += queue is self._queue
