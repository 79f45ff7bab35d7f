"""Spans, sizes and instants as a person says them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE, HOUR, DAY = 60, 3600, 86_400

STEPS = (
    (20, 5, 1, "second"),
    (MINUTE, 10, 1, "second"),
    (20 * MINUTE, MINUTE, MINUTE, "minute"),
    (HOUR, 5 * MINUTE, MINUTE, "minute"),
    (2 * DAY, HOUR, HOUR, "hour"),
    (math.inf, DAY, DAY, "day"),
)
"""Below so many seconds, in steps of so many, told in units of so many of this name: nobody says 37 seconds."""

A_FEW = 5
"""Seconds under which a span is a few seconds."""

SIZES = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))


class Amount(msgspec.Struct, frozen=True, gc=False):
    """So many of a unit."""

    count: int
    unit: str

    def __str__(self) -> str:
        return f"{self.count} {self.unit}" + ("" if self.count == 1 else "s")


def amount(seconds: float, rounding: Callable[[float], int] = round) -> Amount:
    """Return a span in the steps and the unit that fit its length, never none of it."""
    for limit, step, size, unit in STEPS[:-1]:
        told = max(1, rounding(seconds / step)) * step
        if told < limit:
            return Amount(told // size, unit)
    return Amount(rounding(seconds / DAY), "day")


def left(seconds: float, latest: float) -> str:
    """Return how long something takes, as likely as not, and at the most: "about 2 minutes left, at most 4"."""
    likely, most = amount(seconds), amount(latest, math.ceil)
    if seconds < A_FEW:
        bound = f", at most {most}" if latest > 2 * A_FEW else ""
        return f"a few seconds left{bound}"
    if latest <= seconds or most == likely:
        return f"about {likely} left"
    return f"about {likely} left, at most {most.count if most.unit == likely.unit else most}"


def took(seconds: float) -> str:
    """Return how long something has taken: two units, or one with a tenth."""
    if seconds < 1:
        return "less than a second"
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} seconds"
    whole = round(seconds)
    for size, unit, part, part_unit in (
        (DAY, "day", HOUR, "hour"),
        (HOUR, "hour", MINUTE, "minute"),
        (MINUTE, "minute", 1, "second"),
    ):
        if whole >= size:
            rest = Amount(whole % size // part, part_unit)
            return f"{Amount(whole // size, unit)}" + (f" {rest}" if rest.count else "")
    return f"{whole} seconds"


def size(count: int) -> str:
    """Return a number of bytes, from a thousand on with one digit behind the point."""
    for unit, name in SIZES:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return str(Amount(count, "byte"))


def instant(text: str) -> Markup:
    """Return an instant of the status document as an element; scripts tell it in the reader's time zone."""
    at = datetime.fromisoformat(text)
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M:%S} UTC</time>').format(text, at)


def seconds_between(earlier: str, later: str) -> float:
    """Return the span between two instants of the status document."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
