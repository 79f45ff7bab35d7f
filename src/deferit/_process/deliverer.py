"""Delivers callbacks: posts the status document of a finished job to whom its submitter named, until it is taken."""

from __future__ import annotations

import logging
import threading
import time
from random import Random
from typing import TYPE_CHECKING, cast

import msgspec

from deferit._core.allowed import url_from
from deferit._core.callback import GONE, is_delivered, next_attempt
from deferit._core.commands import ClaimCallbacks, SettleCallback
from deferit._core.document import Site, document
from deferit.exceptions import StoreError

if TYPE_CHECKING:
    from deferit._core.callback import Callback
    from deferit._core.job import Job
    from deferit._process.ledger import Ledger
    from deferit._process.poster import Poster
    from deferit.callbacks import Callbacks

logger = logging.getLogger("deferit")

THREADS = 4
"""Callbacks that are under way at once: a receiver that takes its time holds up no others."""

INTERVAL = 1.0
"""Seconds after which due callbacks are looked for without being told of any: some become due by the clock alone."""

_random = Random().random  # noqa: S311  it only spreads the load; the shared generator is the application's

LEASE = 60.0
"""Seconds after which a callback is delivered anew if its process gives no sign: an attempt is over long before."""

CLOSE_PATIENCE = 5.0
"""Seconds that a process which is to end gives the attempts under way; those it leaves are made again elsewhere."""


class Failed(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt has failed, and whether that is the end of it."""

    reason: str
    is_final: bool = False


class Deliverer:
    """Delivers one application's callbacks, in threads of its own: one looks for what is due, the others deliver."""

    def __init__(self, callbacks: Callbacks, application: str, ledger: Ledger) -> None:
        self._callbacks = callbacks
        self._application = application
        self._ledger = ledger
        self._poster: Poster | None = None
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name="deferit-callbacks", daemon=True)
            for _ in range(THREADS)
        ]

    def start(self) -> None:
        """Start the threads."""
        from deferit._process.poster import Poster  # noqa: PLC0415  it needs the extra

        self._poster = Poster(self._callbacks.resolve, private=self._callbacks.private)
        self._ledger.wake_deliverer = self.wake
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Have it look now; from any thread."""
        self._wake.set()

    def close(self) -> None:
        """End the threads after the attempts under way, as long as `CLOSE_PATIENCE` lasts."""
        self._is_closed = True
        self._wake.set()
        deadline = time.monotonic() + CLOSE_PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while not self._is_closed:
            with self._turn:
                job = self._next()
            if job:
                self._deliver(job)

    def _next(self) -> Job | None:
        """Return a job whose callback is due, waiting for one; None if this is the end."""
        while not self._is_closed:
            self._wake.clear()
            jobs = self._claimed()
            if jobs:
                return jobs[0]
            self._wake.wait(INTERVAL)
        return None

    def _claimed(self) -> tuple[Job, ...]:
        now = self._ledger.now()
        claim = ClaimCallbacks(self._application, now, now + LEASE, 1)
        try:
            return cast("tuple[Job, ...]", self._ledger.execute(claim))
        except StoreError as exc:
            logger.warning("%s; looking for callbacks again in %g s", exc, INTERVAL)
            return ()

    def _deliver(self, job: Job) -> None:
        """Make one attempt, and say what follows from it."""
        callback = job.callback
        assert callback is not None
        if callback.due_at is None:
            _log(job, callback, "the job has expired", None)
            return
        failed = self._attempt(job, callback)
        again_at = self._again_at(callback, failed) if failed else None
        if failed:
            _log(job, callback, failed.reason, again_at)
        self._ledger.submit(SettleCallback(job.id, callback.attempts, again_at))

    def _attempt(self, job: Job, callback: Callback) -> Failed | None:
        assert self._poster is not None
        url = url_from(callback.url)
        secrets = self._callbacks.allowed.secrets(callback.url)
        if url is None or secrets is None:
            return Failed("it is not allowed any more", is_final=True)
        body = document(job, Site(callback.mount_url), self._ledger.now()).body
        assert isinstance(body, bytes)
        try:
            status = self._poster.post(url, f"{job.id}_{job.revision}", body, secrets)
        except Exception as exc:  # noqa: BLE001  whatever it was, there was no answer; the thread must not end
            return Failed(f"{type(exc).__name__}: {exc}")
        if is_delivered(status):
            return None
        return Failed(f"the receiver answered {status}", is_final=status == GONE)

    def _again_at(self, callback: Callback, failed: Failed) -> float | None:
        if failed.is_final:
            return None
        chance = _random()
        return next_attempt(callback.attempts, self._callbacks.attempts, self._ledger.now(), chance)


def _log(job: Job, callback: Callback, reason: str, again_at: float | None) -> None:
    """Log a failed attempt, or, once, the end; the path of a URL may be its owner's secret."""
    url = url_from(callback.url)
    extra = {"job_id": job.id, "attempts": callback.attempts}
    host = url.authority if url else ""
    if again_at is None:
        logger.warning(_GIVEN_UP, job.route, host, callback.attempts, reason, extra=extra)
    else:
        logger.info(_FAILED, job.route, host, reason, extra=extra)


_GIVEN_UP = "%s: the callback to %s was given up after %d attempts: %s"
_FAILED = "%s: the callback to %s is to be tried again: %s"
