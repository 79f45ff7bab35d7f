"""What so many jobs a day ask of a store, computed from what was measured of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deferit._core.job import TOMBSTONE

DAY = 86_400.0
GIGABYTE = 1e9


@dataclass(frozen=True)
class Capacity:
    """What was measured of a store.

    ``rates`` are jobs a second, created, claimed and finished, of one process by the size of its batches; ``together``
    those of several processes that take one after another, 0 where only one can. ``cpu`` is what a job costs the
    process that asks, in seconds. A job that is kept takes ``job`` bytes, and once it has expired ``tombstone``. A
    process holds so many ``connections`` at the most.
    """

    name: str
    rates: dict[int, float]
    together: float
    cpu: float
    job: float
    tombstone: float
    connections: int


@dataclass(frozen=True)
class Demand:
    """A load: at the peak there come ``peak`` times as many jobs as on average.

    A job is kept for ``retention`` seconds, its handler takes ``seconds``, and a process runs ``concurrency`` at once.
    """

    jobs_a_day: float
    peak: float = 5.0
    retention: float = DAY
    seconds: float = 1.0
    concurrency: int = 8

    @property
    def mean(self) -> float:
        """Jobs a second on average."""
        return self.jobs_a_day / DAY

    @property
    def at_peak(self) -> float:
        """Jobs a second at the peak."""
        return self.mean * self.peak

    @property
    def running(self) -> float:
        """Jobs that run at once at the peak (Little: how many come, times how long each stays)."""
        return self.at_peak * self.seconds

    @property
    def processes(self) -> int:
        """Processes that run jobs."""
        return math.ceil(self.running / self.concurrency)


@dataclass(frozen=True)
class Needs:
    """What a demand asks of one store.

    ``share`` is the part of its speed in large batches that the peak takes: over 1, and the store is too slow. The more
    there is to do, the larger are the batches; ``share_one_by_one`` is what it would be if they stayed at one.
    ``cores`` are the processors that talking to it keeps busy, in all processes together.
    """

    share: float
    share_one_by_one: float
    bytes: float
    connections: int
    cores: float


def needs(capacity: Capacity, demand: Demand) -> Needs:
    """Return what a load asks of a store of this capacity."""
    kept = capacity.job * demand.retention + capacity.tombstone * TOMBSTONE
    return Needs(
        share=demand.at_peak / max(capacity.rates.values()),
        share_one_by_one=demand.at_peak / max(capacity.rates[1], capacity.together),
        bytes=demand.mean * kept,
        connections=capacity.connections * demand.processes,
        cores=demand.at_peak * capacity.cpu,
    )
