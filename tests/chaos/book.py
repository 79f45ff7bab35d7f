"""What the clients of an attacked server saw, and what its handlers wrote down."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_LIST = 20
"""Violations that are told one by one; there is no use in thousands of the same."""


class Deed(NamedTuple):
    """A line of the ledger: how far a handler came, in which process."""

    event: str
    name: str
    job_id: str
    attempt: int
    process: int
    at: float
    digest: str


def read_ledger(folder: Path) -> dict[str, list[Deed]]:
    """Return what handlers did, by the name that they were called with."""
    deeds: dict[str, list[Deed]] = defaultdict(list)
    path = folder / "ledger"
    for line in path.read_text().splitlines() if path.exists() else ():
        deed = Deed(**json.loads(line))
        deeds[deed.name].append(deed)
    return deeds


@dataclass(frozen=True)
class Seen:
    """An answer that was not a 202 about a job that isn't finished: its status code and its body's digest."""

    status: int
    digest: str


@dataclass(eq=False)
class Submission:
    """One request of a client, which is sent once, or with a key as often as it takes; and what came back."""

    name: str
    method: str
    path: str
    query: str
    is_repeatable: bool
    key: str | None
    body: bytes
    job_ids: set[str] = field(default_factory=set)
    answers: list[Seen] = field(default_factory=list)
    is_refused: bool = False
    """Whether it was said that there is no job, as the store cannot be reached."""

    @property
    def kind(self) -> str:
        return f"{self.method} {self.path}"


class Book:
    """Taken down by many threads during a run."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.submissions: list[Submission] = []
        self.finished: dict[str, str] = {}
        """The ETag with which a job was first seen finished, by its id."""
        self._violations: Counter[str] = Counter()
        self._is_out = False
        self._last_outage = float("-inf")
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def add(self, submission: Submission) -> None:
        with self._lock:
            self.submissions.append(submission)

    def violation(self, text: str) -> None:
        with self._lock:
            self._violations[text] += 1

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Take down that the store has no server meanwhile."""
        self._is_out = True
        try:
            yield
        finally:
            self._last_outage = time.monotonic()
            self._is_out = False

    def was_out(self, since: float = float("inf")) -> bool:
        """Whether the store has no server now, or had none at some moment since then."""
        return self._is_out or self._last_outage >= since

    def saw_finished(self, job_id: str, etag: str) -> None:
        """Take down the end of a job, which never changes again."""
        with self._lock:
            first = self.finished.setdefault(job_id, etag)
        if first != etag:
            self.violation(f"finished job {job_id} has changed: {first} became {etag}")

    @property
    def violations(self) -> list[str]:
        found = [*self._violations]
        more = len(found) - LONGEST_LIST
        return found if more <= 0 else [*found[:LONGEST_LIST], f"and {more} more"]

    @property
    def accepted(self) -> dict[str, Submission]:
        """Jobs that clients were told of, by their ids."""
        with self._lock:
            return {
                job_id: submission
                for submission in self.submissions
                for job_id in list(submission.job_ids)
            }
