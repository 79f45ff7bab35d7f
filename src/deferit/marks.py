"""`deferred`: marks a handler."""

from __future__ import annotations

import functools
import inspect
import warnings
from contextlib import suppress
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload
from weakref import WeakSet

from deferit._core.policy import Mark
from deferit._schedule import mark_from_text
from deferit.context import RunningJob, current
from deferit.exceptions import HOW_TO_WRAP, OptionError
from deferit.frameworks import placeholder

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

MARK = "__deferit_mark__"
"""The attribute by which a marked handler is known."""


@overload
def deferred(handler: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def deferred(**marks: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def deferred(handler: Callable[..., Any] | None = None, /, **marks: Any) -> Any:
    """Mark a handler: its requests are answered with 202 and it runs afterwards, away from them.

    It stands next to the handler, below the decorator that routes it: a sync or async function, or a method of a
    class-based view. Without a middleware around the application the handler just runs, with one warning.

    Args:
        handler: the handler, where the decorator is used without parentheses.
        marks: see `deferit._core.policy.Mark`: ``methods``, ``accept``, ``mode``, ``wait``, ``timeout``,
            ``retries``, ``repeatable``, ``concurrency``, ``retention``, ``schedule``, ``coalesce``, ``name``.

    Raises:
        OptionError: a mark that cannot be used, or something that is not a handler.
    """
    mark = mark_from_text(marks)
    return _marked(handler, mark) if handler is not None else functools.partial(_marked, mark=mark)


def mark_of(handler: object) -> Mark | None:
    """Return the mark of a handler, None if it has none."""
    found = getattr(handler, MARK, None)
    return found if isinstance(found, Mark) else None


def is_marked_elsewhere(handler: object) -> bool:
    """Whether this is a handler itself, without the mark that it has been given."""
    return isinstance(handler, FunctionType) and handler in _bare


def _marked(handler: Callable[..., Any], mark: Mark) -> Callable[..., Any]:
    _refuse_what_is_no_handler(handler)
    mark = mark if mark.name else _named(mark, handler)
    wrapper = _async_wrapper(handler, mark) if _is_async(handler) else _wrapper(handler, mark)
    setattr(wrapper, MARK, mark)
    if isinstance(handler, FunctionType):
        _bare.add(handler)
    _keep_signature(wrapper, handler)
    return wrapper


def _keep_signature(wrapper: Callable[..., Any], handler: Callable[..., Any]) -> None:
    """Resolve annotations where they were written: some frameworks look for their names around the wrapper."""
    with suppress(Exception):  # a name that exists for type checkers only
        setattr(wrapper, "__signature__", inspect.signature(handler, eval_str=True))  # noqa: B010  mypy knows no such attribute


def _wrapper(handler: Callable[..., Any], mark: Mark) -> Callable[..., Any]:
    @functools.wraps(handler)
    def marked(*args: Any, **kwargs: Any) -> Any:
        if _defers(mark, handler):
            return placeholder(args)
        try:
            return handler(*args, **kwargs)
        except BaseException as exc:
            _note(exc)
            raise

    return marked


def _async_wrapper(handler: Callable[..., Any], mark: Mark) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def marked(*args: Any, **kwargs: Any) -> Any:
        if _defers(mark, handler):
            return placeholder(args)
        try:
            return await handler(*args, **kwargs)
        except BaseException as exc:
            _note(exc)
            raise

    return marked


def _defers(mark: Mark, handler: Callable[..., Any]) -> bool:
    found = current.get()
    if found is None:
        _warn_once(handler)
        return False
    return found.defers(mark)


def _note(exc: BaseException) -> None:
    found = current.get()
    if isinstance(found, RunningJob):
        found.has_raised(exc)


_bare: WeakSet[FunctionType] = WeakSet()
"""Functions that have been marked: what is routed ought to be what came of that."""

_warned: dict[int, object] = {}
"""Those that were warned about; they are kept, so that no other one gets the same id."""


def _warn_once(handler: Callable[..., Any]) -> None:
    if id(handler) in _warned:
        return
    _warned[id(handler)] = handler
    name = getattr(handler, "__qualname__", repr(handler))
    warnings.warn(
        f"{name} is marked @deferred, but no deferit middleware is around the application, so it runs as if it were "
        f"not marked; add {HOW_TO_WRAP}",
        RuntimeWarning,
        stacklevel=4,
    )


def _refuse_what_is_no_handler(handler: object) -> None:
    if inspect.isclass(handler):
        msg = f"@deferred marks functions and methods; {handler.__name__} is a class: mark its methods instead"
        raise OptionError(msg)
    if not callable(handler):
        msg = f"@deferred marks a handler; {handler!r} is none: it stands below the decorator that routes the handler"
        raise OptionError(msg)
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        name = getattr(handler, "__qualname__", repr(handler))
        msg = f"@deferred marks a handler that returns its response; {name} is a generator: mark the view it belongs to"
        raise OptionError(msg)


def _is_async(handler: Callable[..., Any]) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    call = getattr(handler, "__call__", None)  # noqa: B004  the method is looked at, not called
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)


def _named(mark: Mark, handler: Callable[..., Any]) -> Mark:
    module = getattr(handler, "__module__", None)
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return replace(mark, name=f"{module}.{name}" if module else cast("str", name))
