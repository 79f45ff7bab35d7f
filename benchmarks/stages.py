"""What is measured of whom: stages, each with the figures of some contestants and whom they are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks import contestants as who
from benchmarks.million import store_with_a_million
from benchmarks.probes.drain import drain
from benchmarks.probes.latency import latency
from benchmarks.probes.load import accept, auto, marked, poll, unmarked, unmarked_body
from benchmarks.probes.memory import memory
from benchmarks.probes.pace import pace
from benchmarks.record import Effort, Sample
from benchmarks.servers import Contestant, Running
from benchmarks.slow_disk import MICROSECONDS, slow_syncs

Probe = Callable[[Running, Effort], Sample]


@dataclass(frozen=True)
class Visit:
    """A contestant with the figures that are taken of it, in their order: what leaves a queue behind comes last.

    Of one that is ``brief`` samples take half as long, for the sake of the whole; no target is about it.
    """

    baseline: Contestant
    contestant: Contestant
    figures: dict[str, Probe]
    is_brief: bool = False


@dataclass(frozen=True)
class Stage:
    """Visits that take turns in being the first; their baselines run all the while."""

    name: str
    visits: tuple[Visit, ...]


LIFE: dict[str, Probe] = {"latency": latency, "drain": drain, "poll": poll, "accept": accept}
ELSEWHERE: dict[str, Probe] = {"latency": latency, "drain": drain, "accept": accept}
"""With an executor in other processes; polls are the same."""
UNMARKED: dict[str, Probe] = {"unmarked": unmarked, "auto": auto}
ONCE: dict[str, Probe] = {"unmarked-body": unmarked_body, "pace": pace}


def _memory() -> Stage:
    pairs = [(who.STARLETTE, who.ON_STARLETTE), (who.FLASK, who.ON_FLASK)]
    return Stage("memory", tuple(Visit(bare, ours, {"memory": memory}) for bare, ours in pairs))


def _own() -> Stage:
    visits = [
        Visit(who.STARLETTE, who.ON_STARLETTE, UNMARKED | LIFE | ONCE),
        Visit(who.FLASK, who.ON_FLASK, UNMARKED | LIFE),
        Visit(who.FASTAPI, who.ON_FASTAPI, {"marked": marked} | LIFE),
    ]
    for bare in (who.STARLETTE, who.FLASK):
        visits += [Visit(bare, ours, LIFE, is_brief=True) for ours in who.STORED[bare]]
        visits += [Visit(bare, ours, ELSEWHERE, is_brief=True) for ours in who.EXECUTED[bare]]
    return Stage("deferit", tuple(visits))


def _disk() -> Stage:
    slow = replace(
        who.ON_STARLETTE,
        name=f"{who.ON_STARLETTE.name}, slow disk",
        environment={"SYNC_MICROSECONDS": MICROSECONDS},
        services={"LD_PRELOAD": slow_syncs},
    )
    return Stage("slow disk", (Visit(who.STARLETTE, slow, {"accept-slow-disk": accept}),))


def _million() -> Stage:
    empty = replace(who.ON_STARLETTE, name=f"{who.ON_STARLETTE.name}, empty store")
    full = replace(
        who.ON_STARLETTE,
        name=f"{who.ON_STARLETTE.name}, 1,000,000 jobs",
        services={"DEFERIT_STORE": store_with_a_million},
    )
    figures: dict[str, Probe] = {"poll-million": poll, "accept-million": accept}
    return Stage("a million jobs", (Visit(empty, full, figures),))


def _peers() -> Stage:
    visits = [Visit(who.PEERS_FASTAPI, peer, LIFE) for peer in who.PEERS_ON_FASTAPI]
    visits += [Visit(who.PEERS_FLASK, peer, LIFE) for peer in who.PEERS_ON_FLASK]
    return Stage("peers", tuple(visits))


WHEN_ASKED = frozenset({"unmarked-body", "marked"})
"""Figures that are only taken if they are asked for by their names."""

OWN = (_memory(), _own(), _disk(), _million())
PEERS = _peers()
FIGURES = tuple(
    dict.fromkeys(
        name for stage in (*OWN, PEERS) for visit in stage.visits for name in visit.figures
    )
)
