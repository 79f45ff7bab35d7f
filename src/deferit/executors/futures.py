"""Runs handlers through any pool that has `submit` as `concurrent.futures.Executor` has: processes, Dask, Ray, MPI."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from deferit._host import run_job
from deferit.executors.base import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from deferit._core.job import Job
    from deferit.executors.base import Lost

logger = logging.getLogger("deferit")


class Pool(Protocol):
    """What is asked of a pool."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Have the function called, in whatever process."""
        ...


class FuturesExecutor(Dispatcher):
    """Has a pool call `deferit._host.run_job` with the id of a job, wherever its processes are.

    They import ``app`` and need the same store. ``pool`` is one, or a function that makes one: then every web process
    has its own, also after a fork, and one that has broken is replaced. ``ahead`` is how many jobs the pool gets that
    it has not begun; the others wait in the store, where owners take turns.
    """

    def __init__(self, pool: Pool | Callable[[], Pool], *, app: str, ahead: int = 16) -> None:
        self.app = self._target = app
        self._given = pool
        self._ahead = ahead
        self._pool: Pool | None = None
        self._futures: dict[str, Future[Any]] = {}
        self._wake: Callable[[], object] = lambda: None

    def open(self, lost: Lost, wake: Callable[[], object]) -> None:  # noqa: ARG002  leases tell what was lost
        self._pool = None
        self._futures = {}
        self._wake = wake

    def capacity(self, waiting: int) -> int:
        return self._ahead - waiting

    def dispatch(self, job: Job) -> None:
        known = self._futures.get(job.id)
        if known is not None and not known.done():
            return  # it waits in the pool still
        try:
            future = self._ready_pool().submit(run_job, self._target, job.id)
        except BaseException:
            self._pool = None  # it may be broken, or closed
            raise
        self._futures[job.id] = future
        future.add_done_callback(partial(self._done, job))

    def revoke(self, job: Job) -> bool:
        """Take it out of the pool if it was not begun; what runs sees in the store that it was canceled."""
        future = self._futures.get(job.id)
        if future is not None:
            future.cancel()
        return False

    def close(self, grace: float) -> None:  # noqa: ARG002  the handlers' processes have their own
        """Take back what was not begun; a pool that was made here is shut down."""
        for future in list(self._futures.values()):
            future.cancel()
        pool, self._pool = self._pool, None
        shutdown = getattr(pool, "shutdown", None)
        if shutdown is not None and pool is not self._given:
            shutdown(wait=False)

    def _ready_pool(self) -> Pool:
        pool = self._pool
        if pool is None:
            given: Any = self._given
            pool = given if hasattr(given, "submit") else given()
            self._pool = pool
        return pool

    def _done(self, job: Job, future: Future[Any]) -> None:
        self._futures.pop(job.id, None)
        if not future.cancelled() and (exc := future.exception()) is not None:
            kind = type(exc).__name__
            logger.error("%s: the pool did not run the job: %s: %s", job.route, kind, exc)
        self._wake()
