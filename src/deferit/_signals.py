"""Tells those who wait for a job that something has become of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deferit._loops import current_loop
from deferit.exceptions import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from deferit._core.job import Job


class Watch:
    """What somebody who waits for a job has been told of it last."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._latest: Job | None = None
        self._is_gone = False
        self._lock = threading.Lock()

    def tell(self, job: Job | None, *, is_gone: bool = False) -> None:
        """Take news, or None if there may be some without anybody having looked; from any thread."""
        self._is_gone |= is_gone
        if job is not None:
            with self._lock:  # who read the job earlier may tell it later
                self._latest = job.or_later(self._latest or job)
        self._wake()

    def after(self, job: Job) -> Job:
        """Return the job as it is known to be, at least as late as ``job``.

        Raises:
            JobNotFound: it was purged.
        """
        if self._is_gone:
            raise JobNotFound(job.id)
        return job.or_later(self._latest or job)


class Signals:
    """Who waits for which job; any thread may `notify`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[str, list[Watch]] = {}

    @contextmanager
    def watching(self, job_id: str, wake: Callable[[], object]) -> Iterator[Watch]:
        """Have ``wake`` called whenever the job changes, from any thread, for the time of the context."""
        watch = Watch(wake)
        with self._lock:
            self._watches.setdefault(job_id, []).append(watch)
        try:
            yield watch
        finally:
            self._unwatch(job_id, watch)

    def _unwatch(self, job_id: str, watch: Watch) -> None:
        with self._lock:
            watches = self._watches[job_id]
            watches.remove(watch)
            if not watches:
                del self._watches[job_id]

    def notify(self, job_id: str, job: Job | None = None, *, is_gone: bool = False) -> None:
        """Tell those who wait for a job what it is now; without ``job``, that they should look around."""
        if job_id in self._watches:
            with self._lock:
                watches = list(self._watches.get(job_id, ()))
            for watch in watches:
                watch.tell(job, is_gone=is_gone)

    def notify_all(self) -> None:
        """Wake everybody."""
        for job_id in list(self._watches):
            self.notify(job_id)

    def watched(self, job_ids: Iterable[str] | None = None) -> list[str]:
        """Return the ids that somebody waits for, of those that are given or of all."""
        if job_ids is None:
            return list(self._watches)
        return [job_id for job_id in job_ids if job_id in self._watches]


class Signal:
    """An event that any thread sets and one waits for, again and again, cheaper than `threading.Event`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the thread, or have its next waiting end at once."""
        try:  # noqa: SIM105  `suppress` takes longer than all the rest
            self._lock.release()
        except RuntimeError:  # it was set already
            pass

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it is set, at most so long, and forget that it was."""
        self._lock.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX))


class AsyncSignal:
    """An event that any thread sets and one task waits for, again and again."""

    def __init__(self) -> None:
        self._loop = current_loop()
        self._thread = threading.get_ident()
        self._event = self._loop.new_event()

    def set(self) -> None:
        """Wake the task; from any thread, though from another one the loop has to be woken."""
        if threading.get_ident() == self._thread:
            self._event.set()
        else:
            self._loop.post(self._set)

    def clear(self) -> None:
        """Forget what was set."""
        self._event = self._loop.new_event()

    def wait(self, seconds: float | None = None) -> Awaitable[object]:
        """Wait until it is set, at most so long."""
        return self._event.wait(seconds)

    def _set(self) -> None:
        self._event.set()
