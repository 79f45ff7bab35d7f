"""Retrofits slow endpoints: `202 Accepted` with a status monitor at once, the handler's true response later."""

from deferit._core.http import Request, Response
from deferit.asgi import ASGIMiddleware
from deferit.context import current_job, progress, track
from deferit.exceptions import JobCanceled
from deferit.marks import deferred
from deferit.wsgi import WSGIMiddleware

__all__ = [
    "ASGIMiddleware",
    "JobCanceled",
    "Request",
    "Response",
    "WSGIMiddleware",
    "current_job",
    "deferred",
    "progress",
    "track",
]

__version__ = "0.1.0"
