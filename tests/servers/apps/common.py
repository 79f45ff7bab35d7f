"""What the twin applications share: all that is not about HTTP.

A test and the applications meet in a folder (`DEFERIT_TEST_FOLDER`): a *gate* is a file there that
a handler waits for; the *ledger* is a file there in which handlers write down what they did, so
that a test can tell what really ran, whatever the store says.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from deferit import current_job

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_PLAIN = "DEFERIT_TEST_PLAIN" in os.environ
FOLDER = Path(os.environ["DEFERIT_TEST_FOLDER"])
MEBIBYTE = 1 << 20
BIG_LENGTH = 50 * MEBIBYTE


def big_chunks() -> Iterator[bytes]:
    """Yield 50 MiB that no codec would leave as they are: seeded noise, every byte value."""
    noise = random.Random(202)
    for _ in range(BIG_LENGTH // MEBIBYTE):
        yield noise.randbytes(MEBIBYTE)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def pass_gate(name: str | None) -> None:
    while not _is_open(name):
        time.sleep(0.01)


async def apass_gate(name: str | None) -> None:
    """Same as `pass_gate`, but leaves the event loop to others."""
    while not _is_open(name):
        await anyio.sleep(0.01)


def note(event: str, name: str) -> None:
    """Append one line to the ledger; O_APPEND keeps the lines of many processes apart."""
    job = current_job()
    line = f"{event} {name} {job.id if job else '-'} {os.getpid()}\n"
    ledger = os.open(FOLDER / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line.encode())
    finally:
        os.close(ledger)


def _is_open(name: str | None) -> bool:
    return name is None or (FOLDER / name).exists()


class JsonLines(logging.Formatter):
    """One JSON object a record, as log shippers want it."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "logger": record.name,
            "level": record.levelname,
            "message": record.getMessage(),
            "job_id": getattr(record, "job_id", None),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_as_json() -> None:
    """Send what deferit logs to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("deferit")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
