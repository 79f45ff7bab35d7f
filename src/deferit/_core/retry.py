"""Whether and when a job that has failed is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.http import parse_date

from deferit._core.http import first

if TYPE_CHECKING:
    from deferit._core.job import Job
    from deferit._core.outcome import Outcome

FIRST_PAUSE = 1.0
"""Seconds before the second try; each further pause is twice as long."""

LONGEST_PAUSE = 3600.0
"""Seconds to which a pause grows, and for which a handler may put off its next try."""


def retry_at(job: Job, outcome: Outcome, now: float, chance: float) -> float | None:
    """Return when a job whose attempt ends so is tried again, None if it is not.

    Tried again is what raised, and an error with ``Retry-After`` (RFC 9110 §10.2.3), which is what the pause is then.
    Other errors are answers, and a handler that has run too long may be running still. ``chance``, from 0 to 1,
    makes jobs that failed together try again at different times, from half of the pause on.
    """
    if outcome.error is None or job.tries >= job.retries:
        return None
    asked = _asked(outcome, now)
    if asked is not None:
        return now + min(LONGEST_PAUSE, max(0.0, asked))
    if outcome.error.code != "handler-exception":
        return None
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(job.tries, 99))
    return now + pause * (1 + chance) / 2


def _asked(outcome: Outcome, now: float) -> float | None:
    """Return the seconds that the response asks to wait: it gives them, or a date."""
    value = first(outcome.result.headers, "retry-after") if outcome.result else None
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    date = parse_date(value)
    return None if date is None else float(date.timestamp()) - now
