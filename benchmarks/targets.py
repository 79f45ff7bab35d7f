"""What deferit is to reach, and whether it was seen to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import contestants as who

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.record import Row
    from benchmarks.servers import Contestant

ON_SLOW_DISK = f"{who.ON_STARLETTE.name}, slow disk"
WITH_A_MILLION = f"{who.ON_STARLETTE.name}, 1,000,000 jobs"


@dataclass(frozen=True)
class Target:
    """A number of a figure that is to be ``least`` or ``most``; ``said`` has it with its unit, and more."""

    words: str
    figure: str
    contestant: str
    number: Callable[[Row], float]
    said: Callable[[Row], str]
    least: float | None = None
    most: float | None = None

    def is_met(self, row: Row) -> bool:
        """Whether it was reached."""
        seen = self.number(row)
        return seen >= self.least if self.least is not None else seen <= (self.most or 0)


def _rate(words: str, figure: str, of: Contestant | str, least: float) -> Target:
    """Return one whose number is the rate's ratio to the baseline's."""
    return Target(
        f"{words}: at least {least:.2f} of {'the empty store' if 'million' in figure else 'bare'}",
        figure,
        of if isinstance(of, str) else of.name,
        lambda row: row.ratio["rate"],
        lambda row: f"{row.ratio['rate']:.2f}",
        least=least,
    )


def _added(of: Contestant) -> Target:
    return Target(
        f"unmarked route, {of.name}: at most 3 µs of processor time added",
        "unmarked",
        of.name,
        lambda row: row.over["cpu"],
        lambda row: f"{row.over['cpu']:.1f} µs",
        most=3,
    )


def _memory(of: Contestant) -> Target:
    return Target(
        f"idle web process, {of.name}: at most 12 MiB over the bare one",
        "memory",
        of.name,
        lambda row: row.over["rss after a job"],
        lambda row: f"{row.over['rss']:.1f} MiB; {row.over['rss after a job']:.1f} after a job",
        most=12,
    )


def _import(of: Contestant) -> Target:
    return Target(
        f"import, {of.name}: at most 60 ms over the framework's",
        "import",
        of.name,
        lambda row: row.own["ms"],
        lambda row: f"{row.own['ms']:.0f} ms ({row.own['cpu']:.0f} of processor time)",
        most=60,
    )


TARGETS = (
    _rate("durable accept, Starlette", "accept", who.ON_STARLETTE, 0.40),
    _rate("durable accept, Flask", "accept", who.ON_FLASK, 0.70),
    _rate("durable accept, configured route on FastAPI", "accept", who.ON_FASTAPI, 1.0),
    Target(
        "accept to result seen, low load, median: at most 1.5 ms",
        "latency",
        who.ON_STARLETTE.name,
        lambda row: row.own["p50"],
        lambda row: f"{row.own['p50']:.2f} ms ({row.ratio['p50']:.1f} × one bare request)",
        most=1.5,
    ),
    Target(
        "drain of 2,000 jobs: at least 6,000 a second",
        "drain",
        who.ON_STARLETTE.name,
        lambda row: row.own["rate"],
        lambda row: f"{row.own['rate']:,.0f}",
        least=6_000,
    ),
    _rate("drain of 2,000 jobs, by requests a second", "drain", who.ON_STARLETTE, 0.20),
    _rate("poll of a finished job, Starlette", "poll", who.ON_STARLETTE, 0.70),
    _rate("poll of a finished job, Flask", "poll", who.ON_FLASK, 0.70),
    _rate("unmarked route, Starlette", "unmarked", who.ON_STARLETTE, 0.95),
    _added(who.ON_STARLETTE),
    _rate("unmarked route, Flask", "unmarked", who.ON_FLASK, 0.95),
    _rate("mode auto, in time, Starlette", "auto", who.ON_STARLETTE, 0.60),
    _rate("mode auto, in time, Flask", "auto", who.ON_FLASK, 0.60),
    _memory(who.ON_STARLETTE),
    _memory(who.ON_FLASK),
    _rate("accept with 1,000,000 jobs in the store", "accept-million", WITH_A_MILLION, 0.9),
    _rate("poll with 1,000,000 jobs in the store", "poll-million", WITH_A_MILLION, 0.9),
    Target(
        "accept at half the peak rate, p99: at most 5 × p50",
        "pace",
        who.ON_STARLETTE.name,
        lambda row: row.own["times"],
        lambda row: (
            f"{row.own['times']:.1f} × (p50 {row.own['p50']:.2f} ms); bare {row.bare['times']:.1f} ×"
        ),
        most=5,
    ),
    _import(who.ON_STARLETTE),
    _import(who.ON_FASTAPI),
    _import(who.ON_FLASK),
    Target(
        "accepts where a sync of the disk takes 2 ms: at least 4,000 a second",
        "accept-slow-disk",
        ON_SLOW_DISK,
        lambda row: row.own["rate"],
        lambda row: f"{row.own['rate']:,.0f} ({row.ratio['rate']:.2f} of bare)",
        least=4_000,
    ),
)


@dataclass(frozen=True)
class Verdict:
    """A target with what was seen."""

    words: str
    seen: str
    is_met: bool


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Return what came of the targets whose figures were measured."""
    found = {(row.figure, row.contestant): row for row in rows}
    return [
        Verdict(target.words, target.said(row), target.is_met(row))
        for target in TARGETS
        if (row := found.get((target.figure, target.contestant)))
    ]
