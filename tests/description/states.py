"""A job in every state that a client can meet, put into a store as a process would have left it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.web.sites import opened

from deferit._core.commands import Cancel, Create, Finish, Report
from deferit._core.ids import make_id
from deferit._core.job import Failure, Job, Result
from deferit._core.problems import NO_RESULT_STATUS
from deferit._core.recorder import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deferit._core.commands import Command
    from deferit._core.http import Pairs
    from deferit.stores.base import Store

OWNER = "ann"
HOUR = 3600.0
BODY = b'{"pages": 12}'

JSON = (("Content-Type", "application/json"),)
HTML = (("Content-Type", "text/html; charset=utf-8"),)
CSV = (("Content-Type", "text/csv"), ("Cache-Control", "no-store"), ("Vary", "Cookie"))


def put(store: Store, state: str, application: str) -> str:
    """Put a job in this state into a store; return its id."""
    now = time.time()
    job = Job(
        id=make_id(now, os.urandom(16)),
        application=application,
        route="POST /reports",
        method="POST",
        created_at=now - 5,
        updated_at=now - 5,
        due_at=now + HOUR,  # this process's workers are not to claim it
        ttl=HOUR,
        owner=OWNER,
    )
    with opened(store) as beside:
        for outcome in beside.execute(STATES[state](job)):
            assert not isinstance(outcome, Exception), outcome
    return job.id


def accepted(job: Job) -> Sequence[Command]:
    return [Create(job.but(due_at=job.created_at, application="elsewhere"), b"")]


def scheduled(job: Job) -> Sequence[Command]:
    return [Create(job, b"")]


def running(job: Job) -> Sequence[Command]:
    return [Create(job.claimed(job.created_at + 1), b"", job.created_at + HOUR)]


def reporting(job: Job) -> Sequence[Command]:
    return [*running(job), Report(job.id, 1, job.created_at + 3, 40, "half of it, étagère")]


def canceled(job: Job) -> Sequence[Command]:
    return [*scheduled(job), Cancel(job.id, 0, job.created_at + 3, "never started")]


def canceled_while_it_ran(job: Job) -> Sequence[Command]:
    return [*running(job), Cancel(job.id, 1, job.created_at + 3, "asked to stop")]


def expired(job: Job) -> Sequence[Command]:
    return canceled(job.but(created_at=job.created_at - 2 * HOUR))


def answered(status: int, headers: Pairs, body: bytes = BODY) -> Callable[[Job], Sequence[Command]]:
    result = Result(status, headers, len(body), -(-len(body) // PIECE), '"its tag"')
    error = (
        Failure("handler-response", f"The handler answered {status}.") if status >= 400 else None
    )
    return lambda job: [*running(job), Finish(job.id, 1, job.created_at + 4, result, error, body)]


def raised(code: str) -> Callable[[Job], Sequence[Command]]:
    error = Failure(code, "The handler raised KeyError.")
    return lambda job: [*running(job), Finish(job.id, 1, job.created_at + 4, None, error)]


PENDING = {
    "accepted": accepted,
    "scheduled": scheduled,
    "running": running,
    "reporting": reporting,
    "nobody's": lambda job: scheduled(job.but(owner=None)),
}

FINISHED = {
    "succeeded": answered(200, JSON),
    "succeeded with 201": answered(201, (*JSON, ("Location", "http://testserver/reports/7"))),
    "succeeded with 202": answered(202, CSV),
    "succeeded without a body": answered(204, (), b""),
    "succeeded with 303": answered(303, (("Location", "http://testserver/"),), b""),
    "failed with 404": answered(404, HTML),
    "failed with 422": answered(422, JSON),
    "failed with 500": answered(500, HTML),
    "canceled": canceled,
    "canceled while it ran": canceled_while_it_ran,
    **{f"failed, {code}": raised(code) for code in NO_RESULT_STATUS},
}

GONE = {
    "expired": expired,
    "somebody else's": lambda job: scheduled(job.but(owner="bob")),
    "unknown": lambda _job: [],
}

STATES: dict[str, Callable[[Job], Sequence[Command]]] = {**PENDING, **FINISHED, **GONE}
