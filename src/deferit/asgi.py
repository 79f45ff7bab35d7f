"""`ASGIMiddleware`: between ASGI's scope, receive and send and the flows of the core."""

from __future__ import annotations

import inspect
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from deferit._asgi_messages import as_bytes, as_text, below, request_of, response_start
from deferit._core.commands import Append
from deferit._core.effects import (
    Capture,
    CapturedRequest,
    ClientGone,
    Effect,
    HookFailed,
    Try,
    adrive,
    aparts,
)
from deferit._core.flow import answer, submit, unreadable
from deferit._core.http import OF_THE_SUBMITTER, Request, Response, merged
from deferit._host import HOSTING
from deferit._middleware import Middleware, Passage, may_change, split
from deferit._misuse import refuse_other_interface, warn_of_lost_marks
from deferit._process.runs import Replayer
from deferit._records import encode
from deferit.context import current
from deferit.exceptions import OptionError, StoreError, StoreUnavailable
from deferit.executors.event_loop import EventLoopExecutor
from deferit.marks import mark_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deferit._core.flow import Submission, Target
    from deferit._process.runs import Run
    from deferit._spool import Spool
    from deferit.executors.base import Executor

OF_THE_PROCESS = ("app", "router")
"""Entries of a scope that belong to this process's application: a replay gets those of the process it runs in."""

OF_THE_SERVER = ("asgi", "client", "server")
"""Entries of a scope that are plain data, as the ASGI specification says, and that no application changes."""

IN_THEIR_OWN_WAY = frozenset({*OF_THE_PROCESS, *OF_THE_SERVER, "state", "extensions", "headers"})
"""Entries of a scope that are left out of a capture, or are captured in their own way."""

OF_THE_SUBMITTER_IN_BYTES = frozenset(name.encode() for name in OF_THE_SUBMITTER)


class ASGIMiddleware(Middleware):
    """Wraps an ASGI application, so that its marked handlers and configured routes are deferred.

    ``app.add_middleware(ASGIMiddleware, **options)`` or ``app = ASGIMiddleware(app, **options)``; for the options see
    `deferit.options.Options`.

    Raises:
        OptionError: an option that cannot be used; the text says what to write instead.
    """

    interface = "asgi"

    def __init__(self, app: ASGIApp, /, **options: Any) -> None:
        super().__init__(options)
        if self.options.native:
            msg = "native=True is for Flask; here put the CORS middleware outside of ASGIMiddleware instead"
            raise OptionError(msg)
        refuse_other_interface(app, self.interface)
        self.app = app
        self.local = _Local()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._beside(scope, receive, send)
            return
        if self.is_new:
            self.is_new = False
            warn_of_lost_marks(scope.get("app", self.app))
        try:
            root = scope.get("root_path")
            path = below(root, scope["path"]) if root else scope["path"]
            mounted = self.mounted(path) if path.startswith(self._prefix) else None
            if mounted:
                await self._answer(mounted, scope, receive, send)
                return
            passage = _ASGIPassage(self, scope, receive, send)
            route = self._routes.find(scope["method"], path) if self._has_routes else None
            submission = self.configured(passage, route) if route else None
            if submission is None:
                token = current.set(passage)
                try:
                    await self.app(scope, passage.receive, passage.send)
                finally:
                    current.reset(token)
                    if passage.has_spool and passage.placeholder is None:
                        passage.let_go()
                if not passage.is_deferrable:  # as most are: nothing more is asked of them
                    return
                submission = passage.submission()
            if submission:
                await self._submit(submission, passage)
        except HookFailed as exc:
            await self._send(self.failed(exc), scope["method"], send)

    async def _beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not HTTP."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    # --- the way of a request ----------------------------------------------------------------------------------------

    async def _answer(self, mounted: Target, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for a mounted route."""
        engine = self.engine
        visit = self.visit(request_of(scope), engine.now())
        response = await adrive(answer(visit, mounted), engine.aperform)
        self.warn_of_own_memory(response)
        if response.length is None and visit.request.method != "HEAD":
            await self._stream(response, receive, send)
        else:
            await self._send(response, visit.request.method, send)

    async def _submit(self, submission: Submission, passage: _ASGIPassage) -> None:
        """Have a request become a job, and answer."""
        self.local.remember(passage.scope)
        try:
            response = await adrive(submit(submission), passage.perform)
        except ClientGone:
            return
        finally:
            passage.let_go()
        await self._send(response, submission.visit.request.method, passage.outer_send)

    async def _send(self, response: Response, method: str, send: Send) -> None:
        if isinstance(response.body, bytes) or method == "HEAD":
            body = response.body if method != "HEAD" else b""
            await send(response_start(response))
            await send({"type": "http.response.body", "body": body})
        else:
            await self._send_parts(response, send)

    async def _send_parts(self, response: Response, send: Send) -> None:
        """Send a body that is made while it is sent."""
        async with aclosing(aparts(response.body, self.engine.aperform)) as parts:
            try:
                part = await anext(parts, b"")
            except StoreError as exc:
                await self._send(unreadable(exc), "GET", send)
                return
            await send(response_start(response))
            while part:  # the next is not loaded before the client has taken this one
                await send({"type": "http.response.body", "body": part, "more_body": True})
                part = await anext(parts, b"")
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, response: Response, receive: Receive, send: Send) -> None:
        """Send a body that goes on until the client has gone."""
        await send(response_start(response))
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
            async for part in aparts(response.body, self.engine.aperform):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            group.cancel_scope.cancel()

    # --- the life of the process -------------------------------------------------------------------------------------

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the server and end with it, around the application's own lifespan."""
        self.local.remember(scope)
        if HOSTING in scope:
            scope[HOSTING](self)
        message = await receive()
        self.engine.hold()
        try:
            await anyio.to_thread.run_sync(self.engine.start)
        except StoreUnavailable as exc:
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            raise  # as Starlette does: its TestClient would take the mere end for a start
        lifespan = _Lifespan(self, message, receive, send)
        async with self.engine.executor.serving():
            await lifespan.run(scope)
        lifespan.reraise()

    def _own_executor(self) -> Executor:
        return EventLoopExecutor()

    def _replayer(self) -> Replayer:
        return _ASGIReplayer(self)


class _Local:
    """What a replay needs that no captured request of another process can bring: the application and its state."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.state: Mapping[str, Any] = {}

    def remember(self, scope: Scope) -> None:
        """Take it from a scope of this process."""
        for name in OF_THE_PROCESS:
            if name in scope:
                self.entries[name] = scope[name]
        if scope["type"] == "lifespan":
            self.state = scope.get("state", {})


class _ASGIPassage(Passage):
    """A request on its way through an ASGI application and back."""

    _has_body_ended = False

    def __init__(
        self, middleware: ASGIMiddleware, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.middleware = middleware
        self.scope = dict(scope)  # as it is now, before the application leaves its own things in it
        if "state" in scope:
            self.scope["state"] = dict(scope["state"])
        self._inner_scope = scope
        self._local = middleware.local
        self.outer_send = send
        self._outer_receive = receive

    def _translated(self) -> Request:
        return request_of(self.scope)

    def may_reach_a_mark(self) -> bool:
        """Ask the routing, if it is done: Starlette and FastAPI leave the endpoint in the scope."""
        endpoint = self._inner_scope.get("endpoint")
        if inspect.isclass(endpoint):
            endpoint = getattr(endpoint, self.scope["method"].lower(), None)
        is_known = inspect.isfunction(endpoint) or inspect.ismethod(endpoint)
        return not is_known or mark_of(endpoint) is not None

    async def receive(self) -> Message:
        """Pass on what the application asks for, and keep it in case the request is deferred."""
        message = await self._outer_receive()
        if message["type"] == "http.request":
            spool, body = self.spool, message.get("body", b"")
            if not spool.keeps_in_memory(body):
                await anyio.to_thread.run_sync(spool.keep, body)
            self._has_body_ended = not message.get("more_body", False)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on what the application answers, unless it is the placeholder of a marked handler."""
        if self.is_deferrable:
            return self._answered(message)
        return self.outer_send(message)

    async def _answered(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = as_text(message.get("headers", ()))
            self.answers(message["status"], headers)
            if self.placeholder is None:
                varying = merged(headers, "Vary", ("Prefer",))
                message = {**message, "headers": as_bytes(varying)}
        if self.placeholder is None:
            await self.outer_send(message)

    def perform(self, effect: Effect) -> Awaitable[object]:
        """Do what the flow of its submission yields."""
        if isinstance(effect, Capture):
            return self.capture(effect)
        if isinstance(effect, Try):
            return self.engine.atry(effect, self.while_connected)
        return self.engine.aperform(effect)

    async def capture(self, effect: Capture) -> CapturedRequest:
        """Take the rest of the body, store what is long of it, and return the captured request.

        Raises:
            RequestTooLarge: the body is longer than the option ``max_body``.
            ClientGone: the client went away before all of it was there.
        """
        spool = self.spool
        if self._has_body_ended:
            spool.check()
        else:
            await self._receive_the_rest(spool)
        chunks = spool.rewind(in_one=effect.stores_nothing)
        for index in range(chunks):
            piece = await anyio.to_thread.run_sync(spool.read)
            await self.engine.aperform(Append(effect.job_id, 0, index, piece))
        last = await anyio.to_thread.run_sync(spool.read) if chunks else spool.read()
        if effect.stores_nothing and not chunks:
            return CapturedRequest(replica=self.replica(last, self.engine.now()))
        stored, carried = self.entries()
        if carried:
            self.engine.carry(effect.job_id, carried)
        digest = await anyio.to_thread.run_sync(spool.digest) if effect.needs_digest else ""
        return CapturedRequest(encode(self.captured(stored, last, chunks)), digest)

    async def _receive_the_rest(self, spool: Spool) -> None:
        spool.check(self.request().headers.get("Content-Length", 0, type=int))
        while not self._has_body_ended:
            if (await self.receive())["type"] == "http.disconnect":
                raise ClientGone
            spool.check()

    @asynccontextmanager
    async def while_connected(self) -> AsyncIterator[None]:
        """Cancel the block as soon as the client goes away.

        Raises:
            ClientGone: it did.
        """
        is_over = False
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, self._outer_receive, group.cancel_scope)
            yield
            is_over = True
            group.cancel_scope.cancel()
        if not is_over:
            raise ClientGone

    def references(self) -> dict[str, Any] | None:
        scope = self.scope
        entries = {name: scope[name] for name in scope if name not in IN_THEIR_OWN_WAY}
        if may_change(entries) or self._added_state():
            return None
        self._add_what_the_server_says(entries)
        entries["state"] = {}
        return entries

    def entries(self) -> tuple[dict[str, Any], dict[str, Any]]:
        stored, carried = split(self.scope, IN_THEIR_OWN_WAY)
        self._add_what_the_server_says(stored)
        added = self._added_state()
        stored["state"], state = split(added, ()) if added else ({}, {})
        return stored, {**carried, "state": state} if state else carried

    def _add_what_the_server_says(self, entries: dict[str, Any]) -> None:
        """Add what an application does not change, and of the header what does not speak of the connection."""
        scope = self.scope
        headers = scope["headers"]
        entries["headers"] = [pair for pair in headers if pair[0] not in OF_THE_SUBMITTER_IN_BYTES]
        for name in OF_THE_SERVER:
            if name in scope:
                entries[name] = scope[name]
        if "extensions" in scope:
            entries["extensions"] = {}  # a replay offers none

    def _added_state(self) -> dict[str, Any]:
        """Return what outer layers added to the state of the process's lifespan."""
        state = self.scope.get("state")
        if not state:
            return {}
        own = self._local.state
        return {
            name: value
            for name, value in state.items()
            if name not in own or own[name] is not value
        }


class _ASGIReplayer(Replayer):
    """Plays captured requests to an ASGI application."""

    def __init__(self, middleware: ASGIMiddleware) -> None:
        self._app = middleware.app
        self._local = middleware.local

    def replay(self, run: Run) -> None:
        """Play it in an event loop of this thread's own."""
        anyio.run(partial(self.areplay, run), backend=run.backend)

    async def areplay(self, run: Run) -> None:
        replay = _Replay(run)
        await self._app(self._scope(run), replay.receive, replay.send)

    def _scope(self, run: Run) -> Scope:
        captured, carried = run.captured.scope, run.carried
        scope: Scope = {**captured, **self._local.entries, **carried}
        scope["headers"] = [(name, value) for name, value in captured["headers"]]
        for name in ("client", "server"):
            if captured.get(name) is not None:
                scope[name] = tuple(captured[name])
        scope["state"] = {**self._local.state, **captured["state"], **carried.get("state", {})}
        return scope


class _Replay:
    """What the application gets of a captured request, and what becomes of its response."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._received = 0
        self._answered: anyio.Event | None = None
        self._is_answered = False

    async def receive(self) -> Message:
        """Return the next piece of the body; after the last one, wait for the answer, as a client does."""
        index, last = self._received, self._run.captured.chunks
        if index > last:
            if not self._is_answered:  # without a checkpoint: `is_disconnected` cancels at one
                await self._answer()
            return {"type": "http.disconnect"}
        self._received += 1
        piece = await self._run.apiece(index)
        return {"type": "http.request", "body": piece, "more_body": index < last}

    async def send(self, message: Message) -> None:
        """Take the response down."""
        if message["type"] == "http.response.start":
            self._run.recorder.start(message["status"], as_text(message.get("headers", ())))
        elif message["type"] == "http.response.body":
            await self._run.awrite(message.get("body", b""))
            if not message.get("more_body", False):
                self._end()

    def _end(self) -> None:
        self._run.recorder.end()
        self._is_answered = True
        if self._answered:
            self._answered.set()

    async def _answer(self) -> None:
        if self._answered is None:
            self._answered = anyio.Event()
        await self._answered.wait()


class _Lifespan:
    """The application's lifespan inside the middleware's; an application that knows none needs not."""

    def __init__(
        self, middleware: ASGIMiddleware, startup: Message, receive: Receive, send: Send
    ) -> None:
        self._middleware = middleware
        self._engine = middleware.engine
        self._startup: Message | None = startup
        self._receive = receive
        self._send = send
        self._has_answered = False
        self._raised: Exception | None = None

    async def run(self, scope: Scope) -> None:
        """Run the application's lifespan to its end, or stand in for one."""
        try:
            await self._middleware.app(scope, self.receive, self.send)
        except Exception as exc:  # noqa: BLE001  it goes on to the server in `reraise`
            self._raised = exc
        if not self._has_answered and self._raised is None:
            await self._stand_in()

    def reraise(self) -> None:
        """Raise what the application raised: the server knows what to make of it, and may go on without a lifespan."""
        if self._raised is None:
            return
        if not self._has_answered:
            self._engine.release()
        raise self._raised

    async def receive(self) -> Message:
        """Pass on what the server says; running jobs end before the application hears of the shutdown."""
        if self._startup is not None:
            message, self._startup = self._startup, None
            return message
        message = await self._receive()
        await anyio.to_thread.run_sync(self._middleware.close)
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application answers."""
        self._has_answered = True
        if message["type"] == "lifespan.startup.complete":
            self._engine.release()
        await self._send(message)

    async def _stand_in(self) -> None:
        """Answer for an application that returned without an answer: it knows no lifespan."""
        self._engine.release()
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await anyio.to_thread.run_sync(self._middleware.close)
        await self._send({"type": "lifespan.shutdown.complete"})


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
