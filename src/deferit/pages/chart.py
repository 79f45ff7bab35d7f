"""Small charts of what jobs did: how many ended when, and how long they ran."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup

from deferit.pages import words
from deferit.pages.words import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BARS = 24
"""Bars of a chart: enough to see a day by its hours."""

STEPS = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY)
"""Seconds that one bar stands for."""

WIDTH, HEIGHT = 240, 60
"""Of a chart, in units of its own; it is as wide as there is room."""

ENDS = ("succeeded", "failed", "canceled")


class Run(msgspec.Struct, frozen=True, gc=False):
    """A job that ended: when, as what, and after how many seconds of running, if it was ever started."""

    at: float
    status: str
    seconds: float | None


class Past(msgspec.Struct, frozen=True, gc=False):
    """Runs by the span of time in which they ended, oldest first; each span has ``step`` seconds, the last ends now."""

    step: int
    spans: tuple[tuple[Run, ...], ...]

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [run for span in self.spans for run in span]


def past(runs: Iterable[Run], now: float) -> Past:
    """Return the runs in the smallest spans of which `BARS` reach back to the first; what is older is left out."""
    runs = list(runs)
    age = now - min((run.at for run in runs), default=now)
    step = next((step for step in STEPS if age < step * BARS), STEPS[-1])
    spans: list[list[Run]] = [[] for _ in range(BARS)]
    for run in runs:
        back = int(max(0.0, now - run.at) // step)
        if back < BARS:
            spans[BARS - 1 - back].append(run)
    return Past(step, tuple(map(tuple, spans)))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values is not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def charts(shown: Past) -> Markup:
    """Return both charts; nothing if nothing has ended."""
    if not shown.runs:
        return Markup("")
    return Markup('<div id="charts">{}{}</div>').format(throughput(shown), durations(shown))


def throughput(shown: Past) -> Markup:
    """Return how many jobs ended in each span, by how they ended, as stacked bars."""
    most = max(map(len, shown.spans))
    bars = Markup("").join(
        bar for index, span in enumerate(shown.spans) for bar in _stack(index, span, most)
    )
    ended = len(shown.runs)
    counts = {end: sum(run.status == end for run in shown.runs) for end in ENDS[1:]}
    told = [f"{ended} ended", *(f"{count} {end}" for end, count in counts.items() if count)]
    return _figure("throughput", "Throughput", ", ".join(told), f"most {most}", bars, shown)


def _stack(index: int, span: Sequence[Run], most: int) -> list[Markup]:
    bars, top = [], float(HEIGHT)
    for end in ENDS:
        height = HEIGHT * sum(run.status == end for run in span) / most
        top -= height
        if height:
            bars.append(_bar(index, top, height, end))
    return bars


def durations(shown: Past) -> Markup:
    """Return how long jobs ran that ended in each span: the median as a mark, and up to where nine of ten are."""
    seconds = [[run.seconds for run in span if run.seconds is not None] for span in shown.spans]
    ran = [value for span in seconds for value in span]
    if not ran:
        return Markup("")
    longest = max(0.001, *(quantile(span, 0.9) for span in seconds if span))
    bars = Markup("").join(
        _range(
            index, HEIGHT / longest * quantile(span, 0.5), HEIGHT / longest * quantile(span, 0.9)
        )
        for index, span in enumerate(seconds)
        if span
    )
    told = f"half within {words.took(quantile(ran, 0.5))}, nine of ten within {words.took(quantile(ran, 0.9))}"
    return _figure("durations", "Time to run", told, f"most {words.took(longest)}", bars, shown)


def _range(index: int, median: float, ninth: float) -> Markup:
    ninth = max(1.0, ninth)
    reach = _bar(index, HEIGHT - ninth, ninth, "reach")
    return reach + _bar(index, min(HEIGHT - 2.0, HEIGHT - median), 2.0, "median")


def _bar(index: int, top: float, height: float, kind: str) -> Markup:
    width = WIDTH / BARS
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, index * width + 1, top, width - 2, height
    )


def _figure(  # noqa: PLR0913, PLR0917  each is a part of the figure
    name: str, title: str, told: str, most: str, bars: Markup, shown: Past
) -> Markup:
    """Return a chart with what it tells in words, which is all that some people get of it."""
    return Markup(
        '<figure id="{name}"><figcaption><h2>{title}</h2><p>{told}</p></figcaption>'
        '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
        '<p class="axis"><span>{since} ago</span><span>{most}</span><span>now</span></p></figure>'
    ).format(
        name=name,
        title=title,
        told=told,
        width=WIDTH,
        height=HEIGHT,
        bars=bars,
        most=f"{most} in {words.amount(shown.step)}" if name == "throughput" else most,
        since=words.amount(shown.step * BARS),
    )
