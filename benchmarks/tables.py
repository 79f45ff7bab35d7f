"""Tables of what was measured, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import contestants as who
from benchmarks.targets import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.record import Row

MAIN = (who.ON_STARLETTE, who.ON_FASTAPI, who.ON_FLASK)
OTHER = tuple(
    each for bare in (who.STARLETTE, who.FLASK) for each in (*who.STORED[bare], *who.EXECUTED[bare])
)
PEERS = (*who.PEERS_ON_FASTAPI, *who.PEERS_ON_FLASK)
BARE = (who.STARLETTE, who.FASTAPI, who.FLASK)

HEAD = (
    "",
    "accepts/s",
    "÷ bare",
    "p50 / p99 ms",
    "polls ÷ bare",
    "accept → result ms",
    "drain jobs/s",
)


def targets(rows: Sequence[Row]) -> str:
    """Return the targets, what was seen, and whether that meets them."""
    lines = [
        (verdict.words, verdict.seen, "yes" if verdict.is_met else "**no**")
        for verdict in verdicts(rows)
    ]
    return _table(("target", "seen", "met"), lines)


def everybody(rows: Sequence[Row]) -> str:
    """Return a line for each contestant."""
    return _contestants(rows, [each.name for each in (*MAIN, *OTHER, *PEERS)])


def some(rows: Sequence[Row]) -> str:
    """Return a line for each of those that are of interest first."""
    return _contestants(rows, [each.name for each in (*MAIN, *PEERS)])


def others(rows: Sequence[Row]) -> str:
    """Return the figures that stand in no other table."""
    figures = ("unmarked", "auto", "memory", "import", "pace")
    lines = [
        (row.figure, row.contestant, _numbers(row), _numbers_of_baseline(row))
        for figure in figures
        for row in rows
        if row.figure == figure
    ]
    return _table(("figure", "contestant", "seen", "baseline"), lines)


def _contestants(rows: Sequence[Row], names: Iterable[str]) -> str:
    found = {(row.contestant, row.figure): row for row in rows}
    lines = [_bare(found, each.name) for each in BARE]
    for name in names:
        row = {
            figure: found.get((name, figure)) for figure in ("accept", "poll", "latency", "drain")
        }
        if any(row.values()):
            lines.append(_line(name, row))
    return _table(HEAD, [line for line in lines if line])


def _bare(found: dict[tuple[str, str], Row], name: str) -> tuple[str, ...]:
    """Return the line of a bare framework, by what contestants were compared with."""
    seen = {
        figure: row.bare
        for figure in ("accept", "latency", "drain")
        for row in found.values()
        if row.figure == figure and row.baseline == name
    }
    if "accept" not in seen:
        return ()
    accept = seen["accept"]
    return (
        f"*bare {name}, a fixed 202*",
        f"{accept['rate']:,.0f}",
        "1",
        f"{accept['p50']:.1f} / {accept['p99']:.1f}",
        "1",
        f"{seen['latency']['p50']:.2f}" if "latency" in seen else "",
        f"{seen['drain']['rate']:,.0f}" if "drain" in seen else "",
    )


def _line(name: str, of: dict[str, Row | None]) -> tuple[str, ...]:
    accept, poll, latency, drain = of["accept"], of["poll"], of["latency"], of["drain"]
    return (
        f"**{name}**" if name.startswith("deferit") else name,
        f"{accept.own['rate']:,.0f}" if accept else "",
        f"{accept.ratio['rate']:.2f}" if accept else "",
        f"{accept.own['p50']:.1f} / {accept.own['p99']:.1f}" if accept else "",
        f"{poll.ratio['rate']:.2f}" if poll else "",
        f"{latency.own['p50']:.1f}" if latency else "",
        f"{drain.own['rate']:,.0f}" if drain else "",
    )


def _numbers(row: Row) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in row.own.items())


def _numbers_of_baseline(row: Row) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in row.bare.items())


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    texts = [head, ("---",) * len(head), *lines]
    return "\n".join(f"| {' | '.join(text)} |" for text in texts)
