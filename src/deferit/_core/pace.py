"""How long the jobs of a route take, digested from how long they took."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FEWEST = 5
"""Jobs that have to be seen before anything is said of others."""

HALF_LIFE = 40
"""Jobs after which one that was seen counts half: a route that changes is followed, and chance is not."""

STAIR = 0.6
"""A job that runs is looked at anew each time that so many of those that were still running have ended, too."""

GRAIN = 1.02
"""Seconds are told in steps of two percent: another job that was seen is no news."""

GROWTH = 1.5
"""How many times longer than the longest seen a job may take that takes longer, and again."""

SHORTEST = 0.001
"""Seconds: what takes less, takes this."""

POINTS = 20
"""Quantiles that stand for all that was seen."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """Seconds that a job takes from its start: as likely as not at most ``median``, nine times of ten ``latest``."""

    median: float
    latest: float
    soonest: float
    """Once of ten up to this: before that there is no need to look."""


class Pace(msgspec.Struct, frozen=True, gc=False):
    """What is known of the time that jobs of a route take.

    ``stairs`` are the instants of a job's life, in seconds from its start, at which it is looked at anew, and
    ``spans[n]`` is what is said from ``stairs[n - 1]`` to ``stairs[n]``: a job that outlives others takes longer than
    they did. In between nothing that is said changes, so it does not move with each look, and it is never past.
    """

    mean: float
    deviation: float
    size: float
    """How many jobs were seen, the older ones counted in part."""
    points: tuple[float, ...]
    """Equally likely seconds, ascending."""
    stairs: tuple[float, ...]
    spans: tuple[Span, ...]

    def of(self, age: float) -> Span:
        """Return how long a job takes, in all, that has taken ``age`` seconds and is still running."""
        stair = bisect_right(self.stairs, age)
        if stair == len(self.spans):
            return beyond(self.stairs[-1], age)
        span = self.spans[stair]
        return Span(span.median, span.latest, self._soonest(age, span.median))

    def _soonest(self, age: float, otherwise: float) -> float:
        at = bisect_right(self.points, age)
        left = len(self.points) - at
        return self.points[at + left // 10] if left else otherwise


def beyond(longest: float, age: float) -> Span:
    """Return how long a job takes, in all, that has taken longer than any: again as much, as far as one can say."""
    longest = max(longest, SHORTEST)
    times = math.floor(math.log(max(age, longest) / longest, GROWTH)) + 1
    median = longest * math.pow(GROWTH, times)
    return Span(median, median * GROWTH, median)


def pace(seconds: Sequence[float]) -> Pace | None:
    """Digest the seconds that jobs took, oldest first; None if there are too few to say anything."""
    if len(seconds) < FEWEST:
        return None
    seen = sorted(
        (max(SHORTEST, value), _weight(len(seconds) - at)) for at, value in enumerate(seconds, 1)
    )
    total = sum(weight for _, weight in seen)
    mean = sum(value * weight for value, weight in seen) / total
    variance = sum((value - mean) ** 2 * weight for value, weight in seen) / total
    size = total**2 / sum(weight**2 for _, weight in seen)
    quantile = _quantiles(seen, total, size)
    points = tuple(quantile((at + 0.5) / POINTS) for at in range(POINTS))
    stairs, spans = _staircase(quantile, size)
    return Pace(mean, math.sqrt(variance), size, points, stairs, spans)


def _weight(age: int) -> float:
    return math.exp2(-age / HALF_LIFE)


def _quantiles(
    seen: list[tuple[float, float]], total: float, size: float
) -> Callable[[float], float]:
    """Return the function that finds a quantile.

    Of n values the k-th is the k/(n+1) quantile, as the next one is as likely to fall in any of the gaps; what is
    behind the last is longer than any was. A tenth of a gap is forgiven, as weights are not quite the same.
    """
    values = [value for value, _ in seen]
    shares = [
        share / total * size / (size + 1) for share in accumulate(weight for _, weight in seen)
    ]

    def quantile(share: float) -> float:
        at = bisect_right(shares, share - 0.1 / size)
        return values[at] if at < len(values) else values[-1] * GROWTH

    return quantile


def _staircase(
    quantile: Callable[[float], float], size: float
) -> tuple[tuple[float, ...], tuple[Span, ...]]:
    """Return the stairs and spans of a `Pace`: at the n-th stair the share ``STAIR ** n`` of all is still running."""
    stairs, spans = [], []
    left = 1.0
    while left * size >= 1:
        spans.append(rounded(*(quantile(1 - left * share) for share in (0.5, 0.1, 0.9))))
        left *= STAIR
        stairs.append(_grain(quantile(1 - left), round))
    return tuple(stairs), tuple(spans)


def rounded(median: float, latest: float, soonest: float) -> Span:
    """Return a span in whole grains; the latest is rounded up, as it is a promise."""
    return Span(_grain(median, round), _grain(latest, math.ceil), soonest)


def _grain(seconds: float, whole: Callable[[float], int]) -> float:
    return math.pow(GRAIN, whole(math.log(max(SHORTEST, seconds), GRAIN)))
