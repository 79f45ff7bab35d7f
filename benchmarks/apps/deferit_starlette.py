"""Starlette with deferit around it."""

from __future__ import annotations

from benchmarks.apps.bare_starlette import PLAIN, report
from benchmarks.apps.executors import celery, options
from starlette.applications import Starlette
from starlette.routing import Route

from deferit import ASGIMiddleware, deferred

__all__ = ["app", "celery"]

app = Starlette(
    routes=[
        *PLAIN,
        Route("/reports", deferred(report), methods=["POST"]),
        Route("/auto", deferred(mode="auto", wait=5)(report), methods=["POST"]),
    ]
)
app.add_middleware(ASGIMiddleware, **options("benchmarks.apps.deferit_starlette:app"))
