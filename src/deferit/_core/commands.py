"""The closed set of things a store can be asked.

A *change* names a job and says, in ``apply``, what becomes of it: stores load, apply and save, and decide nothing.
The other commands create, select, or touch what lies beside the job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from deferit._core.job import FINISHED, TOMBSTONE, Failure, Job, Result, Status
from deferit.exceptions import KeyReused

MOST_AHEAD = 1_000
"""Waiting jobs that are counted for a client; a position behind more of them is not told."""

ORPHANED = 3600.0
"""Seconds after which pieces of a body are given up if their job was never created."""


@dataclass(frozen=True, slots=True)
class Create:
    """Keep a new job and its captured request; the answer is the job, or the one that the same request made before.

    ``job`` is accepted, or already running if the asking process starts it at once; then ``lease_until`` is set. Where
    another job has the new one's `Job.key`, `found` decides: nothing is kept, or that job loses the key.
    """

    job: Job
    request: bytes
    lease_until: float | None = None

    def found(self, other: Job) -> bool:
        """Whether ``other``, which has the same key, is the answer; if not it loses the key to the new job.

        Raises:
            KeyReused: it was made by another request.
        """
        if other.is_expired(self.job.created_at):
            return False
        if self.job.identity != other.identity:
            raise KeyReused(other.id)
        return True


@dataclass(frozen=True, slots=True)
class Append:
    """Keep one piece of a body; attempt 0 is the captured request's, others are a result's.

    A piece of a result is refused with `LeaseLost` unless the attempt still runs the job. Pieces of a request come
    before the job that they belong to, and are refused with `JobExists` after it. A piece that is there already is
    replaced.
    """

    job_id: str
    attempt: int
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Take up to ``limit`` waiting jobs that are due, longest due first; the answer is a tuple of `Claimed`."""

    application: str
    now: float
    lease_until: float
    limit: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that was claimed, with its captured request."""

    job: Job
    request: bytes


@dataclass(frozen=True, slots=True)
class Renew:
    """Extend leases, each a job's id and attempt; the answer is the tuple of those that were lost."""

    leases: tuple[tuple[str, int], ...]
    lease_until: float


@dataclass(frozen=True, slots=True)
class Report:
    """A change: progress in percent and a message, from the running handler."""

    job_id: str
    attempt: int
    now: float
    progress: int | None
    message: str | None

    def apply(self, job: Job) -> Job:
        """Return the job with the report."""
        return job.held_by(self.attempt).reported(self.now, self.progress, self.message)


@dataclass(frozen=True, slots=True)
class Finish:
    """A change: the handler has answered, or never will; ``body`` is the last piece of the result."""

    job_id: str
    attempt: int
    now: float
    result: Result | None
    error: Failure | None
    body: bytes = b""

    def apply(self, job: Job) -> Job:
        """Return the job finished."""
        return job.held_by(self.attempt).ended(self.now, self.result, self.error)


@dataclass(frozen=True, slots=True)
class Release:
    """A change: give a running job back, as its worker goes away: to those that wait, or failed if it is unsafe."""

    job_id: str
    attempt: int
    now: float

    def apply(self, job: Job) -> Job:
        """Return the job as after a lost worker."""
        return job.held_by(self.attempt).lost(self.now)


@dataclass(frozen=True, slots=True)
class Cancel:
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


@dataclass(frozen=True, slots=True)
class Purge:
    """Forget a finished job and all that lies beside it.

    ``revision`` is the one the client saw; the answer is whether the job was still that, and finished, and is gone.
    """

    job_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Do what has become due: take jobs from lost workers, drop expired results, forget tombstones.

    Due is what has a `wake_at` of ``now`` or before. At most ``limit`` running jobs and ``limit`` finished ones,
    longest due first, so that a batch stays short, and one step each: an expired result leaves a tombstone, which goes
    the next time. The answer is the tuple of jobs whose status changed. Bodies whose job was never created are dropped
    `ORPHANED` seconds after their id was made, ``limit`` bodies at most.
    """

    now: float
    limit: int = 200


@dataclass(frozen=True, slots=True)
class ClaimCallbacks:
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
            return replace(job, callback=job.callback.settled(None))
        return replace(job, callback=job.callback.claimed(self.lease_until))


@dataclass(frozen=True, slots=True)
class SettleCallback:
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
        return replace(job, callback=callback.settled(self.again_at))


Change: TypeAlias = Report | Finish | Release | Cancel
CHANGES = (Report, Finish, Release, Cancel)
Command: TypeAlias = (
    Create | Append | Claim | Renew | Change | Purge | Sweep | ClaimCallbacks | SettleCallback
)
"""What is written: executed in batches, each batch in one transaction."""


@dataclass(frozen=True, slots=True)
class Get:
    """Read a job by its id; raises `JobNotFound`."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """Read one piece of a body (see `Append`)."""

    job_id: str
    attempt: int
    index: int


@dataclass(frozen=True, slots=True)
class Position:
    """Count the jobs of the same application that are due before this one, as far as ``most``.

    Counting takes a store longer the more there are; beyond some length nobody needs to know.
    """

    job: Job
    most: int = MOST_AHEAD


@dataclass(frozen=True, slots=True)
class List:
    """Read an owner's jobs of an application, newest first; the answer is a tuple of at most ``limit`` jobs.

    ``status`` None means any; ``before`` is the id of a job, whose successors in that order are meant.
    """

    application: str
    owner: str
    status: Status | None
    limit: int
    before: str | None

    def includes(self, job: Job) -> bool:
        """Whether a job belongs to what is asked for."""
        return (
            job.owner == self.owner
            and job.application == self.application
            and self.status in {None, job.status}
            and (self.before is None or job.id < self.before)
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """Which jobs were changed since a cursor, by anybody; the answer is `Changed`. Cursor -1 means: from now on.

    What leaves the job as a client sees it (`Renew`, `Append`, what becomes of its callback, a change that changes
    nothing) does not count. Stores look back on the last thousands of batches; a cursor that is older, or from another
    store, gets all that is kept.
    """

    since: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The ids of jobs that were created, changed or purged, and where to go on from."""

    cursor: int
    job_ids: tuple[str, ...]


Query: TypeAlias = Get | Load | Position | List | Changes
"""What is read: past the committer, from any thread."""
QUERIES = (Get, Load, Position, List, Changes)


def wake_at(job: Job, lease_until: float | None) -> float:
    """Return the instant at which something has to be done about a job, if nothing happens before.

    Waiting: it is due. Running: its lease ends. Finished: its result expires, later its tombstone.
    """
    if job.status is Status.ACCEPTED:
        return job.due_at
    if job.status is Status.RUNNING:
        assert lease_until is not None
        return lease_until
    assert job.expires_at is not None
    return job.expires_at if job.result is not None else job.expires_at + TOMBSTONE


def keeps(job: Job, attempt: int, index: int) -> bool:
    """Return whether a piece of a body is still of use, now that the job is as it is.

    Waiting: the request's. Running: those and this attempt's. Finished: the result's, whose last piece comes extra.
    """
    if job.is_finished:
        return attempt == job.attempt and job.result is not None and index < job.result.chunks - 1
    return attempt == 0 or (job.status is Status.RUNNING and attempt == job.attempt)


def swept(job: Job, now: float) -> Job | None:
    """Return what becomes of a job whose `wake_at` has passed; None: it is forgotten."""
    if job.status is Status.RUNNING:
        return job.lost(now)
    if job.status in FINISHED and job.result is not None:
        return job.stripped()
    return None
