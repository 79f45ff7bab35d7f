"""What a store asks while it selects, loads and saves: when, in which order, and what is kept."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from deferit._core.job import TOMBSTONE, Job, Status
from deferit._core.remains import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 300
"""Durations that are kept of a route: enough for its quantiles, few enough to follow when it changes."""


def wake_at(job: Job, lease_until: float | None) -> float:
    """Return the instant at which something has to be done about a job, if nothing happens before.

    Early: it becomes ready (offered: see `Dispatch`). Running: its lease ends. Finished: its result expires, later its
    tombstone.
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
    """Return what becomes of a job whose `wake_at` has passed; None: it is forgotten.

    One that waits stays, whoever thought that something was due about it. One whose record turned out to be damaged
    has failed by that, and stays until it has expired.
    """
    if job.status is Status.RUNNING:
        return job.lost(now)
    if not job.is_finished or (job.error == DAMAGED and not job.is_expired(now)):
        return job
    return job.stripped() if job.result is not None else None


def next_turn(head: int | None, last: int | None) -> int:
    """Return the turn of a job that becomes ready; in its queue the lowest comes first, and of those the lowest id.

    ``head`` is the lowest turn in its queue, ``last`` the highest one there of a job of the same owner (nobody counts
    as one owner), each None if there is none. So owners take turns, however many jobs one of them has: it is
    start-time fair queueing (Goyal, Vin and Cheng, 1996) of jobs of the same weight.
    """
    return max(head or 0, 0 if last is None else last + 1)


def offered_at(now: float, before: int) -> float:
    """Return what keeps the place of a job among those that are offered: the lowest comes first, then the lowest id.

    It is the instant of the offer, a microsecond later for each job that was offered ``before`` by the same command.
    """
    return now + before / 1_000_000


def room(slots: int | None, running: int, limit: int) -> int:
    """Return how many jobs of a queue may be taken where ``running`` of it run and ``limit`` are asked for."""
    return max(0, limit if slots is None else min(limit, slots - running))


def in_order(queues: Iterable[Iterable[Job]], limit: int) -> list[Job]:
    """Return the first jobs of several queues: each keeps its order, and the longest due of their heads comes first."""
    heads = merge(*queues, key=lambda job: (job.due_at, job.id))
    return list(islice(heads, max(limit, 0)))


def remembered(known: tuple[float, ...], new: tuple[float, ...]) -> tuple[float, ...]:
    """Return what is kept of a route's durations, oldest first."""
    return (*known, *new)[-REMEMBERED:]
