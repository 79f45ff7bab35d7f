"""A callback: whom to tell that a job is finished, how far that came, and when to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from deferit._core.allowed import AllowList
    from deferit._core.http import Request

FIELD = "Callback-URL"
"""The header field of a submission that asks for a callback."""

DELAYS = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Seconds between one attempt and the next: the schedule that Standard Webhooks 1.0.0 recommends."""

MOST_ATTEMPTS = len(DELAYS) + 1

JITTER = 0.1
"""The part of a delay that it may be longer by chance, so that what failed together does not come back together."""

GONE = 410
"""The status code by which a receiver says that it wants no more (Standard Webhooks 1.0.0)."""


class CallbackNotAllowed(Exception):
    """The client asks for a callback to somewhere that the option ``callbacks`` does not allow."""


class Callback(msgspec.Struct, frozen=True, gc=False):
    """Where to post the status document when the job is finished.

    ``mount_url`` is where its submitter saw our routes. ``attempts`` counts claims and is the fencing token. ``due_at``
    is the next instant to do something; None until the job is finished, and again when there is nothing left to do.
    """

    url: str
    mount_url: str
    attempts: int = 0
    due_at: float | None = None

    def due(self, now: float) -> Callback:
        """Return the callback as its job is finished."""
        return msgspec.structs.replace(self, due_at=now)

    def claimed(self, lease_until: float) -> Callback:
        """Return the callback as its next attempt begins, which is due again if its process is lost."""
        return msgspec.structs.replace(self, attempts=self.attempts + 1, due_at=lease_until)

    def settled(self, again_at: float | None) -> Callback:
        """Return the callback after an attempt: due again, or never."""
        return msgspec.structs.replace(self, due_at=again_at)


def callback_from(request: Request, allowed: AllowList | None, mount_url: str) -> Callback | None:
    """Return the callback that a submission asks for, or None; without an allow-list the field is the application's.

    Raises:
        CallbackNotAllowed: it asks for one that is not allowed, or for several.
    """
    lines = request.headers.getlist(FIELD) if allowed else []
    if allowed is None or not lines:
        return None
    url = lines[0].strip()
    if len(lines) > 1 or allowed.secrets(url) is None:
        raise CallbackNotAllowed
    return Callback(url, mount_url)


def is_delivered(status: int) -> bool:
    """Whether a receiver has taken a callback; a redirect is no answer."""
    return 200 <= status < 300  # noqa: PLR2004  RFC 9110 §15.3


def next_attempt(attempts: int, most: int, now: float, chance: float) -> float | None:
    """Return the instant of the attempt after this many, or None after ``most``; ``chance`` is from 0 to 1."""
    if attempts >= most:
        return None
    return now + DELAYS[attempts - 1] * (1 + JITTER * chance)
