"""The log of jobs: each transition once, by whoever committed it; ids, which may be capabilities, only as extras."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from deferit._core.job import Status

if TYPE_CHECKING:
    from deferit._core.job import Job
    from deferit.context import RunningJob

logger = logging.getLogger("deferit")


def log_new(job: Job) -> None:
    """Log that a job was accepted, and that it is running if it was claimed in the same moment."""
    if not logger.isEnabledFor(logging.INFO):
        return
    log(job, Status.ACCEPTED)
    if job.status is not Status.ACCEPTED:
        log(job)


def log(job: Job, status: Status | None = None) -> None:
    """Log where a job stands now."""
    if not logger.isEnabledFor(logging.INFO):
        return
    status = status or job.status
    reason = f" ({job.error.code})" if job.error else ""
    extra = {"job_id": job.id, "status": status.value, "attempt": job.attempt}
    logger.info("%s: job %s%s", job.route, status, reason, extra=extra)


def log_exception(job: RunningJob, route: str, exc: BaseException | None) -> None:
    """Log what came out of a handler."""
    extra = {"job_id": job.id, "attempt": job.attempt}
    logger.error("%s: the handler raised", route, exc_info=exc, extra=extra)


def log_unreadable(job: Job, exc: ValueError) -> None:
    """Log that a job fails because its captured request cannot be read."""
    logger.error(
        "%s: the captured request cannot be read: %s", job.route, exc, extra={"job_id": job.id}
    )
