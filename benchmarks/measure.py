"""Starts contestants in turn, and measures each back to back with what it is compared with."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.exchange import NoAnswer
from benchmarks.load import LoadFailed
from benchmarks.record import Effort, Seen
from benchmarks.servers import ContestantFailed, running
from tests.servers.harness import ServerFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from benchmarks.servers import Contestant, Running
    from benchmarks.stages import Stage, Visit

FAILURES = (LoadFailed, ServerFailed, ContestantFailed, NoAnswer, OSError)


@dataclass(frozen=True)
class Failed:
    """A visit that came to nothing; the others go on."""

    contestant: str
    figure: str
    reason: str


def chosen(stages: Sequence[Stage], figures: Collection[str], words: str) -> list[Stage]:
    """Return the stages with only these figures, of those contestants in whose name the words are."""
    found = []
    for stage in stages:
        visits = tuple(
            replace(
                visit,
                figures={name: visit.figures[name] for name in visit.figures if name in figures},
            )
            for visit in stage.visits
            if words.lower() in visit.contestant.name.lower()
        )
        found.append(replace(stage, visits=tuple(visit for visit in visits if visit.figures)))
    return [stage for stage in found if stage.visits]


def measured(stage: Stage, effort: Effort) -> Iterator[Seen | Failed]:
    """Yield what is seen in a stage."""
    for turn in range(effort.rounds):
        first = turn % len(stage.visits)
        with ExitStack() as stack:
            bares: dict[str, Running] = {}
            for visit in (*stage.visits[first:], *stage.visits[:first]):
                if visit.baseline.name not in bares:
                    bares[visit.baseline.name] = _started(stack, visit.baseline)
                begun = time.monotonic()
                yield from _visited(bares[visit.baseline.name], visit, effort)
                _say(f"  {stage.name}, round {turn + 1}: {visit.contestant.name}", begun)


def _started(stack: ExitStack, contestant: Contestant) -> Running:
    server = stack.enter_context(running(contestant))
    if not contestant.is_bare:
        server.finish_one()
    return server


def _visited(bare: Running, visit: Visit, effort: Effort) -> Iterator[Seen | Failed]:
    figure = "start"
    if visit.is_brief:
        effort = replace(effort, seconds=(effort.seconds + 1) // 2)
    try:
        with running(visit.contestant) as own:
            for figure, probe in visit.figures.items():
                seen_bare = probe(bare, effort)
                seen_own = probe(own, effort)
                yield Seen(figure, own.name, bare.name, seen_own, seen_bare)
    except FAILURES as exc:
        yield Failed(visit.contestant.name, figure, f"{type(exc).__name__}: {exc}")


def _say(text: str, begun: float) -> None:
    print(f"{text}, {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
