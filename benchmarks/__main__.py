"""Measures deferit, its peers and the bare frameworks: ``python -m benchmarks [--own] [--publish] [figure ...]``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import imports, stages, tables
from benchmarks.measure import Failed, chosen, measured
from benchmarks.publish import publish, record
from benchmarks.record import Effort, Row, Seen, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

FIGURES = (*stages.FIGURES, imports.FIGURE)


def main() -> None:
    """Measure what is asked for, print it, and write it down if that is asked for too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # what was started is ended
    asked = _asked()
    effort = Effort(1, 1) if asked.quick else Effort(asked.rounds, asked.seconds)
    begun = time.monotonic()
    seen: list[Seen] = []
    failed: list[Failed] = []
    try:
        for each in _measured(asked, effort):
            failed.append(each) if isinstance(each, Failed) else seen.append(each)
    finally:  # what was seen before it was told to stop is worth as much
        _report(rows(seen), failed)
        print(f"took {time.monotonic() - begun:.0f} s", file=sys.stderr)
        if asked.publish:
            record(rows(seen), effort)
            publish()
    sys.exit(bool(failed))


def _measured(asked: argparse.Namespace, effort: Effort) -> Iterator[Seen | Failed]:
    figures = asked.figures or [name for name in FIGURES if name not in stages.WHEN_ASKED]
    if imports.FIGURE in figures:
        for each in imports.imports(effort):
            if asked.of.lower() in each.contestant.lower():
                yield each
    all_stages = stages.OWN if asked.own else (*stages.OWN, stages.PEERS)
    for stage in chosen(all_stages, figures, asked.of):
        yield from measured(stage, effort)


def _report(found: list[Row], failed: list[Failed]) -> None:
    for row in found:
        print(line(row))
    print(tables.everybody(found), tables.targets(found), sep="\n\n")
    for failure in failed:
        print(f"FAILED {failure.contestant}, {failure.figure}: {failure.reason}", file=sys.stderr)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--own", action="store_true", help="without the peers")
    parser.add_argument("--of", default="", metavar="WORDS", help="only contestants so named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load for each sample")
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
    parser.add_argument("--publish", action="store_true", help="write it into docs and README")
    asked = parser.parse_args()
    unknown = set(asked.figures) - set(FIGURES)
    if unknown:
        parser.error(f"no such figures: {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    return asked


def line(row: Row) -> str:
    """Return a line of the table that is printed."""
    own = "  ".join(f"{name} {value:.5g}" for name, value in row.own.items())
    ratio = "  ".join(f"{name} {value:.3f}" for name, value in row.ratio.items())
    return f"{row.figure:16} {row.contestant:34} {own}  | ÷ {row.baseline}: {ratio}"


if __name__ == "__main__":
    main()
