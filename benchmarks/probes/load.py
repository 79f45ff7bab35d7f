"""Requests a second under load by wrk, and what each costs in processor time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.exchange import flood, request
from benchmarks.load import load

if TYPE_CHECKING:
    from benchmarks.record import Effort, Sample
    from benchmarks.servers import Running

WARM_UP = 500
"""Requests before it counts."""


def under_load(server: Running, method: str, path: str, effort: Effort) -> Sample:
    """Measure one request, over and over."""
    flood(server.url, [request(method, path)] * WARM_UP)
    before = server.cpu()
    seen = load(server.url + path, method, effort.seconds)
    cpu = (server.cpu() - before) / seen.requests * 1e6
    return {"rate": seen.rate, "p50": seen.p50, "p99": seen.p99, "cpu": cpu}


def accept(server: Running, effort: Effort) -> Sample:
    """Submit jobs that do nothing."""
    return under_load(server, "POST", server.contestant.submit, effort)


def poll(server: Running, effort: Effort) -> Sample:
    """Ask for the status of a job that is finished."""
    return under_load(server, "GET", server.finish_one(), effort)


def unmarked(server: Running, effort: Effort) -> Sample:
    """Ask for what is never deferred."""
    return under_load(server, "GET", "/plain", effort)


def unmarked_body(server: Running, effort: Effort) -> Sample:
    """Send a body to what is never deferred, and reads it."""
    return under_load(server, "POST", "/echo", effort)


def auto(server: Running, effort: Effort) -> Sample:
    """Submit to a handler that answers in time, so that no job is stored."""
    return under_load(server, "POST", "/auto", effort)


def marked(server: Running, effort: Effort) -> Sample:
    """Submit to a marked handler, where the contestant's other figures are a configured route's."""
    path = server.contestant.submit if server.contestant.is_bare else "/marked"
    return under_load(server, "POST", path, effort)
