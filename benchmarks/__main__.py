"""Measures deferit, its peers and the bare frameworks: ``python -m benchmarks [--own] [figure ...]``."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.measure import Failed, chosen, measured
from benchmarks.record import Effort, Row, Seen, rows
from benchmarks.stages import FIGURES, OWN, PEERS


def main() -> None:
    """Measure what is asked for, and print it."""
    asked = _asked()
    effort = Effort(1, 1) if asked.quick else Effort(asked.rounds, asked.seconds)
    stages = chosen(OWN if asked.own else (*OWN, PEERS), asked.figures or FIGURES, asked.of)
    seen: list[Seen] = []
    failed: list[Failed] = []
    begun = time.monotonic()
    for stage in stages:
        for each in measured(stage, effort):
            (failed if isinstance(each, Failed) else seen).append(each)  # type: ignore[arg-type]
    for row in rows(seen):
        print(line(row))
    print(f"took {time.monotonic() - begun:.0f} s", file=sys.stderr)
    for failure in failed:
        print(f"FAILED {failure.contestant}, {failure.figure}: {failure.reason}", file=sys.stderr)
    sys.exit(bool(failed))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--own", action="store_true", help="without the peers")
    parser.add_argument("--of", default="", metavar="WORDS", help="only contestants so named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load for each sample")
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
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
