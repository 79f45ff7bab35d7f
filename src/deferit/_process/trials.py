"""A job that begins before it is stored, in the hope that it ends in time and never has to be."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from deferit._core.commands import Create
from deferit._core.effects import ShuttingDown
from deferit._core.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deferit._core.effects import Try
    from deferit._core.job import Job
    from deferit._process.runs import Run

MOST_PIECES = 4
"""Full pieces of a response that are held in memory (1 MiB); a longer response has its job stored."""


class ResponseMissing(RuntimeError):
    """The application ended without a whole response."""


class End:
    """How a tried run ended: with its response, or with what came out of the application, or with both."""

    __slots__ = ("escaped", "response")

    def __init__(self, response: Response | None, escaped: BaseException | None) -> None:
        self.response = response
        self.escaped = escaped


class Trial:
    """What is held of a run whose job is not stored: either it is answered from here, or all of it goes to the store.

    The run may have to wait for a slot first. It writes and ends in its own thread, the request that waits decides in
    another, and what is committed is learned in a third; so each step is taken under a lock, and what came first holds.
    """

    def __init__(
        self, effect: Try, store: Callable[[Run], object], wake: Callable[[], object]
    ) -> None:
        """Be the trial of a job that ``store`` begins to have stored; ``wake`` has who waits for it look around."""
        self.effect = effect
        self.wake = wake
        self.begun_at = 0.0
        self._store = store
        self.failure: Exception | None = None
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._end: End | None = None
        self._is_keeping = False
        self._is_kept = False
        self._job: Job | None = None
        self._refusal: Exception | None = None

    @property
    def is_full(self) -> bool:
        """Whether the response is too long to be held."""
        return len(self._pieces) >= MOST_PIECES

    def holds(self, piece: bytes) -> bool:
        """Take a piece of the response; False if it has to go to the store."""
        with self._lock:
            if not self._is_kept:
                self._pieces.append(piece)
            return not self._is_kept

    def holds_end(self, end: End) -> bool:
        """Take the end of the run; False if it has to go to the store."""
        with self._lock:
            if not self._is_kept:
                self._end = end
            return not self._is_kept

    @property
    def is_kept(self) -> bool:
        """Whether the job is in the store, and runs."""
        return self._is_kept

    @property
    def is_settled(self) -> bool:
        """Whether it is known what to answer: the end came in time, or the job is stored, or cannot be."""
        with self._lock:
            if self._job is not None or self._refusal is not None:
                return True
            return self._end is not None and not self._is_keeping

    def answer(self) -> Response | Job:
        """Return the job if it is stored, else the handler's response.

        Raises:
            StoreError: it has not begun in time, and could not be stored.
            BaseException: what the handler raised in place of a response, as it would have without deferit.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._job is not None:
            return self._job
        assert self._end is not None
        response = self._end.response
        if response is None:
            raise self._end.escaped or ResponseMissing
        if not self._pieces:
            return response
        assert isinstance(response.body, bytes)
        body = b"".join([*self._pieces, response.body])
        return Response(response.status, response.headers, body)

    @property
    def aside(self) -> BaseException | None:
        """What the application raised beside the response that is the answer; its server would have logged it."""
        return None if self._is_kept or self._end is None else self._end.escaped

    # --- becoming a stored job ---------------------------------------------------------------------------------------

    def keep(self, run: Run) -> None:
        """Have the job of the run stored, if that is not under way and the end is not known."""
        with self._lock:
            if self._is_keeping or self._end is not None:
                return
            self._is_keeping = True
        self._store(run)

    def running(self, lease_until: float) -> Create:
        """Return the command that stores the job as one that runs: it cannot be refused any more."""
        request, _ = self.effect.replica.encode()
        return Create(self.effect.job.claimed(self.begun_at), request, lease_until)

    def waiting(self) -> tuple[Create, Mapping[str, Any]]:
        """Return the command that stores the job as one that waits, if there is room for it, and what is carried."""
        request, carried = self.effect.replica.encode()
        return Create(self.effect.job, request, limits=self.effect.limits), carried

    def was_kept(self, job: Job, store: Callable[[int, bytes], object]) -> End | None:
        """Take note that the job is in the store, and have it get what was held; return the end of the run if known."""
        with self._lock:
            for index, piece in enumerate(self._pieces):
                store(index, piece)  # before anything of the run's own can follow
            self._is_kept = True
            self._job = job
            return self._end

    def was_not_kept(self, failure: Exception) -> None:
        """Take note that the job could not be stored: the request has to wait for the end after all."""
        with self._lock:
            self.failure = failure
            self._is_keeping = False

    def was_queued(self, outcome: object) -> None:
        """Take note that the job waits in the store, or that it cannot: its run will never begin."""
        with self._lock:
            if isinstance(outcome, Exception):
                self._refusal = outcome
            else:
                self._job = self.effect.job

    def has_left(self) -> None:
        """Take note that the run is over: without an end it was broken off, as the process is to end."""
        with self._lock:
            if self._end is None and not self._is_kept:
                self._end = End(None, ShuttingDown())
