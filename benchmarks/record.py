"""What was seen: samples of a contestant and of the bare framework, measured back to back; and their medians."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Sample = dict[str, float]
"""Numbers by their names: ``rate`` a second, ``p50`` and ``p99`` in milliseconds, ``cpu`` in microseconds a request."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and seconds of load for each sample."""

    rounds: int
    seconds: int


@dataclass(frozen=True)
class Seen:
    """One round's sample of a figure, and that of the other which was measured right before."""

    figure: str
    contestant: str
    baseline: str
    own: Sample
    bare: Sample


@dataclass(frozen=True)
class Row:
    """The medians of all rounds; ``ratio`` is to, and ``over`` is what comes to, the baseline of the same round."""

    figure: str
    contestant: str
    baseline: str
    rounds: int
    own: Sample
    bare: Sample
    ratio: Sample
    over: Sample


def row(seen: list[Seen]) -> Row:
    """Return the medians of what was seen of one figure of one contestant."""
    first = seen[0]
    return Row(
        first.figure,
        first.contestant,
        first.baseline,
        len(seen),
        own=_medians(each.own for each in seen),
        bare=_medians(each.bare for each in seen),
        ratio=_medians(_both(each, lambda own, bare: own / bare if bare else 0) for each in seen),
        over=_medians(_both(each, lambda own, bare: own - bare) for each in seen),
    )


def rows(seen: Iterable[Seen]) -> list[Row]:
    """Return the medians of each figure of each contestant, in the order in which they were first seen."""
    groups: dict[tuple[str, str], list[Seen]] = {}
    for each in seen:
        groups.setdefault((each.figure, each.contestant), []).append(each)
    return [row(group) for group in groups.values()]


def _both(seen: Seen, function: Callable[[float, float], float]) -> Sample:
    return {
        name: function(own, seen.bare[name]) for name, own in seen.own.items() if name in seen.bare
    }


def _medians(samples: Iterable[Sample]) -> Sample:
    """Return the median of each number that all samples have."""
    all_samples = list(samples)
    names = [name for name in all_samples[0] if all(name in sample for sample in all_samples)]
    return {name: statistics.median(each[name] for each in all_samples) for name in names}
