"""A job, the statuses it goes through, and the table of what may follow what.

    accepted ──▶ running ──▶ succeeded | failed | canceled
    accepted ──▶ canceled | failed
    running  ──▶ accepted      a job that is safe to repeat has lost its worker, or is tried again

Nobody else changes a status; a finished job never changes again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from deferit._core.callback import Callback  # noqa: TC001  stores read the annotations
from deferit._core.http import Pairs, first
from deferit._core.idempotency import Identity  # noqa: TC001  stores read the annotations
from deferit.exceptions import InvalidTransition, LeaseLost


class Status(StrEnum):
    """Where a job stands; the words on the wire."""

    __hash__ = (
        str.__hash__
    )  # an enum's own is a function of Python's, and called for each look into a table

    ACCEPTED = "accepted"
    """Durable and waiting."""
    RUNNING = "running"
    """A worker holds its lease and its handler has been started."""
    SUCCEEDED = "succeeded"
    """The handler answered with a status code under 400."""
    FAILED = "failed"
    """The handler answered 400 or more, raised, took too long, or its worker was lost."""
    CANCELED = "canceled"
    """Somebody canceled it."""


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.ACCEPTED: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELED}),
    Status.RUNNING: frozenset({Status.ACCEPTED, Status.SUCCEEDED, Status.FAILED, Status.CANCELED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}

FINISHED = frozenset(status for status in Status if not TRANSITIONS[status])

TOMBSTONE = 86_400.0
"""Seconds for which an expired job still answers 410, before it is unknown."""

MAX_LOSSES = 10
"""Workers after whose loss a job is given up: it may be what kills them."""


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a job did not succeed: a ``code`` of the contract and what there is to say."""

    code: str
    message: str
    detail: str | None = None


class Result(msgspec.Struct, frozen=True, gc=False):
    """The head of the handler's response; its body of ``length`` bytes lies beside it in ``chunks`` pieces."""

    status: int
    headers: Pairs
    length: int
    chunks: int
    etag: str

    @property
    def content_type(self) -> str | None:
        """The media type of the body, if the handler named one."""
        return first(self.headers, "content-type")


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One accepted request and its fate.

    Instants are seconds since the epoch, spans are seconds. ``revision`` counts what a client can see change;
    ``attempt`` counts claims and is the fencing token: who comes with an old one is refused. Of those, ``tries`` have
    failed and were followed by another, of which there may be ``retries``; ``losses`` have lost their worker. A job
    whose ``queue`` has a name shares it with others, of which ``slots`` may run at once.

    It is a struct of msgspec's, not a dataclass, for each job is made three times and written twice: a struct of this
    size is made in a twentieth of the time, and nothing that has its default is written.
    """

    id: str
    application: str
    route: str
    method: str
    created_at: float
    updated_at: float
    due_at: float
    ttl: float
    owner: str | None = None
    repeatable: bool = False
    status: Status = Status.ACCEPTED
    revision: int = 1
    attempt: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    progress: int | None = None
    message: str | None = None
    result: Result | None = None
    error: Failure | None = None
    identity: Identity | None = None
    callback: Callback | None = None
    queue: str = ""
    slots: int | None = None
    timeout: float | None = None
    retries: int = 0
    tries: int = 0
    losses: int = 0

    @property
    def key(self) -> str | None:
        """The key under which the same request finds this job; None if there is none, or not any more."""
        if self.identity is None or (self.is_finished and self.identity.while_unfinished):
            return None
        return self.identity.key

    @property
    def callback_at(self) -> float | None:
        """The instant at which its callback is due; None if there is none, not yet, or not any more."""
        return self.callback.due_at if self.callback else None

    @property
    def is_finished(self) -> bool:
        """Whether nothing can follow."""
        return self.status in FINISHED

    def but(self, **changes: Any) -> Job:
        """Return the job with other values of some members."""
        return msgspec.structs.replace(self, **changes)

    def is_early(self, now: float) -> bool:
        """Whether it waits for a window that is still to open; never without one, even if a clock was set back."""
        return self.status is Status.ACCEPTED and self.due_at > max(now, self.created_at)

    def is_expired(self, now: float) -> bool:
        """Whether its time to live has run out; never while it is not finished."""
        return self.expires_at is not None and self.expires_at <= now

    def to(self, status: Status, now: float, **changes: Any) -> Job:
        """Return the job in another status.

        Raises:
            InvalidTransition: nothing leads there from here.
        """
        if status not in TRANSITIONS[self.status]:
            raise InvalidTransition(self.status.value, status.value)
        if status in FINISHED:
            changes |= {"finished_at": now, "expires_at": now + self.ttl}
            changes["callback"] = self.callback and self.callback.due(now)
        return self.but(status=status, updated_at=now, revision=self.revision + 1, **changes)

    def claimed(self, now: float) -> Job:
        """Return the job as its next attempt begins."""
        return self.to(Status.RUNNING, now, attempt=self.attempt + 1, started_at=now, message=None)

    def reported(self, now: float, progress: int | None, message: str | None) -> Job:
        """Return the job with what its handler reports: progress never goes back, nor says 100 before the end."""
        if progress is not None:
            progress = max(self.progress or 0, min(progress, 99))
        else:
            progress = self.progress
        if message is None:
            message = self.message
        if (progress, message) == (self.progress, self.message):
            return self
        return self.but(
            progress=progress, message=message, updated_at=now, revision=self.revision + 1
        )

    def held_by(self, attempt: int) -> Job:
        """Return the job if this attempt still runs it.

        Raises:
            LeaseLost: it was finished or taken over.
        """
        if self.status is not Status.RUNNING or self.attempt != attempt:
            raise LeaseLost(self.id, attempt)
        return self

    def ended(self, now: float, result: Result | None, error: Failure | None) -> Job:
        """Return the job with its handler's answer or the reason why there is none."""
        status = Status.FAILED if error else Status.SUCCEEDED
        progress = 100 if self.progress is not None and error is None else self.progress
        return self.to(status, now, result=result, error=error, progress=progress)

    def canceled(self, now: float, detail: str) -> Job:
        """Return the job canceled; ``detail`` is what is guaranteed of its handler."""
        error = Failure("job-canceled", "The job was canceled.", detail)
        return self.to(Status.CANCELED, now, error=error)

    def retried(self, now: float, at: float) -> Job:
        """Return the job after a try that has failed, to be started anew at an instant."""
        message = f"Attempt {self.attempt} has failed and is followed by another."
        return self._returned(now, due_at=at, message=message, tries=self.tries + 1)

    def released(self, now: float, *, has_begun: bool = True) -> Job:
        """Return the job as its worker gives it back: waiting again if it is safe to repeat, else failed."""
        is_safe = self.repeatable or not has_begun
        return self._returned(now) if is_safe else self._interrupted(now)

    def lost(self, now: float) -> Job:
        """Return the job after its worker is gone: as if it was given back, but not for ever."""
        losses = self.losses + 1
        if self.repeatable and losses < MAX_LOSSES:
            return self._returned(now, losses=losses)
        return self._interrupted(now).but(losses=losses)

    def or_later(self, other: Job) -> Job:
        """Return the other state of the same job if it is a later one, else this one."""
        return other if other.revision > self.revision else self

    def stripped(self) -> Job:
        """Return the expired job without its result: a tombstone."""
        return self.but(result=None)

    def _returned(self, now: float, **changes: Any) -> Job:
        """Return the job to those that wait, to be started anew."""
        anew: dict[str, Any] = {
            "due_at": now,
            "started_at": None,
            "progress": None,
            "message": None,
        }
        return self.to(Status.ACCEPTED, now, **anew | changes)

    def _interrupted(self, now: float) -> Job:
        reason = "The worker was lost while the handler ran; how far it came is not known."
        if self.repeatable:
            reason = f"The job lost its worker {MAX_LOSSES} times and was given up."
        return self.ended(now, None, Failure("interrupted", reason))
