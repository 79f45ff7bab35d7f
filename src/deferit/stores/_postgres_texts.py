"""Texts that PostgreSQL can keep, and find again."""

from __future__ import annotations

from hashlib import sha256

from deferit._records import plain

LONGEST = 2_000
"""Bytes of an owner that are looked up as they are: an index takes 2,704, with the names of application and queue."""


def is_text(text: str) -> bool:
    """Whether a text can be in a column, or a value to compare one with."""
    return "\0" not in text and plain(text)


def findable(owner: str | None) -> str | None:
    """Return what the jobs of an owner are looked up by: a digest, if it is as long as a token may be.

    Somebody may have such a digest for a name: what is found has to be compared with the owner.
    """
    if owner is None or len(data := owner.encode()) <= LONGEST:
        return owner
    return f"sha256:{sha256(data).hexdigest()}"
