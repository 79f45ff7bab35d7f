"""How records are written into stores: msgpack by msgspec, typed when read, never pickle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from deferit._core.job import Job


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured request as it is kept for its replay.

    ``scope`` has the plain entries of the ASGI scope or WSGI environ; ``body`` is the last piece of the request's body,
    whose earlier ``chunks`` pieces were appended to the store; ``url`` is what was asked for, absolute;
    ``is_marked`` says that it reached a marked handler, and was not taken by a configured route before it got there.
    """

    interface: str
    scope: dict[str, Any]
    url: str
    body: bytes
    chunks: int = 0
    is_marked: bool = False


encode = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(Job).decode
decode_history = msgspec.msgpack.Decoder(tuple[float, ...]).decode
decode_captured = msgspec.msgpack.Decoder(Captured).decode


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
