"""The options of a middleware: keywords, and an environment variable ``DEFERIT_<NAME>`` for each."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pkgutil import resolve_name
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from deferit._core.commands import Limits
from deferit._core.http import Request, is_host
from deferit._core.policy import Defaults, Mode, Routes, mode, routes_from, seconds, unknown
from deferit._schedule import mark_from_text
from deferit.callbacks import Callbacks, callbacks_from_text
from deferit.exceptions import OptionError
from deferit.executors import executor_from_text
from deferit.executors.base import Dispatcher, Executor
from deferit.stores import store_from_url
from deferit.stores.base import Store
from deferit.stores.encrypted import EncryptedStore

OwnerOf = Callable[[Request], str | None]
IsOperator = Callable[[Request], bool]

PREFIX = "DEFERIT_"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `ASGIMiddleware` and `WSGIMiddleware` take, checked and in their final types.

    Args:
        store: where jobs are kept: a URL or a `deferit.stores.base.Store`.
        executor: where handlers run: None for this process's event loop or threads, ``worker`` for processes beside
            this one (`deferit work`), ``processes`` for children of this one, ``inline`` for tests, or an
            `deferit.executors.base.Executor` or `deferit.executors.base.Dispatcher`.
        application: the name under which this application's jobs are kept, if several share one store.
        routes: routes that are deferred without a mark, as ``["POST /reports", "GET /export/*"]`` or as a mapping of
            such texts to their marks.
        mode: when marked handlers are deferred: ``always``, ``prefer`` (if the client asks for it) or ``auto`` (if they
            do not end in time).
        wait: in mode ``auto``, seconds to wait for the end before a 202 is answered.
        max_wait: seconds for which ``Prefer: wait`` is honoured at the most.
        prefix: the path under which monitors and results are mounted.
        base_url: the application's public URL with any root path, without ``prefix``; None: as each request says.
        owner: a function of the captured `Request` that returns to whom a job belongs, a text or None.
        operator: a function of the captured `Request` that returns True for who may see and cancel everybody's jobs.
        concurrency: how many jobs run at once in a process.
        max_queue: how many jobs may wait in the store, of all processes; None: any number.
        max_jobs_per_owner: how many jobs an owner may have in the store that are not finished; None: any number.
        max_body: bytes of a deferred request's body at the most.
        max_result: bytes of a handler's response at the most.
        retention: seconds for which a finished job is kept.
        lease: seconds after which a worker that gives no sign is taken for lost.
        grace: seconds that running jobs are given to end when the process is asked to stop.
        encrypt: Fernet keys with which requests and results are encrypted in the store, as a list or with commas
            between: the first encrypts, all decrypt; None: they are not encrypted.
        callbacks: who may be told by a request when a job is finished: a mapping from the beginnings of URLs to signing
            secrets, or `deferit.callbacks.Callbacks`; None: nobody.
        native: whether the application routes to monitors and results itself; see `deferit.frameworks.flask.mount`.
        set_cookie: whether the result route replays the handler's ``Set-Cookie``.

    Raises:
        OptionError: a name or a value that cannot be used; the text says what to write instead.
    """

    store: Store = field(default="sqlite:///deferit.db")  # type: ignore[assignment]  # __post_init__ opens the URL
    executor: Executor | Dispatcher | None = None
    application: str = "default"
    routes: Routes = field(default=())  # type: ignore[assignment]  # __post_init__ reads the texts
    mode: Mode = Mode.ALWAYS
    wait: float = 1.0
    max_wait: float = 30.0
    prefix: str = "/jobs"
    base_url: str | None = None
    owner: OwnerOf | None = None
    operator: IsOperator | None = None
    concurrency: int = 8
    max_queue: int | None = 10_000
    max_jobs_per_owner: int | None = None
    max_body: float = 1024**3
    max_result: float = 1024**3
    retention: float = 86_400.0
    lease: float = 15.0
    grace: float = 10.0
    encrypt: tuple[str, ...] = field(default=(), repr=False)
    callbacks: Callbacks | None = None
    native: bool = False
    set_cookie: bool = False

    def __post_init__(self) -> None:
        for name, read in _READERS.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        if self.encrypt and not isinstance(self.store, EncryptedStore):
            object.__setattr__(self, "store", EncryptedStore(self.store, self.encrypt))
        if isinstance(self.executor, Dispatcher) and not self.store.is_shared:
            raise OptionError(
                f"the executor has other processes run handlers, and they cannot see into store={self.store.url!r}; "
                "use for example 'sqlite:///deferit.db'"
            )

    @cached_property
    def defaults(self) -> Defaults:
        """What applies where a mark says nothing."""
        return Defaults(self.mode, self.wait, self.max_wait, self.retention)

    @cached_property
    def limits(self) -> Limits:
        """How many jobs there may be."""
        return Limits(self.max_queue, self.max_jobs_per_owner)


def options_from(keywords: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Options:
    """Return the options that keywords and the environment give; a keyword wins.

    Raises:
        OptionError: a name or a value that cannot be used.
    """
    known = [option.name for option in fields(Options)]
    for name in keywords:
        if name not in known:
            raise OptionError(unknown("option", name, known))
    given: dict[str, Any] = {
        name: environ[PREFIX + name.upper()] for name in known if PREFIX + name.upper() in environ
    }
    return Options(**{**given, **keywords})


def _store(_name: str, value: object) -> Store:
    if isinstance(value, Store):
        return value
    if isinstance(value, str):
        return store_from_url(value)
    msg = f"store={value!r} is neither a URL like 'sqlite:///jobs.db' nor a store"
    raise OptionError(msg)


def _executor(_name: str, value: object) -> Executor | Dispatcher | None:
    if value is None or isinstance(value, Executor | Dispatcher):
        return value
    if isinstance(value, str):
        return executor_from_text(value)
    msg = f"executor={value!r} is neither None (handlers run in this process) nor a text nor an executor"
    raise OptionError(msg)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        msg = f"{name}={value!r} is not a name: write a short text"
        raise OptionError(msg)
    return value


def _routes(_name: str, value: object) -> Routes:
    return value if isinstance(value, Routes) else routes_from(value, mark_from_text)


def _mode(_name: str, value: object) -> Mode:
    return mode(value)


def _number(name: str, value: object) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            msg = f"{name}={value!r} is not a number; write for example {name}=60, or {PREFIX}{name.upper()}=60"
            raise OptionError(msg) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name}={value!r} is not a number"
        raise OptionError(msg)
    return value


def _seconds(name: str, value: object) -> float:
    number = _number(name, value)
    seconds(name, number)
    return float(number)


def _positive_seconds(name: str, value: object) -> float:
    number = _seconds(name, value)
    if number < 1:
        msg = f"{name}={value!r} is too short: write one second or more"
        raise OptionError(msg)
    return number


def _count(name: str, value: object) -> int:
    number = _number(name, value)
    if not math.isfinite(number) or number != int(number) or number < 1:
        msg = f"{name}={value!r} is not a whole number of at least 1"
        raise OptionError(msg)
    return int(number)


def _count_or_none(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, str) and value.lower() in {"", "none"}):
        return None
    return _count(name, value)


def _flag(name: str, value: object) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    found = value if isinstance(value, bool) else words.get(str(value).lower())
    if found is None:
        msg = f"{name}={value!r} is neither true nor false"
        raise OptionError(msg)
    return found


def _path(name: str, value: object) -> str:
    if not isinstance(value, str) or not _PATH.fullmatch(value) or not value.strip("/"):
        msg = f"{name}={value!r} is not a path such as '/jobs', of letters, digits and punctuation that URLs have"
        raise OptionError(msg)
    return value.rstrip("/")


_PATH = re.compile(r"/[0-9A-Za-z._~!$&'()*+,;=:@/-]*")


def _url(name: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        parts = None
    if parts is None or not _is_root(parts):
        msg = f"{name}={value!r} is not the application's URL; write for example 'https://example.com/api'"
        raise OptionError(msg)
    return parts.geturl().rstrip("/")


def _is_root(parts: SplitResult) -> bool:
    """Whether a URL can stand in front of others, in a header field too."""
    if parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        return False
    return is_host(parts.netloc) and (not parts.path or _PATH.fullmatch(parts.path) is not None)


def _owner(name: str, value: object) -> OwnerOf | None:
    return cast("OwnerOf | None", _function(name, value, "a text or None"))


def _operator(name: str, value: object) -> IsOperator | None:
    return cast("IsOperator | None", _function(name, value, "True or False"))


def _function(name: str, value: object, returns: str) -> object:
    if isinstance(value, str):
        try:
            value = resolve_name(value)
        except (ImportError, AttributeError, ValueError) as exc:
            msg = f"{name}={value!r} cannot be imported ({exc}); write 'package.module:function'"
            raise OptionError(msg) from exc
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        msg = f"{name}={value!r} is not a plain function (not async) of the request that returns {returns}"
        raise OptionError(msg)
    return value


def _encrypt(name: str, value: object) -> tuple[str, ...]:
    if value is None or value == ():
        return ()
    given = value.split(",") if isinstance(value, str) else value
    keys = [_key(item) for item in given] if isinstance(given, list | tuple) else []
    if not keys or not all(keys):
        msg = (
            f"{name}= names no Fernet key, or has something else among its keys; write what "
            "cryptography.fernet.Fernet.generate_key() gives, or leave it out if nothing is to be encrypted"
        )
        raise OptionError(msg)
    return tuple(keys)


def _key(value: object) -> str:
    """Return a key as text, empty if it is none; no message may show it."""
    if isinstance(value, bytes):
        return value.decode("ascii", "replace").strip()
    return value.strip() if isinstance(value, str) else ""


def _callbacks(name: str, value: object) -> Callbacks | None:
    if value is None or isinstance(value, Callbacks):
        return value
    if isinstance(value, str):
        return callbacks_from_text(value) if value else None
    if isinstance(value, Mapping):
        return Callbacks(value)
    msg = (
        f"{name}= is neither a mapping like {{'https://hooks.example.com/': 'whsec_…'}} "
        "nor a deferit.callbacks.Callbacks"
    )
    raise OptionError(msg)


_READERS: dict[str, Callable[[str, Any], object]] = {
    "store": _store,
    "executor": _executor,
    "application": _text,
    "routes": _routes,
    "mode": _mode,
    "wait": _seconds,
    "max_wait": _seconds,
    "prefix": _path,
    "base_url": _url,
    "owner": _owner,
    "operator": _operator,
    "concurrency": _count,
    "max_queue": _count_or_none,
    "max_jobs_per_owner": _count_or_none,
    "max_body": _count,
    "max_result": _count,
    "retention": _positive_seconds,
    "lease": _positive_seconds,
    "grace": _seconds,
    "encrypt": _encrypt,
    "callbacks": _callbacks,
    "native": _flag,
    "set_cookie": _flag,
}
