"""What the two applications under attack share: the ledger of what handlers did, and the bytes they answer.

The ledger is a file outside of the application's store. A line is one write to a descriptor opened with O_APPEND, so
lines of many processes don't mix, and it is synced before the handler goes on, so it tells the truth whatever follows.
"""

from __future__ import annotations

import json
import os
import random
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from deferit import current_job

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(os.environ["DEFERIT_CHAOS_FOLDER"])
AUTO_WAIT = 0.3
PARTS = 8
PART_LENGTH = 100_000
"""Of a streamed answer: it takes several pieces in the store, and is not done in one go."""


class Deed:
    """What one call of a handler does: its beginning is in the ledger once this is made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._digest = sha256()
        self._note("start")

    def answers(self, length: int) -> bytes:
        """Write down the end; return an answer that no other attempt would give."""
        return self.ends_with(self._label() + _noise(self._label(), length))

    def parts(self) -> Iterator[bytes]:
        """Yield an answer in parts; the end is written down before the last one goes out."""
        for number in range(PARTS):
            part = self._label() + _noise(f"{number}".encode() + self._label(), PART_LENGTH)
            yield self.ends_with(part) if number == PARTS - 1 else self.passes(part)

    def passes(self, part: bytes) -> bytes:
        self._digest.update(part)
        return part

    def ends_with(self, part: bytes) -> bytes:
        self.passes(part)
        self._note("end")
        return part

    def _label(self) -> bytes:
        job = current_job()
        attempt = job.attempt if job else 0
        return f"{self.name} attempt {attempt} of process {os.getpid()}\n".encode()

    def _note(self, event: str) -> None:
        job = current_job()
        line = {
            "event": event,
            "name": self.name,
            "job_id": job.id if job else "",
            "attempt": job.attempt if job else 0,
            "process": os.getpid(),
            "at": time.time(),
            "digest": self._digest.hexdigest(),
        }
        _append(json.dumps(line).encode() + b"\n")


def _append(line: bytes) -> None:
    ledger = os.open(FOLDER / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line)
        os.fsync(ledger)
    finally:
        os.close(ledger)


def _noise(seed: bytes, length: int) -> bytes:
    return random.Random(seed).randbytes(length)
