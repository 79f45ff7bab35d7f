"""A store with a million finished jobs, made once and kept in a file for the next time."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deferit._core.commands import Create, Finish
from deferit._core.ids import RANDOM_BYTES, make_id
from deferit._core.job import Job, Result
from deferit.stores import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deferit._core.commands import Command

JOBS = 1_000_000
BATCH = 250
KEPT = Path(__file__).parent / ".kept"
"""Where the file is kept; it is made anew when the code of the stores and of records has changed."""

YEAR = 365 * 86_400.0
CODE = Path(store_from_url.__code__.co_filename).parents[1]


def kept() -> Path:
    """Return the file, made now if need be: a minute, a gigabyte."""
    path = KEPT / f"{JOBS}-{_fingerprint()}.db"
    if not path.exists():
        shutil.rmtree(KEPT, ignore_errors=True)
        KEPT.mkdir()
        print(f"making a store with {JOBS:,} jobs, once …", file=sys.stderr, flush=True)
        unfinished = path.with_suffix(".part")
        _fill(unfinished)
        unfinished.rename(path)
    return path


@contextmanager
def store_with_a_million() -> Iterator[str]:
    """Yield the URL of a copy, for it to be worked in."""
    with tempfile.TemporaryDirectory(prefix="deferit-bench-") as folder:
        copy = Path(folder) / "jobs.db"
        shutil.copyfile(kept(), copy)
        copy.chmod(0o600)
        yield f"sqlite:///{copy}"


def _fingerprint() -> str:
    files = [
        *sorted((CODE / "stores").glob("*sqlite*")),
        CODE / "_records.py",
        CODE / "_core/job.py",
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _fill(path: Path) -> None:
    with closing(store_from_url(f"sqlite:///{path}?synchronous=normal")) as store:
        store.open()
        begun = time.time() - JOBS / 1_000
        for first in range(0, JOBS, BATCH):
            store.execute(_finished(begun, range(first, first + BATCH)))


def _finished(begun: float, numbers: range) -> list[Command]:
    commands: list[Command] = []
    for number in numbers:
        now = begun + number / 1_000
        job = Job(
            id=make_id(now, os.urandom(RANDOM_BYTES)),
            application="asgi:default",
            route="POST /reports",
            method="POST",
            created_at=now,
            updated_at=now,
            due_at=now,
            ttl=10 * YEAR,
        )
        result = Result(200, (("Content-Type", "application/json"),), 12, 1, '"tag"')
        commands += [
            Create(job.claimed(now), b"a captured request" * 20, now),
            Finish(job.id, 1, now, result, None, b'{"pages":12}'),
        ]
    return commands
