"""What no code of an application would notice of itself: the wrong middleware, or a mark in the wrong place."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from deferit.exceptions import OptionError
from deferit.marks import is_marked_elsewhere, mark_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS = {"wsgi": 2, "asgi": 3}
"""How many arguments applications are called with (PEP 3333; the ASGI specification)."""

ADVICE = {
    "wsgi": "write app.wsgi_app = WSGIMiddleware(app.wsgi_app), or WSGIMiddleware(application)",
    "asgi": "write app.add_middleware(ASGIMiddleware), or ASGIMiddleware(application)",
}

DEEPEST = 20
"""Layers that are looked through for Flask."""


def refuse_other_interface(app: object, interface: str) -> None:
    """Refuse an application that is certainly of the other web interface.

    Raises:
        OptionError: it can be called as the other one calls it only.
    """
    (other,) = ARGUMENTS.keys() - {interface}
    if _takes(app, ARGUMENTS[other]) and not _takes(app, ARGUMENTS[interface]):
        name = getattr(app, "__qualname__", None) or type(app).__name__
        raise OptionError(
            f"{interface.upper()}Middleware was put around {name}, which is {other.upper()}; {ADVICE[other]}"
        )


def _takes(app: object, count: int) -> bool:
    """Whether something can be called with so many arguments; no, if it cannot be known."""
    try:
        inspect.signature(app).bind(*range(count))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def refuse_itself(app: object, middleware: object) -> None:
    """Refuse a middleware that was put around the Flask application which it is a part of.

    Raises:
        OptionError: every request would go round in a circle.
    """
    if getattr(app, "wsgi_app", None) is middleware:
        raise OptionError(
            f"WSGIMiddleware was put around {app!r} and into its wsgi_app, so each calls the other; "
            f"{ADVICE['wsgi']}"
        )


def warn_of_lost_marks(app: Any) -> None:
    """Warn of handlers that are routed without their mark, as `@deferred` above `@app.route` leaves them."""
    endpoints = list(_endpoints(app))
    marked = {id(inspect.unwrap(endpoint)) for endpoint in endpoints if mark_of(endpoint)}
    for endpoint in endpoints:
        if is_marked_elsewhere(endpoint) and id(inspect.unwrap(endpoint)) not in marked:
            _warn(endpoint)


def _warn(handler: Any) -> None:
    code = inspect.unwrap(handler).__code__
    warnings.warn_explicit(
        f"{handler.__qualname__} is routed without its mark, so it is not deferred: @deferred stands above the "
        "decorator that routes it; move @deferred below that, right above the function",
        RuntimeWarning,
        code.co_filename,
        code.co_firstlineno,
    )


def _endpoints(app: Any) -> Iterator[Any]:
    """Yield the functions that Flask, Starlette or FastAPI routes to; nothing, if it is none of them."""
    for _ in range(DEEPEST):
        app = getattr(app, "__self__", app)
        if isinstance(views := getattr(app, "view_functions", None), dict):
            yield from filter(inspect.isfunction, views.values())
        elif isinstance(routes := getattr(app, "routes", None), list):
            yield from _of_routes(routes)
        elif hasattr(app, "app"):
            app = app.app
            continue
        return


def _of_routes(routes: list[Any]) -> Iterator[Any]:
    for route in routes:
        router = getattr(
            route, "original_router", route
        )  # FastAPI's, of a router that was included
        inner = getattr(router, "routes", None)
        if isinstance(inner, list):
            yield from _of_routes(inner)
        elif inspect.isfunction(endpoint := getattr(route, "endpoint", None)):
            yield endpoint
