"""What is measured: each figure compares contestants with a bare framework, measured right before."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from benchmarks.load import BODY, Load, load
from benchmarks.servers import GUNICORN, UVICORN, Contestant, Running, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, and seconds of load in each."""

    rounds: int
    seconds: int


@dataclass(frozen=True)
class Sample:
    """One measurement under load: what the clients saw, and microseconds of processor time for a request."""

    load: Load
    cpu: float


@dataclass(frozen=True)
class Request:
    """What is asked of a contestant, over and over."""

    method: str
    path: str | Callable[[Running], str]

    def url(self, contestant: Running) -> str:
        """Return what is asked of a contestant that runs."""
        path = self.path if isinstance(self.path, str) else self.path(contestant)
        return contestant.url + path


@dataclass(frozen=True)
class Entry:
    """A contestant with what it is asked."""

    contestant: Contestant
    request: Request


def sample(contestant: Running, request: Request, seconds: int) -> Sample:
    """Measure one contestant once, after a moment to get warm."""
    url = request.url(contestant)
    load(url, request.method, 1)
    before = contestant.cpu()
    seen = load(url, request.method, seconds)
    return Sample(seen, (contestant.cpu() - before) / seen.requests * 1e6)


@dataclass(frozen=True)
class Row:
    """A line of the table; ``ratio`` is to the bare framework of the same round."""

    figure: str
    contestant: str
    rate: float
    ratio: float
    p50: float
    p99: float
    cpu: float
    cpu_ratio: float


def compared(figure: str, bare: Entry, others: list[Entry], effort: Effort) -> Iterator[Row]:
    """Measure the bare framework and the others in turn, so many rounds; yield the medians of each."""
    entries = [bare, *others]
    with running(*(entry.contestant for entry in entries)) as servers:
        pairs = list(zip(servers, entries, strict=True))
        rounds = [
            [sample(server, entry.request, effort.seconds) for server, entry in pairs]
            for _ in range(effort.rounds)
        ]
    for index, entry in enumerate(entries):
        yield _row(figure, entry.contestant.name, [(seen[index], seen[0]) for seen in rounds])


def _row(figure: str, name: str, seen: list[tuple[Sample, Sample]]) -> Row:
    median = statistics.median
    return Row(
        figure,
        name,
        rate=median(own.load.rate for own, _ in seen),
        ratio=median(own.load.rate / bare.load.rate for own, bare in seen),
        p50=median(own.load.p50 for own, _ in seen),
        p99=median(own.load.p99 for own, _ in seen),
        cpu=median(own.cpu for own, _ in seen),
        cpu_ratio=median(bare.cpu / own.cpu for own, bare in seen),
    )


STARLETTE = Contestant("bare Starlette", UVICORN, "benchmarks.apps.starlette_app:bare")
DEFERIT_STARLETTE = Contestant("deferit on Starlette", UVICORN, "benchmarks.apps.starlette_app:app")
FASTAPI = Contestant("bare FastAPI", UVICORN, "benchmarks.apps.fastapi_app:bare")
DEFERIT_FASTAPI = Contestant("deferit on FastAPI", UVICORN, "benchmarks.apps.fastapi_app:app")
FLASK = Contestant("bare Flask", GUNICORN, "benchmarks.apps.flask_app:bare")
DEFERIT_FLASK = Contestant("deferit on Flask", GUNICORN, "benchmarks.apps.flask_app:app")

FIXED = Request("POST", "/fixed")
SUBMIT = Request("POST", "/reports")


def finished(contestant: Running) -> str:
    """Return the path of a finished job's monitor."""
    with httpx.Client(base_url=contestant.url, trust_env=False) as client:
        answer = client.post("/reports", content=BODY, headers={"Content-Type": "application/json"})
        monitor: str = answer.headers["Location"]
        while client.get(monitor).status_code == 202:
            time.sleep(0.01)
    return monitor.removeprefix(contestant.url)


FIGURES: dict[str, tuple[Entry, list[Entry]]] = {
    "accept": (Entry(STARLETTE, FIXED), [Entry(DEFERIT_STARLETTE, SUBMIT)]),
    "accept-flask": (Entry(FLASK, FIXED), [Entry(DEFERIT_FLASK, SUBMIT)]),
    "routed": (Entry(FASTAPI, FIXED), [Entry(DEFERIT_FASTAPI, Request("POST", "/routed"))]),
    "poll": (
        Entry(STARLETTE, Request("GET", "/fixed")),
        [Entry(DEFERIT_STARLETTE, Request("GET", finished))],
    ),
    "poll-flask": (
        Entry(FLASK, Request("GET", "/fixed")),
        [Entry(DEFERIT_FLASK, Request("GET", finished))],
    ),
    "unmarked": (
        Entry(STARLETTE, Request("GET", "/plain")),
        [Entry(DEFERIT_STARLETTE, Request("GET", "/plain"))],
    ),
    "unmarked-body": (
        Entry(STARLETTE, Request("POST", "/echo")),
        [Entry(DEFERIT_STARLETTE, Request("POST", "/echo"))],
    ),
    "unmarked-flask": (
        Entry(FLASK, Request("POST", "/echo")),
        [Entry(DEFERIT_FLASK, Request("POST", "/echo"))],
    ),
    "auto": (
        Entry(STARLETTE, FIXED),
        [Entry(DEFERIT_STARLETTE, Request("POST", "/auto"))],
    ),
}
