"""Finds what lies within an application: layers of its stack, deferit's among them, and its handlers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from deferit._middleware import Middleware
from deferit.cli.doctor.checks import Marked
from deferit.marks import mark_of
from deferit.options import Options, options_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deferit._core.policy import Mark

INNER = (
    "wsgi_app",
    "app",
    "application",
    "asgi_app",
    "wrapped_app",
    "asgi_handler",
    "router",
    "original_router",  # FastAPI's, of a router that was included
)
"""The attributes under which layers keep what they are around."""

METHODS = ("get", "post", "put", "patch", "delete")


def stack(app: Any) -> Iterator[Any]:
    """Yield an application, all that it is made of or wraps, and what is mounted in it; each once."""
    waiting, seen = [app], set[int]()
    while waiting:
        layer = waiting.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        waiting += reversed([*_inner(layer)])


def _inner(layer: Any) -> Iterator[Any]:
    """Yield what is one step within a layer."""
    entries = getattr(layer, "user_middleware", None)  # Starlette's and FastAPI's, not built yet
    yield from entries if isinstance(entries, list) else ()
    members = getattr(layer, "__dict__", {})
    yield from (members[name] for name in INNER if callable(members.get(name)))
    routes = members.get("routes")
    yield from routes if isinstance(routes, list) else ()


def options_of(layers: list[Any], environ: Mapping[str, str]) -> list[Options]:
    """Return the options of deferit's middlewares among the layers."""
    return [
        found for layer in layers for found in [_options_of(layer, environ)] if found is not None
    ]


def _options_of(layer: Any, environ: Mapping[str, str]) -> Options | None:
    if isinstance(layer, Middleware):
        return layer.options
    factory = getattr(layer, "cls", None)
    if inspect.isclass(factory) and issubclass(factory, Middleware):
        return options_from(layer.kwargs, environ)
    return None


def name_of(layer: Any) -> str:
    """Return the name of a layer's class."""
    factory = getattr(layer, "cls", None) or type(layer)
    return str(getattr(factory, "__name__", ""))


def has_handlers(layer: Any) -> bool:
    """Whether this knows how to look for handlers there."""
    return hasattr(layer, "view_functions") or hasattr(layer, "endpoint")


def marked_in(layers: list[Any]) -> Iterator[Marked]:
    """Yield the marked handlers, each once."""
    seen = set[int]()
    for layer in layers:
        for handler, methods in _handlers(layer):
            mark = mark_of(handler)
            if mark is not None and id(handler) not in seen:
                seen.add(id(handler))
                yield described(mark, methods)


def described(mark: Mark, methods: frozenset[str]) -> Marked:
    """Return what is to be known of a mark whose handler is reached by these methods."""
    deferred = methods & mark.methods if mark.methods else methods
    return Marked(
        name=mark.name or "",
        methods=deferred - {"HEAD", "OPTIONS"},
        repeatable=bool(mark.repeatable),
        retries=mark.retries or 0,
    )


def _handlers(layer: Any) -> Iterator[tuple[Any, frozenset[str]]]:
    if hasattr(layer, "view_functions"):  # Flask's
        for rule in layer.url_map.iter_rules():
            view = layer.view_functions.get(rule.endpoint)
            yield from _of_view(getattr(view, "view_class", view), frozenset(rule.methods or ()))
    elif hasattr(layer, "endpoint"):  # a route of Starlette or FastAPI
        yield from _of_view(layer.endpoint, frozenset(getattr(layer, "methods", None) or ()))


def _of_view(view: Any, methods: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    if not inspect.isclass(view):
        yield view, methods
        return
    for name in METHODS:
        yield getattr(view, name, None), frozenset({name.upper()})
