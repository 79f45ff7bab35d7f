"""A picture of what was measured: bars, as SVG, that can be read on light and dark pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks.tables import MAIN, PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.record import Row

WIDTH, LABELS, BARS, LINE, TOP = 900, 260, 500, 26, 54

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600; font-size: 15px }
.note { fill: #57606a }
.ours { fill: #0969da }
.theirs { fill: #9aa4ae }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #9aa4ae }
  .ours { fill: #4493f8 }
  .theirs { fill: #6e7681 }
}
"""


@dataclass(frozen=True)
class Bar:
    """One contestant: how long its bar is, as a part of the longest, and what stands behind it."""

    name: str
    part: float
    text: str


def picture(rows: Sequence[Row]) -> str:
    """Return the picture."""
    parts: list[str] = []
    top = 0
    for head, note, bars in (_accepts(rows), _latencies(rows)):
        if bars:
            parts += _panel(top, head, note, bars)
            top += TOP + LINE * len(bars) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" role="img">\n<style>{STYLE}</style>\n'
        "<title>Jobs accepted, and the time from submission to result</title>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _of(rows: Sequence[Row], figure: str) -> list[Row]:
    """Return the rows of a figure, of those that stand in the picture, in their order."""
    found = {row.contestant: row for row in rows if row.figure == figure}
    return [found[each.name] for each in (*MAIN, *PEERS) if each.name in found]


def _accepts(rows: Sequence[Row]) -> tuple[str, str, list[Bar]]:
    found = _of(rows, "accept")
    longest = max((row.ratio["rate"] for row in found), default=1.0)
    bars = [
        Bar(
            row.contestant,
            row.ratio["rate"] / longest,
            f"{row.ratio['rate']:.2f}  ({row.own['rate']:,.0f}/s)",
        )
        for row in found
    ]
    return "Jobs accepted", "a second, as a part of what the bare framework answers", bars


def _latencies(rows: Sequence[Row]) -> tuple[str, str, list[Bar]]:
    found = _of(rows, "latency")
    slowest = max((row.own["p50"] for row in found), default=1.0)
    bars = [
        Bar(row.contestant, _on_a_scale(row.own["p50"], slowest), f"{row.own['p50']:.1f} ms")
        for row in found
    ]
    return "From submission to result", "median of an idle server; logarithmic", bars


def _on_a_scale(milliseconds: float, slowest: float, least: float = 0.1) -> float:
    return math.log(max(milliseconds, least) / least) / math.log(max(slowest, 2 * least) / least)


def _panel(top: int, head: str, note: str, bars: list[Bar]) -> list[str]:
    parts = [
        f'<text class="head" x="10" y="{top + 24}">{escape(head)}</text>',
        f'<text class="note" x="{LABELS}" y="{top + 24}">{escape(note)}</text>',
    ]
    for number, bar in enumerate(bars):
        parts += _bar(top + TOP - 14 + LINE * number, bar)
    return parts


def _bar(y: int, bar: Bar) -> list[str]:
    length = max(2, round(BARS * bar.part))
    kind = "ours" if bar.name.startswith("deferit") else "theirs"
    return [
        f'<text x="{LABELS - 10}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{length}" height="{LINE - 8}" rx="2"/>',
        f'<text class="note" x="{LABELS + length + 8}" y="{y + 14}">{escape(bar.text)}</text>',
    ]
