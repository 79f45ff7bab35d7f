"""What both middlewares are: options, an engine for each process, and what a request meets on its way."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Any

from deferit._core.document import Site
from deferit._core.effects import HookFailed, Replica
from deferit._core.flow import Submission, target
from deferit._core.http import OF_THE_SUBMITTER
from deferit._core.policy import decide
from deferit._core.prefer import NOTHING, Prefer, parse
from deferit._core.problems import problem
from deferit._core.visits import Visit
from deferit._host import Hosted, name_of
from deferit._process.engine import Engine, Hosting
from deferit._records import SCALARS, Captured, decode_captured, encode, plain
from deferit._spool import Spool
from deferit.context import Approach
from deferit.exceptions import OptionError
from deferit.executors.base import Dispatcher, Executor
from deferit.options import options_from

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from deferit._core.flow import Target
    from deferit._core.http import Pairs, Request, Response
    from deferit._core.policy import Deferral, Mark, Route
    from deferit._process.runs import Replayer

logger = logging.getLogger("deferit")

NOT_FOUND = 404

PLACEHOLDER = 202
"""The status code of what a marked handler returns in place of its response."""


class Middleware(Hosted):
    """Wraps an application; the constructor opens and starts nothing, so that a process may fork after it."""

    interface: str
    _is_warned = False
    is_new = True
    """Whether no request has come yet."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options_from(options)
        self._prefix = self.options.prefix
        self._routes = self.options.routes
        self._has_routes = bool(self._routes)
        self._owner_of = self.options.owner or default_owner
        self.application = f"{self.interface}:{self.options.application}"
        self._has_list = bool(self.options.owner or self.options.operator)
        self._engines: dict[int, Engine] = {}  # by process
        self._hosting: Hosting | None = None

    @property
    def engine(self) -> Engine:
        """The engine of this process; one that a parent process made stays its."""
        engine = self._engines.get(os.getpid())
        if engine is None:
            # In one step, as the first requests of a server with threads come together: there must not be two.
            engine = self._engines.setdefault(os.getpid(), self._new_engine())
        return engine

    def close(self) -> None:
        """End what runs in this process, within the option ``grace``; a later request starts anew."""
        engine = self._engines.get(os.getpid())
        if engine is not None:
            engine.close()
            self._engines.pop(os.getpid(), None)

    def _new_engine(self) -> Engine:
        given = self.options.executor
        executor = given if isinstance(given, Executor) else self._own_executor()
        options = replace(self.options, application=self.application)
        return Engine(options, executor, self._replayer(), self._elsewhere())

    def _elsewhere(self) -> Dispatcher | Hosting | None:
        """Return who runs the jobs, if it is not this process as they are accepted."""
        given = self.options.executor
        if self._hosting is not None or not isinstance(given, Dispatcher):
            return self._hosting
        if given.app is None:
            given.app = name_of(self)
        if given.app is None:
            raise OptionError(
                "executor='processes' has other processes import this application, which stands in no module that "
                "they could import; write 'processes:package.module:name'"
            )
        return given

    # --- in a process that is no web server's ------------------------------------------------------------------------

    @property
    def is_serving(self) -> bool:
        return os.getpid() in self._engines

    def host(self, concurrency: int | None) -> None:
        if not self.options.store.is_shared:
            raise OptionError(
                f"store={self.options.store.url!r} is each process's own, so there are no jobs in it to be run here; "
                "have this process and the web processes use the same file or server, for example 'sqlite:///jobs.db'"
            )
        self._hosting = Hosting(self.options.concurrency if concurrency == 0 else concurrency)

    @property
    def store_url(self) -> str:
        return self.options.store.url

    @property
    def concurrency(self) -> int:
        hosting = self._hosting
        return self.options.concurrency if hosting is None else hosting.concurrency or 0

    def open(self) -> None:
        self.engine.start()

    def run(self, job_id: str, claimed: Callable[[int], object]) -> None:
        self.engine.run(job_id, claimed)

    @property
    def is_idle(self) -> bool:
        return self.engine.is_idle

    @property
    def has_unwanted(self) -> bool:
        return self.engine.has_unwanted

    # --- the way of a request ----------------------------------------------------------------------------------------

    @abstractmethod
    def _own_executor(self) -> Executor:
        """Return a new executor of the kind that fits the web interface."""

    @abstractmethod
    def _replayer(self) -> Replayer:
        """Return what plays captured requests to the application."""

    def mounted(self, path: str) -> Target | None:
        """Return the mounted route that a path names, if it begins as one; None: the path is the application's."""
        return target(path, self._prefix, has_list=self._has_list)

    def decide(self, request: Request, mark: Mark) -> Deferral | None:
        """Return how a request to a marked handler is deferred, or None if it is answered synchronously."""
        return decide(mark, self.options.defaults, request.method, prefer_of(request))

    def warn_of_own_memory(self, response: Response) -> None:
        """Say once, where a job is unknown and the store is this process's own, that another process may have it."""
        if (
            response.status == NOT_FOUND
            and not self.options.store.is_shared
            and not self._is_warned
        ):
            self._is_warned = True
            logger.warning(_OWN_MEMORY, self.options.store.url)

    def visit(self, request: Request, at: float, prefer: Prefer | None = None) -> Visit:
        """Return who asks, when, what they prefer, and where they see us."""
        root, ask = self.options.base_url or request.root_url, self.options.operator
        return Visit(
            request=request,
            site=Site(root + self._prefix),
            at=at,
            owner=_said("owner", self._owner_of, request, (str, NoneType), _OWNER),
            prefer=prefer_of(request) if prefer is None else prefer,
            max_wait=self.options.max_wait,
            application=self.application,
            cookies=self.options.set_cookie,
            is_operator=ask is not None and _said("operator", ask, request, (bool,), _OPERATOR),
        )

    @staticmethod
    def failed(exc: HookFailed) -> Response:
        """Log that a function of the application has failed; return the answer."""
        logger.error("%s", exc, exc_info=exc.__cause__)
        return problem("hook-failed")

    def submission(
        self, passage: Passage, mark: Mark, label: str, deferral: Deferral
    ) -> Submission:
        """Return all that a new job begins with."""
        request = passage.request()
        engine = passage.engine = self.engine
        visit = self.visit(request, engine.now(), deferral.prefer)
        draft = engine.draft(
            at=visit.at,
            route=label,
            method=request.method,
            owner=visit.owner,
            ttl=self.options.retention if mark.retention is None else mark.retention,
            repeatable=mark.is_repeatable(request.method),
            timeout=mark.timeout,
            retries=mark.retries,
            queue=label if mark.concurrency is not None else "",
            slots=mark.concurrency,
        )
        if mark.schedule is not None:
            draft = draft.but(due_at=mark.schedule.next_after(draft.created_at))
        callbacks = self.options.callbacks
        allowed = callbacks.allowed if callbacks else None
        placeholder, limits = passage.placeholder or (), self.options.limits
        return Submission(visit, mark, deferral, draft, placeholder, allowed, limits)

    def configured(self, passage: Passage, route: Route) -> Submission | None:
        """Return the submission of a request to a configured route; None if it is answered synchronously."""
        passage.is_deferrable = True
        deferral = self.decide(passage.request(), route.mark)
        if deferral is None:
            return None
        return self.submission(passage, route.mark, route.label, deferral)


class Passage(Approach, ABC):
    """A request on its way through the application and back.

    One is made for every request, and most never reach a mark: what only a deferred one needs is made when it does.
    """

    middleware: Middleware
    engine: Engine
    """Set when it is deferred, one to the end: after a close it refuses, where a new one would wait."""
    is_deferrable = False
    has_spool = False
    placeholder: Pairs | None = None
    """The fields of the application's answer, if that only stands for the one that deferit gives."""
    _mark: Mark | None = None
    _deferral: Deferral | None = None
    _spool: Spool | None = None
    _request: Request | None = None

    def request(self) -> Request:
        """Return the request as it came, without what the application did to it."""
        if self._request is None:
            self._request = self._translated()
        return self._request

    @abstractmethod
    def _translated(self) -> Request:
        """Return what the web interface says, as a request."""

    @property
    def spool(self) -> Spool:
        """What the application has read of the body."""
        if self._spool is None:
            self.has_spool = True
            self._spool = Spool(self.middleware.options.max_body, self.may_reach_a_mark)
        return self._spool

    def let_go(self) -> None:
        """Forget the body; idempotent."""
        if self._spool is not None:
            self._spool.close()

    @abstractmethod
    def may_reach_a_mark(self) -> bool:
        """Whether the handler that this request goes to may be a marked one."""

    def defers(self, mark: Mark) -> bool:
        """Decide at the first mark that is reached; one that its handler calls is a function like any other."""
        self.is_deferrable = True
        if self._mark is None:
            self._mark, self._deferral = mark, self._decided(mark)
        return self._deferral is not None

    def _decided(self, mark: Mark) -> Deferral | None:
        deferral = self.middleware.decide(self.request(), mark)
        if deferral and self._spool and self._spool.is_dropped:
            logger.warning(_NOT_KEPT, mark.name)
            return None
        return deferral

    def answers(self, status: int, headers: Pairs) -> None:
        """Take note of what the application answers: the placeholder of a marked handler, or something of its own."""
        if self._deferral and status == PLACEHOLDER:
            self.placeholder = headers

    def submission(self) -> Submission | None:
        """Return the submission of a request that reached a deferred handler."""
        if self.placeholder is None or self._mark is None or self._deferral is None:
            return None
        label = self._mark.name or ""
        try:
            return self.middleware.submission(self, self._mark, label, self._deferral)
        except HookFailed:
            self.let_go()
            raise

    def captured(self, scope: dict[str, Any], body: bytes, chunks: int = 0) -> Captured:
        """Return the captured request; ``body`` is what follows the pieces that are stored already."""
        request, is_marked = self.request(), self.placeholder is not None
        url = request.url_at(self.middleware.options.base_url or request.root_url)
        return Captured(self.middleware.interface, scope, url, body, chunks, is_marked)

    @abstractmethod
    def entries(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the entries of the scope or environ that can be stored, and those that are carried by reference."""

    @abstractmethod
    def references(self) -> dict[str, Any] | None:
        """Return all of these as they are, None if some could change while they are replayed."""

    def replica(self, body: bytes, at: float) -> Replica:
        """Return the captured request as a trial replays it, encoded only if it has to be."""
        references = self.references()
        if references is not None:
            captured = self.captured(references, body)
            return Replica(at, captured, {}, partial(self._encoded, body))
        encoded, carried = self._encoded(body)
        return Replica(at, decode_captured(encoded), carried, lambda: (encoded, carried))

    def _encoded(self, body: bytes) -> tuple[bytes, dict[str, Any]]:
        stored, carried = self.entries()
        return encode(self.captured(stored, body)), carried


def may_change(entries: Mapping[str, Any]) -> bool:
    """Whether some of these hold others, which a handler may change before they are encoded."""
    if _CONSTANT.issuperset(map(type, entries.values())):
        return False
    return any(isinstance(value, dict | list) for value in entries.values())


_CONSTANT = frozenset({str, bytes, int, float, bool, tuple, NoneType})


_OWN_MEMORY = (
    "a job was asked for that is not in store=%r, which is this process's own; if the server has several processes, "
    "have them share a file: store='sqlite:///deferit.db'"
)

_NOT_KEPT = (
    "%s was not deferred: its request's body was read by a decorator that hides the mark (it lacks "
    "functools.wraps) and is too large to be kept on suspicion"
)


def _said(
    name: str,
    hook: Callable[[Request], Any],
    request: Request,
    kinds: tuple[type, ...],
    advice: str,
) -> Any:
    """Return what a function of the application says of a request.

    Raises:
        HookFailed: it has raised, or returned something of another kind; that is not shown, it may be a secret.
    """
    try:
        said = hook(request)
    except Exception as exc:
        raise HookFailed(name) from exc
    if not isinstance(said, kinds):
        kind = type(said).__name__
        raise HookFailed(name) from TypeError(f"the option {name}= returned a {kind}, {advice}")
    return said


_OWNER = "neither a text nor None; return for example str(user.id)"
_OPERATOR = "neither True nor False; return for example user.is_staff"


def is_of_the_submitter(name: str) -> bool:
    """Whether a request's header field speaks of the submitter's connection and stays out of the capture."""
    return name.lower() in OF_THE_SUBMITTER


def split(
    entries: Mapping[str, Any], left_out: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entries of a scope or environ that can be stored, and those that can only be kept by reference.

    A dictionary of a type of its own, as a session is, is kept by reference, and what is in it is stored besides, for
    handlers in other processes.
    """
    stored: dict[str, Any] = {}
    carried: dict[str, Any] = {}
    for name, value in entries.items():
        if name in left_out:
            continue
        is_text = type(value) is str and value.isascii()  # as most are
        if is_text or type(value) in SCALARS or plain(value):
            stored[name] = value
            continue
        carried[name] = value
        if isinstance(value, dict) and plain(contents := dict(value)):
            stored[name] = contents
    return stored, carried


def prefer_of(request: Request) -> Prefer:
    """Return what the client prefers."""
    lines = request.headers.getlist("Prefer")
    return parse(lines) if lines else NOTHING


def default_owner(request: Request) -> str | None:
    """Return the user whom an outer layer authenticated: the ASGI scope's ``user``, or ``REMOTE_USER``."""
    user = request.scope.get("user")
    if user is None:
        return request.scope.get("REMOTE_USER") or None
    if isinstance(user, str):
        return user or None
    if not getattr(user, "is_authenticated", False):
        return None
    return _identity(user)


def _identity(user: object) -> str:
    """Return what a user object is known by: Starlette's ``identity`` or ``display_name``, Django's ``username``."""
    for name in ("identity", "username", "display_name"):
        try:
            found = getattr(user, name, None)
        except NotImplementedError:  # starlette's SimpleUser has no identity
            continue
        if found:
            return str(found)
    msg = f"the user {type(user).__name__} has no name that deferit knows; give the option owner=, a function"
    raise TypeError(msg)
