"""What is told of a job, in words for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from deferit.client.monitors import word_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def printable(text: object) -> str:
    """Return a text from elsewhere without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()


def span(seconds: float) -> tuple[int, str]:
    """Return a number of seconds as people say it: the number, and the unit."""
    for size, unit in _UNITS:
        count = round(seconds / size)
        if count >= 2 or (size == 1 and count >= 1):  # noqa: PLR2004  from two on: 90 seconds are not a minute
            return count, unit if count == 1 else f"{unit}s"
    return 1, "second"


def remaining(document: Mapping[str, Any], now: float) -> str:
    """Return how long the job will take yet, with its range, as ``about 2 minutes, at most 4``; empty if unknown."""
    median = _instant(document.get("estimatedCompletion"))
    if median is None:
        return ""
    if median <= now:
        return "any moment now"
    count, unit = span(median - now)
    latest = _instant(document.get("estimatedCompletionLatest"))
    most, most_unit = span(latest - now) if latest and latest > median else (count, unit)
    if (most, most_unit) == (count, unit):
        return f"about {count} {unit}"
    return f"about {count} {unit}, at most {most}" + ("" if most_unit == unit else f" {most_unit}")


def _instant(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def percent(document: Mapping[str, Any]) -> int | None:
    """Return how far the job is, from 0 to 100; None if it does not say."""
    progress = document.get("progress")
    if isinstance(progress, bool) or not isinstance(progress, int | float):
        return None
    return max(0, min(100, int(progress)))


def message(document: Mapping[str, Any]) -> str:
    """Return what the job says of itself, or how many are ahead of it."""
    said = document.get("message")
    if isinstance(said, str) and said:
        return printable(said)
    ahead = document.get("queuePosition")
    if isinstance(ahead, int) and ahead > 0:
        return f"{ahead} {'job' if ahead == 1 else 'jobs'} ahead"
    return ""


def line(document: Mapping[str, Any], now: float) -> str:
    """Return a document in one line."""
    done = percent(document)
    parts = [
        printable(word_of(document) or "?"),
        "" if done is None else f"{done} %",
        message(document),
        remaining(document, now),
    ]
    return ", ".join(part for part in parts if part)
