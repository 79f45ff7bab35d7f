"""Runs benchmarks: ``python -m benchmarks [--quick] [figure ...]``."""

from __future__ import annotations

import argparse

from benchmarks.figures import FIGURES, Effort, compared


def main() -> None:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", default=list(FIGURES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    asked = parser.parse_args()
    for figure in asked.figures:
        bare, others = FIGURES[figure]
        for row in compared(figure, bare, others, Effort(asked.rounds, asked.seconds)):
            print(
                f"{row.figure:15} {row.contestant:22} {row.rate:9.0f}/s {row.ratio:5.2f}  "
                f"p50 {row.p50:6.2f} p99 {row.p99:7.2f} ms  cpu {row.cpu:7.1f} us {row.cpu_ratio:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
