"""How records are written into stores: msgpack by msgspec, typed when read, never pickle."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from deferit._core.job import Job
from deferit.exceptions import RecordDamaged


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured request as it is kept for its replay.

    ``scope`` has the plain entries of the ASGI scope or WSGI environ; ``body`` is the last piece of the request's body,
    whose earlier ``chunks`` pieces were appended to the store; ``url`` is what was asked for, absolute;
    ``is_marked`` says that it reached a marked handler, and was not taken by a configured route before it got there.
    """

    interface: str
    scope: dict[str, Any] = field(repr=False)
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    chunks: int = 0
    is_marked: bool = False


encode = msgspec.msgpack.Encoder().encode

_decode_job = msgspec.msgpack.Decoder(Job).decode


def decode_job(data: bytes) -> Job:
    """Return a job.

    Raises:
        RecordDamaged: that is none; the text quotes nothing of it.
    """
    try:
        return _decode_job(data)
    except msgspec.DecodeError as exc:
        raise RecordDamaged(str(exc)) from None


decode_history = msgspec.msgpack.Decoder(tuple[float, ...]).decode


def decode_captured(data: bytes) -> Captured:
    """Return a captured request.

    Raises:
        ValueError: it cannot be read; the text, which quotes nothing of it, says why.
    """
    if not data:
        raise ValueError("its store could not decrypt it")
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
    if type(value) in _SCALARS:
        return True
    if type(value) in (list, tuple):
        return all(plain(item) for item in value)
    if type(value) is dict:
        return all(type(key) is str and plain(key) and plain(item) for key, item in value.items())
    return False


_SCALARS = {type(None), bytes, float, bool}
_SURROGATES = re.compile("[\ud800-\udfff]")
