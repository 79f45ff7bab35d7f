"""Results whose header fields are encrypted: how they are told from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from deferit._core.job import Result

SEALED = "deferit-sealed"
"""The name of the one field that stands in place of a result's fields while they are encrypted."""


def sealed(result: Result, token: str) -> Result:
    """Return the result with a token in place of its header fields and its entity tag."""
    return msgspec.structs.replace(result, headers=((SEALED, token),), etag="")


def token_of(result: Result | None) -> str | None:
    """Return what stands in place of a result's fields; None if there is no result, or nothing is hidden of it."""
    if result is None or len(result.headers) != 1 or result.headers[0][0] != SEALED:
        return None
    return result.headers[0][1]
