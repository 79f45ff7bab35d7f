"""Flask."""

from __future__ import annotations

from typing import Any

import flask


def is_calling(_args: tuple[Any, ...]) -> bool:
    """Whether a Flask view runs here."""
    return flask.has_request_context()


def placeholder() -> object:
    """Return an empty 202, of the class that the application makes its responses of."""
    return flask.current_app.response_class(status=202)
