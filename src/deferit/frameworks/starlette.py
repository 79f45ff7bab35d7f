"""Starlette, and FastAPI, which passes its responses through."""

from __future__ import annotations

from starlette.responses import Response


def placeholder() -> object:
    """Return an empty 202."""
    return Response(status_code=202)
