"""Jobs, results and ways to ask a store, as the tests of a store need them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import pytest

from deferit._core.callback import Callback
from deferit._core.commands import (
    Claim,
    ClaimCallbacks,
    Claimed,
    Create,
    Finish,
    Release,
    Report,
)
from deferit._core.idempotency import Identity
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job, Result
from deferit._core.queries import Changed, Changes, Get
from deferit.exceptions import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deferit._core.commands import Command
    from deferit._core.queries import Query
    from deferit.stores.base import Store

NOON = 1_800_000_000.0
"""When the tests begin."""

LEASE = NOON + 15
TTL = 3600.0
REQUEST = b"a captured request"
CALLBACK = Callback("https://hooks.example.com/", "https://shop.example.com/jobs")
SAME = Identity("a key", "a fingerprint")
LONG = bytes(range(256)) * 1024
"""A quarter of a megabyte."""


def a_job(number: int = 0, **changes: Any) -> Job:
    """Return a job that waits since noon; each number has its id, in their order."""
    fields: dict[str, Any] = {
        "id": make_id(NOON + number, number.to_bytes(RANDOM_BYTES)),
        "application": "shop",
        "route": "POST /reports",
        "method": "POST",
        "created_at": NOON,
        "updated_at": NOON,
        "due_at": NOON,
        "ttl": TTL,
        "owner": "ada",
    }
    return Job(**fields | changes)


def a_result(chunks: int = 1, length: int = 5) -> Result:
    """Return the head of a response."""
    return Result(200, (("X-Part", "a"), ("X-Part", "b")), length, chunks, '"tag"')


def ask(store: Store, command: Command) -> Any:
    """Execute one command; return its result or raise its exception."""
    (answer,) = store.execute([command])
    if isinstance(answer, Exception):
        raise answer
    return answer


def waiting(store: Store, number: int = 0, **changes: Any) -> Job:
    """Return a new job that waits."""
    job: Job = ask(store, Create(a_job(number, **changes), REQUEST))
    return job


def running(store: Store, number: int = 0, **changes: Any) -> Job:
    """Return a new job that its first attempt runs, until `LEASE`."""
    job: Job = ask(store, Create(a_job(number, **changes).claimed(NOON), REQUEST, LEASE))
    return job


def finished(store: Store, number: int = 0, body: bytes = b"hello", **changes: Any) -> Job:
    """Return a new job that has succeeded at noon, with a body in one piece."""
    return finish(store, running(store, number, **changes), body)


def finish(store: Store, job: Job, body: bytes, chunks: int = 1) -> Job:
    """Let the running attempt of a job succeed at noon."""
    result = a_result(chunks, len(body))
    done: Job = ask(store, Finish(job.id, job.attempt, NOON, result, None, body))
    return done


def is_gone(store: Store, query: Query) -> bool:
    """Whether a query meets `JobNotFound`."""
    try:
        store.read(query)
    except JobNotFound:
        return True
    return False


def stored(store: Store, job_id: str) -> Job:
    """Return a job as the store has it."""
    job = store.read(Get(job_id))
    assert isinstance(job, Job)
    return job


def claim(
    store: Store, now: float = NOON, limit: int = 9, job_id: str | None = None
) -> tuple[Claimed, ...]:
    """Take jobs of the shop that wait."""
    claimed: tuple[Claimed, ...] = ask(store, Claim("shop", now, now + 15, limit, job_id))
    return claimed


def claim_callbacks(store: Store, now: float = NOON, limit: int = 9) -> tuple[Job, ...]:
    """Take callbacks of the shop that are due."""
    jobs: tuple[Job, ...] = ask(store, ClaimCallbacks("shop", now, now + 60, limit))
    return jobs


def by(command: type[Command], job_id: str, attempt: int) -> Command:
    """Return such a command of an attempt."""
    if command is Report:
        return Report(job_id, attempt, NOON, 50, None)
    if command is Finish:
        return Finish(job_id, attempt, NOON, a_result(), None, b"mine")
    return Release(job_id, attempt, NOON)


class Follower:
    """Asks a store what has changed since it last asked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cursor = -1
        self()

    def __call__(self) -> set[str]:
        changed = self._store.read(Changes(self._cursor))
        assert isinstance(changed, Changed)
        self._cursor = changed.cursor
        return set(changed.job_ids)


class StoreTests:
    """Tests that need a store; who inherits from it says how one is made."""

    @abstractmethod
    def make_store(self, folder: Path) -> Store:
        """Return an empty store, opened; ``folder`` is an empty directory for it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Give a test its store."""
        store = self.make_store(tmp_path)
        yield store
        store.close()
