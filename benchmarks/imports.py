"""How long it takes to import deferit, and to put the middleware around an application, once the framework is there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import contestants as who
from benchmarks.record import Seen
from benchmarks.servers import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.record import Effort, Sample

FIGURE = "import"
TIMES = 3
"""Processes for each round."""

MIDDLEWARES = {
    who.ON_STARLETTE: "ASGIMiddleware",
    who.ON_FASTAPI: "ASGIMiddleware",
    who.ON_FLASK: "WSGIMiddleware",
}
BARE = {
    who.ON_STARLETTE: who.STARLETTE,
    who.ON_FASTAPI: who.FASTAPI,
    who.ON_FLASK: who.FLASK,
}

PROGRAM = """
import json, sys, time
begun = time.perf_counter(), time.process_time()
from {module} import app
framework = time.perf_counter(), time.process_time()
from deferit import {middleware}, deferred
imported = time.perf_counter(), time.process_time()
{middleware}(app)
built = time.perf_counter(), time.process_time()
print(json.dumps([begun, framework, imported, built]))
"""


def imports(effort: Effort) -> Iterator[Seen]:
    """Yield what processes took that did it, of each framework in turn; the baseline is the framework's own import."""
    for _ in range(effort.rounds * TIMES):
        for ours, bare in BARE.items():
            module = bare.app.partition(":")[0]
            program = PROGRAM.format(module=module, middleware=MIDDLEWARES[ours])
            framework, own = _run(program)
            yield Seen(FIGURE, ours.name, bare.name, own, framework)


def _run(program: str) -> tuple[Sample, Sample]:
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    begun, framework, imported, built = json.loads(ended.stdout)
    own = _between(framework, imported) | {"built": _between(framework, built)["ms"]}
    return _between(begun, framework), own


def _between(before: list[float], after: list[float]) -> Sample:
    """Return milliseconds by the clock, and of processor time, which other programs take no part of."""
    ms, cpu = (1e3 * (then - now) for now, then in zip(before, after, strict=True))
    return {"ms": ms, "cpu": cpu}
