"""The closed set of things a store can be asked to do.

A *change* names a job and says, in ``apply``, what becomes of it: stores load, apply and save, and decide nothing.
The other commands create, select, or touch what lies beside the job; how, says `deferit._core.rules`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from deferit._core.discreet import Discreet
from deferit._core.job import Failure, Job, Result, Status
from deferit.exceptions import KeyReused, QueueFull, TooManyJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from deferit._core.queries import Ahead

ORPHANED = 86_400.0
"""Seconds after which pieces of a body are given up if their job was never created; no upload may take as long."""


MOST_READY = 200
"""Early jobs that one command makes ready at the most, so that a batch stays short."""


class Limits(msgspec.Struct, frozen=True, gc=False):
    """How many jobs there may be; None: any number.

    ``max_queue`` counts the waiting jobs of an application, ``max_per_owner`` those of an owner in it that are not
    finished.
    """

    max_queue: int | None = None
    max_per_owner: int | None = None


class Create(Discreet, frozen=True, gc=False):
    """Keep a new job and its captured request; the answer is the job, or the one that the same request made before.

    ``job`` is accepted, or already running if the asking process starts it at once; then ``lease_until`` is set. Where
    another job has the new one's `Job.key`, `found` decides: nothing is kept, or that job loses the key. Where there is
    none, `admit` decides. With ``asks_place`` the answer is a `Placed`, which has that job.
    """

    HIDDEN = frozenset({"request"})

    job: Job
    request: bytes
    lease_until: float | None = None
    limits: Limits | None = None
    asks_place: bool = False

    def found(self, other: Job) -> bool:
        """Whether ``other``, which has the same key, is the answer; if not it loses the key to the new job.

        Raises:
            KeyReused: it was made by another request.
        """
        if other.is_expired(self.job.created_at):
            return False
        if self.job.identity is None or not self.job.identity.may_be(other.identity):
            raise KeyReused(other.id)
        return True

    def admit(self, waiting: Callable[[int], int], owned: Callable[[int], int]) -> None:
        """Do nothing if there is room for the job.

        ``waiting`` and ``owned`` count the jobs that `Limits` speaks of, as far as they are asked to.

        Raises:
            TooManyJobs: its owner has too many already.
            QueueFull: too many wait, and it would have to.
        """
        if self.limits is None:
            return
        most, most_owned = self.limits.max_queue, self.limits.max_per_owner
        if self.counts_owned and most_owned is not None and owned(most_owned) >= most_owned:
            raise TooManyJobs(most_owned)
        if most is not None and self.job.status is Status.ACCEPTED and waiting(most) >= most:
            raise QueueFull(most)

    def answer(self, job: Job) -> Job | Placed:
        """Return the answer that has a job."""
        return Placed(job) if self.asks_place else job

    @property
    def counts_owned(self) -> bool:
        """Whether `admit` has the jobs of the owner counted."""
        is_limited = self.limits is not None and self.limits.max_per_owner is not None
        return is_limited and self.job.owner is not None

    @property
    def is_ready(self) -> bool:
        """Whether the job waits for nothing but its turn."""
        return self.job.status is Status.ACCEPTED and self.job.due_at <= self.job.created_at


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A job, and what is in front of it as its batch is committed; None if the store would have to look for it."""

    job: Job
    ahead: Ahead | None = None


class Append(Discreet, frozen=True, gc=False):
    """Keep one piece of a body; attempt 0 is the captured request's, others are a result's.

    A piece of a result is refused with `LeaseLost` unless the attempt still runs the job. Pieces of a request come
    before the job that they belong to, and are refused with `JobExists` after it. A piece that is there already is
    replaced.
    """

    HIDDEN = frozenset({"data"})

    job_id: str
    attempt: int
    index: int
    data: bytes


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Take up to ``limit`` jobs whose turn it is, to run them; the answer is a tuple of `Claimed`.

    A waiting job is *early* until the instant that the store keeps as its ``wake_at``, and *ready* from then on, unless
    it is *offered* (`Dispatch`). A claim first makes ready what is due of those that are not, longest due first,
    `MOST_READY` at the most: each gets its `next_turn`. Ready
    jobs of one queue go by turn and id; of a queue with `Job.slots` only so many are taken that no more run; between
    queues `in_order` decides.

    With ``job_id`` only that job is taken, ready or offered, unless it is early; if its queue has no room it becomes
    ready.
    """

    application: str
    now: float
    lease_until: float
    limit: int
    job_id: str | None = None


class Dispatch(msgspec.Struct, frozen=True, gc=False):
    """Take up to ``limit`` jobs whose turn it is, to offer them to another process; the answer is the tuple of them.

    They stay accepted, but are *offered*: not ready any more, but in front of all that are, in the order in which they
    were offered first (`offered_at`). By ``again_at`` somebody has claimed them by their id, or the offer was lost.
    From then on they are due: offered again, first of all and in their old place, or made ready by a `Claim`. The
    others are chosen as by `Claim`.
    """

    application: str
    now: float
    again_at: float
    limit: int


class Claimed(Discreet, frozen=True, gc=False):
    """A job that was claimed, with its captured request."""

    HIDDEN = frozenset({"request"})

    job: Job
    request: bytes


class Renew(msgspec.Struct, frozen=True, gc=False):
    """Extend leases, each a job's id and attempt; the answer is the tuple of those that were lost."""

    leases: tuple[tuple[str, int], ...]
    lease_until: float


class Report(msgspec.Struct, frozen=True, gc=False):
    """A change: progress in percent and a message, from the running handler."""

    job_id: str
    attempt: int
    now: float
    progress: int | None
    message: str | None

    def apply(self, job: Job) -> Job:
        """Return the job with the report."""
        return job.held_by(self.attempt).reported(self.now, self.progress, self.message)


class Finish(Discreet, frozen=True, gc=False):
    """A change: the handler has answered, or never will; ``body`` is the last piece of the result.

    With ``retry_at`` a job that has failed and has `Job.retries` left is tried again from that instant on.
    """

    HIDDEN = frozenset({"body"})

    job_id: str
    attempt: int
    now: float
    result: Result | None
    error: Failure | None
    body: bytes = b""
    retry_at: float | None = None

    def apply(self, job: Job) -> Job:
        """Return the job finished, or waiting for its next try."""
        held = job.held_by(self.attempt)
        if self.error and self.retry_at is not None and job.tries < job.retries:
            return held.retried(self.now, self.retry_at)
        return held.ended(self.now, self.result, self.error)


class Release(msgspec.Struct, frozen=True, gc=False):
    """A change: give a running job back, as its worker goes away: to those that wait, or failed if it is unsafe.

    One whose handler has not begun is always safe.
    """

    job_id: str
    attempt: int
    now: float
    has_begun: bool = True

    def apply(self, job: Job) -> Job:
        """Return the job given back."""
        return job.held_by(self.attempt).released(self.now, has_begun=self.has_begun)


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """A change: cancel a job; one that is finished stays as it is.

    ``attempt`` is the one that ``detail`` speaks of: a job that was started or restarted meanwhile stays as it is too,
    for then the guarantee would not be true.
    """

    job_id: str
    attempt: int
    now: float
    detail: str

    def apply(self, job: Job) -> Job:
        """Return the job canceled, or as it was."""
        if job.is_finished or job.attempt != self.attempt:
            return job
        return job.canceled(self.now, self.detail)


class Purge(msgspec.Struct, frozen=True, gc=False):
    """Forget a finished job and all that lies beside it.

    ``revision`` is the one the client saw; the answer is whether the job was still that, and finished, and is gone.
    """

    job_id: str
    revision: int


class Sweep(msgspec.Struct, frozen=True, gc=False):
    """Do what has become due: take jobs from lost workers, drop expired results, forget tombstones.

    Due is what has a `wake_at` of ``now`` or before. At most ``limit`` running jobs and ``limit`` finished ones,
    longest due first, so that a batch stays short, and one step each: an expired result leaves a tombstone, which goes
    the next time. Bodies whose job was never created are dropped `ORPHANED` seconds after their id was made, ``limit``
    bodies at most. The answer is `Swept`.
    """

    now: float
    limit: int = 50


class Swept(msgspec.Struct, frozen=True, gc=False):
    """The jobs whose status has changed, and whether nothing more was due."""

    jobs: tuple[Job, ...]
    is_done: bool


class Observe(msgspec.Struct, frozen=True, gc=False):
    """Add to what is known of a route how many seconds its handler took, each time; `remembered` says what is kept."""

    application: str
    route: str
    seconds: tuple[float, ...]


class ClaimCallbacks(msgspec.Struct, frozen=True, gc=False):
    """Take up to ``limit`` callbacks that are due, longest due first; the answer is the tuple of their jobs.

    Due is what has a `Job.callback_at` of ``now`` or before. Nobody else gets them until ``lease_until``. The callback
    of a job whose time to live has run out is dropped: in the answer it is not due any more.
    """

    application: str
    now: float
    lease_until: float
    limit: int

    def apply(self, job: Job) -> Job:
        """Return the job with its callback claimed, or dropped."""
        assert job.callback is not None
        if job.is_expired(self.now):
            return job.but(callback=job.callback.settled(None))
        return job.but(callback=job.callback.claimed(self.lease_until))


class SettleCallback(msgspec.Struct, frozen=True, gc=False):
    """Say when a claimed callback is to be tried again, or with None that it is not; the answer is the job.

    ``attempts`` is the claim's: a job whose callback was claimed again meanwhile stays as it is.
    """

    job_id: str
    attempts: int
    again_at: float | None

    def apply(self, job: Job) -> Job:
        """Return the job with its callback settled, or as it was."""
        callback = job.callback
        if callback is None or callback.due_at is None or callback.attempts != self.attempts:
            return job
        return job.but(callback=callback.settled(self.again_at))


Change: TypeAlias = Report | Finish | Release | Cancel
CHANGES = (Report, Finish, Release, Cancel)
Command: TypeAlias = (
    Create
    | Append
    | Claim
    | Dispatch
    | Renew
    | Change
    | Purge
    | Sweep
    | Observe
    | ClaimCallbacks
    | SettleCallback
)
"""What is written: executed in batches, each batch in one transaction."""
