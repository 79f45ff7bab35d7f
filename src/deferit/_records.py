"""How records are written into stores: msgpack by msgspec, typed when read, never pickle."""

from __future__ import annotations

import logging
import re
from struct import Struct
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from deferit._core.discreet import Discreet
from deferit._core.ids import prefix_at
from deferit._core.job import Job
from deferit._core.remains import salvaged
from deferit.exceptions import RecordDamaged

if TYPE_CHECKING:
    from deferit._core.remains import Remains

logger = logging.getLogger("deferit")


class Captured(Discreet, frozen=True, gc=False):
    """A captured request as it is kept for its replay.

    ``scope`` has the plain entries of the ASGI scope or WSGI environ; ``body`` is the last piece of the request's body,
    whose earlier ``chunks`` pieces were appended to the store; ``url`` is what was asked for, absolute;
    ``is_marked`` says that it reached a marked handler, and was not taken by a configured route before it got there.
    """

    HIDDEN = frozenset({"scope", "url", "body"})

    interface: str
    scope: dict[str, Any]
    url: str
    body: bytes
    chunks: int = 0
    is_marked: bool = False


encode = msgspec.msgpack.Encoder().encode


def encode_job(job: Job) -> bytes:
    """Return a job's record, with a checksum: a bit that falls over may leave it legible, but of another job."""
    data = encode(job)
    return _head(_CHECKED, crc32(data)) + data


_CHECKED = b"\xc1"
"""What a record with a checksum begins with: a byte that msgpack never uses."""

_head = Struct(">cI").pack


def decode_job(data: bytes) -> Job:
    """Return a job; its record may be one of those that had no checksum yet.

    Raises:
        RecordDamaged: that is none; the text quotes nothing of it.
    """
    try:
        return _decode_job(_checked(data) if data[:1] == _CHECKED else data)
    except (msgspec.DecodeError, TypeError) as exc:
        raise RecordDamaged(str(exc)) from None


_decode_job = msgspec.msgpack.Decoder(Job).decode


def _checked(data: bytes) -> bytes:
    if crc32(data[5:]).to_bytes(4) != data[1:5]:
        raise RecordDamaged("its checksum does not fit")
    return data[5:]


def salvage(remains: Remains, exc: RecordDamaged) -> Job:
    """Return what a store goes on with in place of a job whose record is damaged, and log it."""
    report(remains.id, exc, "it is answered as failed, and its request is lost")
    return salvaged(remains)


def report(job_id: str, exc: RecordDamaged, outcome: str) -> None:
    """Log what becomes of a job whose record is damaged, once a process."""
    if job_id in _reported:
        return
    if len(_reported) >= MOST_REPORTED:
        _reported.clear()
    _reported.add(job_id)
    logger.error(_DAMAGED, exc.args[0], outcome, job_id[:LEGIBLE], extra={"job_id": job_id})


MOST_REPORTED = 1_000
"""Damaged records that are remembered, so as to be logged once."""

LEGIBLE = len(prefix_at(0.0))
"""Characters of an id that may stand in the log: when the job was made, and nothing of what keeps the id secret."""

_DAMAGED = (
    "a job's record in the store is damaged (%s): %s; other jobs are not concerned. Its id begins with %s. "
    "If there are more of them, look after the disk, and put a backup in the store's place (this is said once)"
)

_reported: set[str] = set()


def decode_history(data: bytes) -> tuple[float, ...]:
    """Return what is known of a route; nothing, if it cannot be read: estimates begin anew."""
    try:
        return _decode_history(data)
    except (msgspec.DecodeError, TypeError):
        return ()


_decode_history = msgspec.msgpack.Decoder(tuple[float, ...]).decode


def decode_captured(data: bytes) -> Captured:
    """Return a captured request.

    Raises:
        ValueError: it cannot be read; the text, which quotes nothing of it, says why.
    """
    if not data:
        raise ValueError("its store has lost it, or could not decrypt it")
    if data.startswith(_FERNET):
        raise ValueError("it is encrypted, and the option encrypt= names no key")
    return _decode_captured(data)


_decode_captured = msgspec.msgpack.Decoder(Captured).decode

_FERNET = b"gAAAA"
"""What a Fernet token begins with: its version and the first bytes of a time, in base64."""


def plain(value: Any) -> bool:
    """Whether a value comes back equal from a store: plain data all the way down."""
    if type(value) is str:
        return value.isascii() or not _SURROGATES.search(value)
    if type(value) is int:
        return -(2**63) <= value < 2**64
    if type(value) in SCALARS:
        return True
    if type(value) in (list, tuple):
        return all(map(plain, value))
    if type(value) is dict:
        return all(map(_is_name, value)) and all(map(plain, value.values()))
    return False


def _is_name(key: object) -> bool:
    return type(key) is str and plain(key)


SCALARS = frozenset({type(None), bytes, float, bool})
"""Types of plain data, whatever the value."""

_SURROGATES = re.compile("[\ud800-\udfff]")
