"""Says what importing deferit brings: ``python -m tests.costs.importing flask`` prints the modules as JSON."""

from __future__ import annotations

import importlib
import json
import sys

NAMES = {"starlette": "ASGIMiddleware", "flask": "WSGIMiddleware"}
FRAMEWORKS = {"starlette": ("starlette.applications", "starlette.routing"), "flask": ("flask",)}


def main() -> None:
    """Print which modules come when a middleware and the mark are imported beside a framework."""
    framework = sys.argv[1]
    for module in FRAMEWORKS[framework]:
        importlib.import_module(module)
    before = set(sys.modules)
    deferit = importlib.import_module("deferit")
    assert deferit.deferred
    assert getattr(deferit, NAMES[framework])
    sys.stdout.write(json.dumps(sorted(set(sys.modules) - before)))


if __name__ == "__main__":
    main()
