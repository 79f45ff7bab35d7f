"""What becomes of a job that was offered to another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferit._core.job import Status

if TYPE_CHECKING:
    from deferit._core.job import Job

GIVEN_UP = frozenset({"deadline-exceeded", "interrupted"})
"""Codes of failures after which a handler may still run, though nobody wants its answer."""


def is_untouched(offered: Job, now: Job) -> bool:
    """Whether nobody has claimed the job since."""
    return now.status is Status.ACCEPTED and now.attempt == offered.attempt


def is_given_up(offered: Job, now: Job) -> bool:
    """Whether the job has gone on without the handler that was begun for it: that may still run, and has to end."""
    if now.status is Status.CANCELED:
        return True
    if now.status is Status.FAILED:
        return now.error is not None and now.error.code in GIVEN_UP
    return now.losses > offered.losses
