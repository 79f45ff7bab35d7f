"""How long it takes to import deferit, and to put the middleware around an application, once the framework is there.

As it is installed: pip compiles what it installs, and a checkout is compiled by its first import, unless
``PYTHONDONTWRITEBYTECODE`` keeps Python from writing that down. To compile deferit takes longer than to import it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import contestants as who
from benchmarks.record import Seen
from benchmarks.servers import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.record import Effort, Sample
    from benchmarks.servers import Contestant

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
    with TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        for ours, bare in BARE.items():
            _run(ours, bare, environment)
        for _ in range(effort.rounds * TIMES):
            for ours, bare in BARE.items():
                framework, own = _run(ours, bare, environment)
                yield Seen(FIGURE, ours.name, bare.name, own, framework)


def _run(ours: Contestant, bare: Contestant, environment: dict[str, str]) -> tuple[Sample, Sample]:
    module = bare.app.partition(":")[0]
    program = PROGRAM.format(module=module, middleware=MIDDLEWARES[ours])
    command = [sys.executable, "-c", program]
    ended = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True
    )
    begun, framework, imported, built = json.loads(ended.stdout)
    own = _between(framework, imported) | {"built": _between(framework, built)["ms"]}
    return _between(begun, framework), own


def _between(before: list[float], after: list[float]) -> Sample:
    """Return milliseconds by the clock, and of processor time, which other programs take no part of."""
    ms, cpu = (1e3 * (then - now) for now, then in zip(before, after, strict=True))
    return {"ms": ms, "cpu": cpu}
