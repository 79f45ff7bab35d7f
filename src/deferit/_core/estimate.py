"""When a job will be finished, as far as can be told: the only thing that RFC 9110 §15.3.3 asks of a monitor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deferit._core.job import Status

if TYPE_CHECKING:
    from deferit._core.job import Job


@dataclass(frozen=True, slots=True)
class Estimate:
    """Two instants by which the job is finished: as likely as not, and nine times of ten."""

    median: float
    latest: float


FARTHEST = 100 * 365 * 86_400.0
"""A hundred years in seconds: a rest that is longer comes of a clock that was set while the job ran."""

CAUTION = 2.0
"""How many times longer than a steady handler the rest may take: handlers are not steady."""


def estimate(job: Job, now: float) -> Estimate | None:
    """Return when a job will be finished, or None if nothing is known of that.

    A job that waits for its window is finished no earlier than it opens; one that reports its progress is taken to go
    on as it did so far.
    """
    if job.is_early(now):
        return Estimate(job.due_at, job.due_at)
    if job.status is not Status.RUNNING or not job.progress or job.started_at is None:
        return None
    rest = (job.updated_at - job.started_at) * (100 - job.progress) / job.progress
    rest = min(FARTHEST, rest)
    median = max(now, job.updated_at + rest)
    return Estimate(median, max(median, job.updated_at + rest * CAUTION))
