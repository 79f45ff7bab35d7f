"""A job whose record in the store cannot be read: what is left of it, as a job that has failed."""

from __future__ import annotations

import msgspec

from deferit._core.idempotency import known_by
from deferit._core.ids import made_at
from deferit._core.job import FINISHED, Failure, Job, Status

DAY = 86_400.0
"""Seconds for which it is kept: how long it was to be kept stood in the record."""

LAST = 2**31 - 1
"""Its revision: no client has seen the job as it is now."""

DAMAGED = Failure(
    "interrupted",
    "The job's record in the store was damaged; whether its handler has run is not known.",
)


class Remains(msgspec.Struct, frozen=True, gc=False):
    """What a store keeps of a job beside its record, to find it by."""

    id: str
    application: str
    owner: str | None
    key: str | None
    queue: str
    status: Status
    attempt: int
    wake_at: float


def salvaged(remains: Remains) -> Job:
    """Return the job to go on with: whoever waits for it is told, and nothing of it can be run.

    It is always the same one, so that it can be shown before it is written. It has ended when it was made, which is
    the only instant that is still known.
    """
    made = made_at(remains.id)
    is_finished = remains.status in FINISHED
    return Job(
        id=remains.id,
        application=remains.application,
        route="",
        method="",
        created_at=made,
        updated_at=made,
        due_at=made,
        ttl=DAY,
        owner=remains.owner,
        status=Status.FAILED,
        revision=LAST,
        attempt=remains.attempt,
        finished_at=made,
        expires_at=remains.wake_at if is_finished else max(made, remains.wake_at) + DAY,
        error=DAMAGED,
        identity=known_by(remains.key) if remains.key else None,
        queue=remains.queue,
    )
