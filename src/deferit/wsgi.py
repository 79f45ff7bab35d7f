"""`WSGIMiddleware`: between WSGI's environ and start_response and the flows of the core."""

from __future__ import annotations

import os
import sys
from functools import cached_property, lru_cache, partial
from http import HTTPStatus
from io import BufferedReader, RawIOBase
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio.to_thread
from werkzeug.datastructures import EnvironHeaders

from deferit._core.commands import Append
from deferit._core.effects import (
    Capture,
    CapturedRequest,
    ClientGone,
    Effect,
    HookFailed,
    drive,
    parts,
)
from deferit._core.flow import answer, submit, unreadable
from deferit._core.http import Fields, Request, Response, is_host, merged
from deferit._core.recorder import PIECE
from deferit._middleware import Middleware, Passage, is_of_the_submitter, may_change, split
from deferit._misuse import refuse_itself, refuse_other_interface, warn_of_lost_marks
from deferit._process.runs import Replayer
from deferit._records import encode
from deferit.context import current
from deferit.exceptions import StoreError
from deferit.executors.threads import ThreadExecutor
from deferit.frameworks import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed import OptExcInfo
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

    from deferit._core.flow import Submission, Target
    from deferit._process.runs import Run
    from deferit._spool import Spool
    from deferit.executors.base import Executor

    Write = Callable[[bytes], object]

NOT_CAPTURED = frozenset({"wsgi.input", "wsgi.errors", "wsgi.file_wrapper"})
"""Entries of an environ that belong to the submitter's connection."""

OF_THE_REQUEST = ("CONTENT_", "PATH_INFO", "QUERY_", "REMOTE_", "REQUEST_", "SCRIPT_", "SERVER_")
"""Begin the names of variables that describe a request (RFC 3875 §4.1), also where the process has one of that name."""

OFTEN_EMPTY = frozenset({"content-type", "content-length"})
"""Fields that some servers have in the environ, empty, if nothing was sent."""

BODILESS = frozenset({204, 304})

KNOWN_NAMES = 256
"""Names of an environ's entries of which it is remembered what they are: each request has the same, or nearly so."""

LONGEST_LENGTH = 18
"""Digits of a Content-Length that is believed: more bytes than there are disks for."""


class WSGIMiddleware(Middleware):
    """Wraps a WSGI application, so that its marked handlers and configured routes are deferred.

    ``app.wsgi_app = WSGIMiddleware(app.wsgi_app, **options)``; for the options see `deferit.options.Options`.

    Raises:
        OptionError: an option that cannot be used; the text says what to write instead.
    """

    interface = "wsgi"

    def __init__(self, app: WSGIApplication, /, **options: Any) -> None:
        super().__init__(options)
        self.options.store.check()  # WSGI has no start-up at which the server could be told
        refuse_other_interface(app, self.interface)
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.is_new:
            refuse_itself(self.app, self)
            self.is_new = False
            warn_of_lost_marks(self.app)
        path = _decoded(environ.get("PATH_INFO", ""))
        mounted = self.mounted(path) if path.startswith(self._prefix) else None
        if mounted and self.options.native:
            environ[ANSWER] = partial(self._answer, mounted)
            return self.app(environ, start_response)
        if mounted:
            return self._answer(mounted, environ, start_response)
        try:
            return self._http(path, environ, start_response)
        except HookFailed as exc:
            return self._send(self.failed(exc), environ["REQUEST_METHOD"], start_response)

    # --- the way of a request ----------------------------------------------------------------------------------------

    def _http(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        passage = _WSGIPassage(self, environ, start_response)
        route = self._routes.find(environ["REQUEST_METHOD"], path) if self._has_routes else None
        submission = self.configured(passage, route) if route else None
        if submission:
            return self._submit(submission, passage)
        return self._pass_on(passage, environ)

    def _answer(
        self, mounted: Target, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer for a mounted route."""
        engine = self.engine
        try:
            visit = self.visit(_request(environ), engine.now())
        except HookFailed as exc:
            return self._send(self.failed(exc), environ["REQUEST_METHOD"], start_response)
        response = drive(answer(visit, mounted), engine.perform)
        self.warn_of_own_memory(response)
        return self._send(response, visit.request.method, start_response)

    def _pass_on(self, passage: _WSGIPassage, environ: WSGIEnvironment) -> Iterable[bytes]:
        """Pass a request on to the application; have it become a job if it reached a handler that is deferred."""
        passage.tee(environ)
        token = current.set(passage)
        try:
            body = passage.begun(self.app(environ, passage.start_response))
        finally:
            current.reset(token)
            if passage.placeholder is None:
                passage.let_go()
        submission = passage.submission()
        if submission is None:
            return body
        _close(body)
        return self._submit(submission, passage)

    def _submit(self, submission: Submission, passage: _WSGIPassage) -> Iterable[bytes]:
        """Have a request become a job, and answer."""
        try:
            response = drive(submit(submission), passage.perform)
        except ClientGone:
            response = Response(400)  # nobody hears it, but WSGI knows no other end
        finally:
            passage.let_go()
        return self._send(response, submission.visit.request.method, passage.outer_start_response)

    def _send(
        self, response: Response, method: str, start_response: StartResponse
    ) -> Iterable[bytes]:
        body = parts(response.body, self.engine.perform)
        try:
            first = next(body, b"") if method != "HEAD" else b""
        except StoreError as exc:
            return self._send(unreadable(exc), method, start_response)
        start_response(_status_line(response.status), _response_headers(response))
        return [] if method == "HEAD" else chain([first], body)

    # --- the life of the process -------------------------------------------------------------------------------------

    def _own_executor(self) -> Executor:
        return ThreadExecutor()

    def _replayer(self) -> Replayer:
        return _WSGIReplayer(self.app)


class _WSGIPassage(Passage):
    """A request on its way through a WSGI application and back."""

    def __init__(
        self, middleware: WSGIMiddleware, environ: WSGIEnvironment, start_response: StartResponse
    ) -> None:
        self.middleware = middleware
        self.environ = dict(environ)
        self.outer_start_response = start_response
        self._input = _Tee(environ, self.spool)
        self._has_started = False

    def _translated(self) -> Request:
        return _request(self.environ)

    def may_reach_a_mark(self) -> bool:
        """Say yes: WSGI has no place where a framework would leave what it has routed to."""
        return True

    def tee(self, environ: WSGIEnvironment) -> None:
        """Have what the application reads of the body kept, in case the request is deferred."""
        environ["wsgi.input"] = self._input

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
    ) -> Write:
        """Pass on what the application answers, unless it is the placeholder of a marked handler."""
        self._has_started = True
        if self.is_deferrable:
            self.answers(int(status[:3]), tuple(headers))
            headers = list(merged(tuple(headers), "Vary", ("Prefer",)))
        if self.placeholder is not None:
            return _ignore
        return self.outer_start_response(status, headers, exc_info)

    def begun(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return a body whose application has called `start_response`: a generator does so at its first step."""
        if self._has_started:
            return body
        return _Begun(body)

    def perform(self, effect: Effect) -> object:
        """Do what the flow of its submission yields."""
        if isinstance(effect, Capture):
            return self.capture(effect)
        return self.engine.perform(effect)

    def capture(self, effect: Capture) -> CapturedRequest:
        """Take the rest of the body, store what is long of it, and return the captured request.

        Raises:
            RequestTooLarge: the body is longer than the option ``max_body``.
            ClientGone: the client went away before all of it was there.
        """
        self._input.drain()
        chunks = self.spool.rewind(in_one=effect.stores_nothing)
        if effect.stores_nothing and not chunks:
            replica = self.replica(self.spool.read(), self.engine.now())
            return CapturedRequest(replica=replica)
        for index in range(chunks):
            self.engine.perform(Append(effect.job_id, 0, index, self.spool.read()))
        stored, carried = self.entries()
        if carried:
            self.engine.carry(effect.job_id, carried)
        encoded = encode(self.captured(stored, self.spool.read(), chunks))
        digest = self.spool.digest() if effect.needs_digest else ""
        return CapturedRequest(encoded, digest)

    def references(self) -> dict[str, Any] | None:
        entries = self._captured_entries()
        return None if may_change(entries) else entries

    def entries(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return split(self._captured_entries(), ())

    def _captured_entries(self) -> dict[str, Any]:
        """Return the entries that a replay has."""
        entries = {
            name: value
            for name, value in self.environ.items()
            if (is_out := _is_of_the_connection(name)) is False
            or (is_out is None and not _is_known(name, value))
        }
        if self._input.length:
            entries["CONTENT_LENGTH"] = str(self._input.length)
        return entries


@lru_cache(KNOWN_NAMES)
def _is_of_the_connection(name: str) -> bool | None:
    """Whether an entry speaks of the submitter's connection; None: it may also be the server's own environment."""
    if name in NOT_CAPTURED or name.endswith(".socket"):
        return True
    if name.startswith("HTTP_"):
        return is_of_the_submitter(name[5:].replace("_", "-"))
    return False if name.startswith(OF_THE_REQUEST) else None


def _is_known(name: str, value: object) -> bool:
    """Whether an entry is one of the server's own environment, which wsgiref adds."""
    return isinstance(value, str) and os.environ.get(name) == value


class _Tee:
    """The body as an application reads it; what it reads is kept."""

    def __init__(self, environ: WSGIEnvironment, spool: Spool) -> None:
        self._input: InputStream = environ["wsgi.input"]
        self._declared = _content_length(environ)
        self._is_terminated = bool(environ.get("wsgi.input_terminated"))
        self._spool = spool
        self.length = 0

    def read(self, *size: int) -> bytes:
        return self._kept(self._input.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._kept(self._input.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._kept(line) for line in self._input.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        for line in self._input:
            yield self._kept(line)

    def drain(self) -> None:
        """Read what the application has left; never past the end, where a server may block."""
        self._spool.check(self._declared)
        while (size := self._left()) > 0 and self.read(size):
            self._spool.check()
        if not self._is_terminated and self._left() > 0:
            raise ClientGone

    def _left(self) -> int:
        if self._is_terminated:
            return PIECE
        return min(PIECE, self._declared - self.length)

    def _kept(self, data: bytes) -> bytes:
        self.length += len(data)
        self._spool.keep(data)
        return data


class _Begun:
    """A body whose first part has been made."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        rest = iter(body)
        self._parts = chain([part for part in [next(rest, None)] if part is not None], rest)

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        """Close what the application returned."""
        _close(self._body)


class _WSGIReplayer(Replayer):
    """Plays captured requests to a WSGI application."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def replay(self, run: Run) -> None:
        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> Write:
            if exc_info and exc_info[1] and run.recorder.has_body:
                raise exc_info[1]
            run.recorder.start(int(status[:3]), tuple(headers))
            return run.write

        body = self._app(_replayed_environ(run), start_response)
        try:
            for part in body:
                run.write(part)
            run.recorder.end()
        finally:
            _close(body)

    async def areplay(self, run: Run) -> None:
        await anyio.to_thread.run_sync(self.replay, run)


def _replayed_environ(run: Run) -> WSGIEnvironment:
    """Return an environ of its own: a stream in the captured one would make a circle, from the run back to the run."""
    captured = run.captured.scope
    return {
        **captured,
        "wsgi.version": tuple(captured.get("wsgi.version", (1, 0))),
        "wsgi.input": BufferedReader(_Pieces(run.body()), PIECE),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        **run.carried,
    }


class _Pieces(RawIOBase):
    """A body that lies in the store, as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size


def _request(environ: WSGIEnvironment) -> Request:
    return Request(
        method=environ["REQUEST_METHOD"],
        path=_decoded(environ.get("PATH_INFO", "")),
        query=environ.get("QUERY_STRING", ""),
        headers=_EnvironFields(environ),
        scope=environ,
        root_url=_root_url(environ),
    )


class _EnvironFields(Fields):
    """The fields in an environ, each looked up when it is asked for."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._headers = EnvironHeaders(environ)

    @cached_property
    def _list(self) -> list[tuple[str, str]]:  # type: ignore[override]  # made when it is asked for
        return list(self._headers)

    def found(self, key: str) -> str | None:
        value = self._headers.get(key)
        return None if value == "" and key.lower() in OFTEN_EMPTY else value

    def getlist(self, key: str, type: Any = None) -> list[Any]:  # noqa: A002  werkzeug's name
        """Return all values of a field: one, as servers make one line of several."""
        found = self.found(key)
        if found is None:
            return []
        return [found] if type is None else super().getlist(key, type)


def _root_url(environ: WSGIEnvironment) -> str:
    scheme = environ.get("wsgi.url_scheme", "http")
    host = environ.get("HTTP_HOST")
    if not host or not is_host(host):
        port = environ.get("SERVER_PORT", "")
        default = {"http": "80", "https": "443"}.get(scheme)
        host = environ.get("SERVER_NAME", "localhost") + (f":{port}" if port != default else "")
    root = environ.get("SCRIPT_NAME")
    return f"{scheme}://{host}{quote(_decoded(root).rstrip('/')) if root else ''}"


def _decoded(text: str) -> str:
    """Return a path of an environ, whose bytes stand as latin-1 (PEP 3333), as the text that it is."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")


def _content_length(environ: WSGIEnvironment) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_LENGTH else 0


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _response_headers(response: Response) -> list[tuple[str, str]]:
    headers = list(response.headers)
    if response.status not in BODILESS and response.length is not None:
        headers.append(("Content-Length", str(response.length)))
    return headers


def _ignore(_data: bytes) -> None:
    """Drop what is written to a placeholder."""


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()
