"""Which requests are deferred, and how: marks, configured routes and what a client prefers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from deferit._core.http import Request, Response
from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deferit._core.prefer import Prefer

NEVER_DEFERRED = frozenset({"HEAD", "OPTIONS"})

IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})
"""Methods whose handlers are safe to repeat (RFC 9110 §9.2.2)."""

Refusal = None | int | tuple[int, str] | Response
AcceptHook = Callable[[Request], Refusal]


class Mode(StrEnum):
    """When a marked handler is deferred."""

    ALWAYS = "always"
    """202 at once."""
    PREFER = "prefer"
    """Only if the client sends ``Prefer: respond-async``."""
    AUTO = "auto"
    """Only if the handler does not end in time."""


class Schedule(Protocol):
    """When windows open."""

    def next_after(self, now: float) -> float:
        """Return the instant of the next one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a decorator or a route says of a handler; None means: as the middleware's option says.

    Args:
        methods: the methods that are deferred; None means all but HEAD and OPTIONS.
        accept: a function of the captured `Request` that may refuse: it returns None, a status code, a status code
            with a sentence, or a `Response`.
        mode: ``always``, ``prefer`` or ``auto``.
        wait: in mode ``auto``, seconds to wait for the end before a 202 is answered, unless the client says otherwise.
        timeout: seconds that one attempt may take; a longer one is ended, and its job fails. None: any number.
        retries: how many more times the handler is tried after it has raised, or has answered an error with
            ``Retry-After``.
        repeatable: whether the handler may be started again after its worker was lost; None means: if the method is
            idempotent, or there are ``retries``.
        concurrency: how many jobs of this route may run at once, in all processes that share the store.
        retention: seconds for which the finished job is kept.
        schedule: a cron expression of five fields, with or without a time zone behind it (``0 2 * * * Europe/Rome``;
            without one it is UTC): jobs are accepted at any time and started in the next window.
        coalesce: whether identical requests in flight share one job.
        name: what the route is called in records and estimates.

    Raises:
        OptionError: a value that cannot be used.
    """

    methods: frozenset[str] | None = None
    accept: AcceptHook | None = None
    mode: Mode | None = None
    wait: float | None = None
    timeout: float | None = None
    retries: int = 0
    repeatable: bool | None = None
    concurrency: int | None = None
    retention: float | None = None
    schedule: Schedule | None = None
    coalesce: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if given is not field.default:
                object.__setattr__(self, field.name, _READERS[field.name](field.name, given))
        if self.schedule is not None and self.mode is Mode.AUTO:
            msg = "schedule= and mode='auto' exclude each other: a job that waits for its window ends in no time"
            raise OptionError(msg)

    def is_repeatable(self, method: str) -> bool:
        """Whether a job for this method may be started again after its worker was lost."""
        if self.repeatable is not None:
            return self.repeatable
        return method in IDEMPOTENT or self.retries > 0


def _methods(_name: str, value: Any) -> frozenset[str]:
    return methods(value)


def _hook(name: str, value: object) -> object:
    if not callable(value) or inspect.iscoroutinefunction(value):
        msg = f"{name}={value!r} is not a function of the request; an async one cannot be awaited here"
        raise OptionError(msg)
    return value


def _mode(_name: str, value: object) -> Mode:
    return mode(value)


def _seconds(name: str, value: object) -> object:
    seconds(name, value)
    return value


def _some_seconds(name: str, value: object) -> object:
    if value == 0:
        msg = f"{name}=0 leaves the handler no time; write a number of seconds, or None"
        raise OptionError(msg)
    return _seconds(name, value)


def _whole(name: str, value: object, least: int = 0) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{name}={value!r} is not a whole number of at least {least}"
        raise OptionError(msg)
    return value


def _one_that(fits: Callable[[object], bool], complaint: str) -> Callable[[str, object], object]:
    """Return what checks a value, and otherwise complains of it."""

    def check(name: str, value: object) -> object:
        if not fits(value):
            msg = f"{name}={value!r} is {complaint}"
            raise OptionError(msg)
        return value

    return check


_truth = _one_that(lambda value: isinstance(value, bool), "neither True nor False")
_READERS: dict[str, Callable[[str, Any], object]] = {
    "methods": _methods,
    "accept": _hook,
    "mode": _mode,
    "wait": _seconds,
    "timeout": _some_seconds,
    "retries": _whole,
    "repeatable": _truth,
    "concurrency": partial(_whole, least=1),
    "retention": _seconds,
    "schedule": _one_that(
        lambda value: hasattr(value, "next_after"),
        "not a cron expression; write five fields, for example '0 2 * * *'",
    ),
    "coalesce": _truth,
    "name": _one_that(lambda value: isinstance(value, str), "not a name: write a short text"),
}


class Defaults(msgspec.Struct, frozen=True, gc=False):
    """What the middleware's options say where a mark does not."""

    mode: Mode = Mode.ALWAYS
    wait: float = 1.0
    max_wait: float = 30.0
    retention: float = 86_400.0


class Deferral(msgspec.Struct, frozen=True, gc=False):
    """The decision to defer: how long to wait for the end before the 202.

    ``is_tried`` says that nothing is stored until then.
    """

    wait: float
    prefer: Prefer
    is_tried: bool = False


def decide(mark: Mark, defaults: Defaults, method: str, prefer: Prefer) -> Deferral | None:
    """Return how a request to a marked handler is deferred, or None if it is answered synchronously."""
    if not applies(mark, method):
        return None
    mode = mark.mode or defaults.mode
    if mode is Mode.AUTO and mark.schedule is not None:
        mode = Mode.ALWAYS  # a job that waits for its window ends in no time
    if mode is Mode.PREFER and not prefer.respond_async:
        return None
    wait = _wait(mark, defaults, prefer, mode)
    return Deferral(wait, prefer, is_tried=mode is Mode.AUTO and wait > 0)


def applies(mark: Mark, method: str) -> bool:
    """Whether a mark speaks of a method at all."""
    return method not in NEVER_DEFERRED and (mark.methods is None or method in mark.methods)


def _wait(mark: Mark, defaults: Defaults, prefer: Prefer, mode: Mode) -> float:
    if prefer.wait is not None:
        return min(float(prefer.wait), defaults.max_wait)
    if prefer.respond_async or mode is not Mode.AUTO:
        return 0.0
    return mark.wait if mark.wait is not None else defaults.wait


def mark_from(options: Mapping[str, Any]) -> Mark:
    """Return the mark that keyword options describe.

    Raises:
        OptionError: a name or a value that cannot be used.
    """
    if not isinstance(options, Mapping):
        msg = f"{options!r} are no marks; write a mapping of their names to values, for example {{'wait': 2}}"
        raise OptionError(msg)
    known = [field.name for field in fields(Mark)]
    for name in options:
        if name not in known:
            raise OptionError(unknown("mark", name, known))
    return Mark(**options)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence that says that there is no such option, and which one may be meant."""
    import difflib  # noqa: PLC0415  load only what is used

    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"there is no {kind} {name!r}; {hint}there are: {', '.join(known)}"


def mode(value: object) -> Mode:
    """Return a mode by its name."""
    try:
        return Mode(str(value))
    except ValueError:
        msg = f"mode={value!r} is none of {', '.join(repr(item.value) for item in Mode)}"
        raise OptionError(msg) from None


def methods(value: str | Iterable[str]) -> frozenset[str]:
    """Return method names in capitals, from a comma-separated text or a collection."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple | set | frozenset) or not names:
        msg = f"methods={value!r} names no methods; write for example 'GET,POST'"
        raise OptionError(msg)
    found = frozenset(str(name).strip().upper() for name in names)
    for name in found:
        if not re.fullmatch(r"[A-Z][A-Z0-9_-]*", name):
            msg = f"methods={value!r}: {name!r} is not the name of a method; write for example 'GET,POST'"
            raise OptionError(msg)
    if found & NEVER_DEFERRED:
        msg = f"methods={value!r}: HEAD and OPTIONS are never deferred; leave them out"
        raise OptionError(msg)
    return found


LONGEST = 100 * 365 * 86_400.0
"""A hundred years in seconds: what calendars and the timers of operating systems can still count."""


def seconds(name: str, value: object) -> None:
    """Check that an option is a number of seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        msg = f"{name}={value!r} is not a number of seconds, from zero to a hundred years"
        raise OptionError(msg)


class Route(msgspec.Struct, frozen=True, gc=False):
    """A configured route: methods (None: all that can be deferred), a path pattern and a mark."""

    methods: frozenset[str] | None
    path: str
    mark: Mark

    @property
    def is_literal(self) -> bool:
        """Whether the path is one path and not a pattern."""
        return not _WILD.search(self.path)

    @property
    def label(self) -> str:
        """What the route is called in records."""
        names = "*" if self.methods is None else ",".join(sorted(self.methods))
        return self.mark.name or f"{names} {self.path}"


_WILD = re.compile(r"\*|\{[^/{}]*\}")
_ROUTE = re.compile(r"\s*(\*|[A-Za-z][A-Za-z0-9_-]*(?:\s*,\s*[A-Za-z][A-Za-z0-9_-]*)*)\s+(/\S*)\s*")


class Routes:
    """Finds the configured route of a request: literal paths by a look-up, patterns in their order."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Keep the routes; the first that fits a request counts."""
        self._literal: dict[str, list[Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if route.is_literal:
                self._literal.setdefault(route.path, []).append(route)
            else:
                self._patterns.append((_pattern(route.path), route))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._literal or self._patterns)

    def __iter__(self) -> Iterator[Route]:
        """Yield them all: those of literal paths first."""
        for routes in self._literal.values():
            yield from routes
        for _, route in self._patterns:
            yield route

    def find(self, method: str, path: str) -> Route | None:
        """Return the route that a request fits, or None.

        HEAD fits where GET does: it is never deferred, but its answer has the fields of GET's (RFC 9110 §9.3.2).
        """
        if method == "HEAD":
            method = "GET"
        for route in self._literal.get(path, ()):
            if _allows(route, method):
                return route
        for pattern, route in self._patterns:
            if _allows(route, method) and pattern.fullmatch(path):
                return route
        return None


def _allows(route: Route, method: str) -> bool:
    if method in NEVER_DEFERRED or not applies(route.mark, method):
        return False
    return route.methods is None or method in route.methods


def _pattern(path: str) -> re.Pattern[str]:
    """Return the expression for a path: ``*`` is anything, ``{name}`` one segment.

    What stands between two ``*`` is looked for where it comes first, and that is final (an atomic group): no other
    place would do better, and to try them all for each star could take hours for a long path.
    """
    first, *others = map(_part, _between_stars(path))
    if not others:
        return re.compile(first, re.DOTALL)
    *between, last = others
    found = "".join(f"(?>.*?{part})" for part in between)
    return re.compile(f"{first}{found}.*{last}", re.DOTALL)


def _between_stars(path: str) -> list[list[str]]:
    """Return the literals of a path between its wild parts, those between two ``*`` as one list."""
    lists: list[list[str]] = [[]]
    position = 0
    for wild in _WILD.finditer(path):
        lists[-1].append(path[position : wild.start()])
        if wild[0] == "*":
            lists.append([])
        position = wild.end()
    lists[-1].append(path[position:])
    return lists


def _part(literals: list[str]) -> str:
    """Return the expression for literals with one segment, or some of one, between them."""
    first, *others = map(re.escape, literals)
    if not others:
        return first
    *between, last = others
    return first + "".join(f"(?>[^/]+?{literal})" for literal in between) + f"[^/]+?{last}"


def routes_from(value: object, read: Callable[[Mapping[str, Any]], Mark] = mark_from) -> Routes:
    """Return the configured routes that the option ``routes`` describes.

    It is a collection of texts like ``"POST /reports"``, or a mapping from such texts to their marks; in the
    environment the texts are separated by commas. ``read`` makes marks of what the mapping says.

    Raises:
        OptionError: a route that cannot be read.
    """
    if isinstance(value, str):
        value = _texts(value)
    if isinstance(value, dict):
        return Routes(_route(text, read(marks)) for text, marks in value.items())
    if not isinstance(value, list | tuple | set | frozenset):
        msg = f"routes={value!r} is not a list; write for example routes=['POST /reports', 'GET /export/*']"
        raise OptionError(msg)
    return Routes(_route(text, Mark()) for text in value)


def _texts(value: str) -> list[str]:
    """Return the routes of a comma-separated text; a comma in front of the first slash is between two methods."""
    texts = re.findall(r"[^/]*/[^,]*,?", value)
    rest = value[sum(map(len, texts)) :]
    return [text.removesuffix(",") for text in texts] + ([rest] if rest.strip() else [])


def _route(text: object, mark: Mark) -> Route:
    match = _ROUTE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = (
            f"the route {text!r} cannot be read; write one or more methods or '*', a space and a path that begins "
            "with '/', for example 'POST /reports', 'GET,POST /export/*' or '* /*'"
        )
        raise OptionError(msg)
    names, path = match.groups()
    return Route(None if names == "*" else methods(names), path, mark)
