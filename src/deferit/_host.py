"""Hosts an application in a process that is not its web server's, to run its jobs there."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import anyio

from deferit._loops import current_loop, run
from deferit.exceptions import HOW_TO_WRAP, OptionError, StartupFailed, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deferit._loops import Loop

logger = logging.getLogger("deferit")

T = TypeVar("T")

HOSTING = "deferit.hosting"
"""The entry of a lifespan's scope by which the middleware knows that its server is a host: a `Callable[[Hosted]]`."""

LAST_WORDS = 1.0
"""Seconds that the thread of a lifespan has to end once the application has refused to start, or says it has ended."""

MOST_LOOKED_AT = 1_000
"""Objects that are looked at in search of a middleware."""


class Hosted(ABC):
    """A middleware as its host sees it."""

    interface: str
    application: str

    @property
    @abstractmethod
    def store_url(self) -> str:
        """Where its jobs are, without secrets."""

    @property
    @abstractmethod
    def concurrency(self) -> int:
        """How many jobs it claims at once in this process."""

    @property
    @abstractmethod
    def is_serving(self) -> bool:
        """Whether it has begun in this process, as that of a web server."""

    @abstractmethod
    def host(self, concurrency: int | None) -> None:
        """Be in a process that is no web server's: claim so many jobs at once, or with None only those that are told.

        0 means as many as the option ``concurrency`` says. Called before anything else is asked of it.

        Raises:
            OptionError: its store is not shared with other processes.
        """

    @abstractmethod
    def open(self) -> None:
        """Open the store and begin.

        Raises:
            StoreUnavailable: the store cannot be opened.
        """

    @abstractmethod
    def run(self, job_id: str, claimed: Callable[[int], object]) -> None:
        """Claim a job by its id, run it in this process, and return when the store knows how it ended.

        ``claimed`` is told the attempt. Nothing happens if the job does not wait: somebody else has it, or it was
        canceled.
        """

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether nothing runs here, and no job waits that could."""

    @property
    @abstractmethod
    def has_unwanted(self) -> bool:
        """Whether a handler runs here that was told to stop."""

    @abstractmethod
    def close(self) -> None:
        """Let running jobs end within the option ``grace``, and give back the rest."""


class Host:
    """An application that was imported to have its jobs run, started as a server would: with its lifespan, for ASGI."""

    def __init__(self, target: str, concurrency: int | None = None) -> None:
        """Run the jobs of what ``target`` names; see `Hosted.host` for ``concurrency``."""
        self.target = target
        self._concurrency = concurrency
        self._hosted: Hosted | None = None
        self._lifespan: _Lifespan | None = None

    @property
    def hosted(self) -> Hosted:
        """The middleware; once `start` has returned."""
        assert self._hosted is not None
        return self._hosted

    def start(self) -> None:
        """Import the application and begin.

        Raises:
            OptionError: the target cannot be imported, or has no middleware of deferit.
            StartupFailed: the application refuses to start.
            StoreUnavailable: the store cannot be opened.
        """
        app = load(self.target)
        found = find(app)
        if found is not None and found.is_serving:
            self._hosted = found  # this process is the web server's
            return
        if is_asgi(app) and (found is None or found.interface == "asgi"):
            self._lifespan = _Lifespan(self.target, app, self._host)
            self._lifespan.start()
        if self._hosted is None:
            self._host(found or find(app))
        self.hosted.open()

    def _host(self, found: Hosted | None) -> None:
        if found is None:
            raise OptionError(
                f"{self.target} has no deferit middleware around it; name the application that has one, "
                f"or add it: {HOW_TO_WRAP}"
            )
        found.host(self._concurrency)
        self._hosted = found

    def close(self) -> None:
        """Let running jobs end within the option ``grace``, give back the rest, and end the lifespan."""
        self.give_back()
        if self._lifespan:
            self._lifespan.close()

    def give_back(self) -> None:
        """Do the same, but leave the lifespan alone: its start-up may not come to an end."""
        if self._hosted:
            self._hosted.close()


# --- running one job -------------------------------------------------------------------------------------------------

_hosts: dict[tuple[int, str], Host] = {}
_lock = threading.Lock()


def run_job(target: str, job_id: str, claimed: Callable[[int], object] = lambda _: None) -> None:
    """Run one job of the application that ``target`` names; what executors have other processes call.

    The application is imported and started by the first call in a process.
    """
    host_of(target).hosted.run(job_id, claimed)


def host_of(target: str) -> Host:
    """Return the host of an application in this process, which is started by the first who asks."""
    key = os.getpid(), target  # nothing that was started survives a fork
    with _lock:
        if key not in _hosts:
            _hosts[key] = _started(target)
        return _hosts[key]


def _started(target: str) -> Host:
    """Return a new host; of one that cannot start nothing is left, so that the next try is a whole one."""
    host = Host(target)
    try:
        host.start()
    except BaseException:
        host.close()
        raise
    return host


def close_hosts(**_: object) -> None:
    """Give back what runs in this process, as it is about to end."""
    for (pid, _target), host in list(_hosts.items()):
        if pid == os.getpid():
            host.close()


# --- finding ---------------------------------------------------------------------------------------------------------


def load(target: str) -> Any:
    """Return what ``module:name`` names; ``module:name()`` is a function that makes it.

    Raises:
        OptionError: there is no such module, or no such name in it; what the module itself raises comes through.
    """
    module_name, separator, path = target.partition(":")
    if not separator or not module_name or not path or module_name.startswith("."):
        raise OptionError(
            f"{target!r} names no application; write module:name, as in orders.web:app"
        )
    found = _imported(target, module_name)
    try:
        for name in path.removesuffix("()").split("."):
            found = getattr(found, name)
    except AttributeError as exc:
        raise OptionError(f"{target!r} cannot be imported: {exc}") from exc
    return found() if path.endswith("()") else found


def _imported(target: str, name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise  # one that it imports in turn
        raise OptionError(f"{target!r} cannot be imported: {exc}") from exc


def is_asgi(app: object) -> bool:
    """Whether an application is called as ASGI has it (version 3), by the same signs as servers go by."""
    call = getattr(type(app), "__call__", None)  # noqa: B004  the method is looked at, not called
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call)


def find(app: object) -> Hosted | None:
    """Return the middleware that an application is wrapped in, or has inside: the first one that can be come to."""
    seen: set[int] = set()
    ahead = [app]
    for looked_at in ahead:
        if _is(looked_at, Hosted):  # type: ignore[type-abstract]  # a subclass is meant
            return looked_at
        for inner in _wrapped_by(looked_at):
            if id(inner) not in seen and len(ahead) < MOST_LOOKED_AT:
                seen.add(id(inner))
                ahead.append(inner)
    return None


def name_of(hosted: Hosted) -> str | None:
    """Return ``module:name`` of the application that has a middleware, None if it stands in no module."""
    for module_name, module in list(sys.modules.items()):
        if module_name in {"__main__", "__mp_main__"} or not _is(module, ModuleType):
            continue
        for name, value in list(vars(module).items()):
            if _may_be_an_application(value) and find(value) is hosted:
                return f"{module_name}:{name}"
    return None


def _may_be_an_application(value: object) -> bool:
    is_plain = any(
        _is(value, kind) for kind in (type, BuiltinFunctionType, FunctionType, ModuleType)
    )
    return not is_plain and callable(value) and bool(_wrapped_by(value))


def _is(value: object, kind: type[T]) -> TypeGuard[T]:
    """Whether something itself is of a kind; isinstance() would have a lazy proxy make what it stands for."""
    return issubclass(type(value), kind)


def _wrapped_by(value: object) -> list[object]:
    """Return the callables that an object holds: those that it may pass a request on to."""
    return [inner for inner in _held_by(value) if callable(inner) and not _is(inner, type)]


def _held_by(value: object) -> Iterator[object]:
    if _is(value, MethodType):
        yield value.__self__
    elif _is(value, partial):
        yield value.func
    if _is(value, FunctionType):
        yield from _used_by(value)
    yield from _attributes(value)


def _used_by(function: FunctionType) -> Iterator[object]:
    """Yield what a function's names stand for: those around it, and those of its module."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name that was not bound yet
            yield cell.cell_contents
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield function.__globals__[name]


def _attributes(value: object) -> list[object]:
    """Return what an object itself holds; proxies, as of Flask's request, are not asked for what they stand for."""
    kinds = type(value).__mro__
    own = next((vars(kind)["__dict__"] for kind in kinds if "__dict__" in vars(kind)), None)
    if not isinstance(own, GetSetDescriptorType | MemberDescriptorType):  # a proxy has a property
        return []
    return list(own.__get__(value).values())


# --- ASGI's lifespan -------------------------------------------------------------------------------------------------


class _Lifespan:
    """The lifespan of an application, in an event loop of its own thread, in which its jobs run too."""

    def __init__(self, target: str, app: Any, found: Callable[[Hosted], object]) -> None:
        self._target = target
        self._app = app
        self._found = found
        self._failure: BaseException | None = None
        self._is_up = False
        self._ready = threading.Event()
        self._over = threading.Event()
        self._loop: Loop | None = None
        self._thread = threading.Thread(
            target=run, args=(self._live,), name="deferit-lifespan", daemon=True
        )

    def start(self) -> None:
        """Return once the application has started, or has shown that it knows no lifespan.

        Raises:
            OptionError: the middleware cannot work as it is configured.
            StartupFailed: it refuses.
            StoreUnavailable: the middleware cannot open its store.
        """
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join(
                LAST_WORDS
            )  # what it raises may say more than the text of its refusal
            raise self._failure

    def close(self) -> None:
        """End the lifespan, and wait for it, but not for threads of handlers that outlast the grace."""
        if self._loop is not None:
            self._loop.post(self._ending.set)
        self._over.wait(None if self._is_up else LAST_WORDS)
        self._thread.join(LAST_WORDS)

    async def _live(self) -> None:
        self._loop = current_loop()
        self._ending = anyio.Event()
        self._has_begun = False
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": {},
            HOSTING: self._found,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except (OptionError, StoreUnavailable) as exc:
            self._failure = exc
        except BaseException as exc:
            if self._is_up:
                logger.exception("%s: the lifespan has failed", self._target, exc_info=exc)
            elif not isinstance(exc, Exception):  # else the application knows none
                self._failure = StartupFailed(self._target, f"it raised {exc!r}")
        finally:
            self._ready.set()
            self._over.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._has_begun:
            self._has_begun = True
            return {"type": "lifespan.startup"}
        await self._ending.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "lifespan.startup.failed":
            reason = message.get("message") or "its start-up has failed"
            self._failure = StartupFailed(self._target, reason)
        self._is_up |= message["type"] == "lifespan.startup.complete"
        self._ready.set()
        if message["type"].startswith("lifespan.shutdown"):
            self._over.set()
