"""Job ids: ``job_``, the instant of their making so that they sort by it, and at least 128 random bits.

A store that keeps jobs in the order of their ids appends; with random ids it would insert everywhere.
"""

from __future__ import annotations

import re
from binascii import b2a_base64

RANDOM_BYTES = 16
"""128 bits: the id of a job without an owner is a capability."""

PATTERN = "^job_[0-9A-Za-z_-]{26,64}$"
"""The shape of an id, as regular expressions of Python and of JSON Schema have it."""

_SHAPE = re.compile(PATTERN)
_TIME_DIGITS = 13
"""Hexadecimal digits of microseconds since the epoch: enough until the year 2112."""
_TIME = re.compile(f"[0-9a-f]{{{_TIME_DIGITS}}}")


def make_id(now: float, random: bytes) -> str:
    """Return the id of a job that is made at ``now``, from `RANDOM_BYTES` random bytes."""
    return f"job_{int(now * 1e6):0{_TIME_DIGITS}x}{urlsafe(random)}"


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def urlsafe(data: bytes) -> str:
    """Return bytes as base64 for URLs (RFC 4648 §5), without padding."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE).decode()


def made_at(job_id: str) -> float:
    """Return the instant at which a job was made, in seconds since the epoch, as its id tells; 0 if it tells none."""
    digits = job_id[len("job_") : len("job_") + _TIME_DIGITS]
    return int(digits, 16) / 1e6 if _TIME.fullmatch(digits) else 0.0


def is_id(text: str) -> bool:
    """Whether a path segment has the shape of a job's id."""
    return _SHAPE.fullmatch(text) is not None


def prefix_at(now: float) -> str:
    """Return what ids made at ``now`` begin with: those that were made earlier sort before it."""
    return f"job_{int(now * 1e6):0{_TIME_DIGITS}x}"
