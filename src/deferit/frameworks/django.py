"""Django."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse


def is_calling(args: tuple[Any, ...]) -> bool:
    """Whether a view of Django's was called with these arguments; Django REST framework wraps the request."""
    return any(isinstance(getattr(arg, "_request", arg), HttpRequest) for arg in args)


def placeholder() -> object:
    """Return an empty 202."""
    return HttpResponse(status=202)
