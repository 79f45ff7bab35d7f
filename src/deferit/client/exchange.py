"""Performs the steps of a flow: two drivers, one blocking and one awaiting."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

from deferit.client.flow import Ask, Pause, Report, Trouble
from deferit.client.monitors import Answer
from deferit.client.requests import (
    MONITOR,
    MOST,
    again,
    document_from,
    is_own,
    library_of,
    may_be_accepted,
    may_be_document,
    outgoing,
    rest_of,
)
from deferit.exceptions import MonitorLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from deferit.client.flow import Flow, Following
    from deferit.client.monitors import Document


def said_by(response: Any) -> Answer:
    """Return what a response says that the caller has; one that may name a monitor has been read."""
    is_read = may_be_accepted(response) and may_be_document(response)
    document = document_from(response) if is_read else None
    head = (response.status_code, response.headers, str(response.url))
    return Answer(*head, time.monotonic(), time.time(), 0.0, document, response)


class _Exchange:
    """What both exchanges have in common: one flow's requests, and the last answer to them.

    ``send`` takes a request, and whether that may carry the client's secrets; it returns an unread response.
    """

    def __init__(self, original: Any, send: Callable[[Any, bool], Any]) -> None:
        self.original = original
        self.http = library_of(original)
        self.response: Any = None
        self._send = send

    def _request(self, ask: Ask) -> Any:
        try:
            return outgoing(self.original, ask)
        except self.http.InvalidURL as exc:
            raise MonitorLost(ask.url, str(exc)) from exc

    def _whole(self, response: Any, ask: Ask, asked_at: float, raw: bytes) -> Answer:
        """Return what a response says whose body was read; nobody will notice that it was."""
        stream = self.http.ByteStream(raw)
        document = document_from(again(response, stream))
        return self._answer(again(response, stream), ask, asked_at, document)

    def _answer(
        self, response: Any, ask: Ask, asked_at: float, document: Document | None = None
    ) -> Answer:
        self.response = response
        now, date = time.monotonic(), time.time()
        head = (response.status_code, response.headers, ask.url)
        return Answer(*head, now, date, now - asked_at, document, response)

    def _trouble(self, exc: Exception) -> Trouble:
        words = f": {exc}" if str(exc) else ""
        return Trouble(f"{type(exc).__name__}{words}", time.monotonic())

    def keep(self, answer: Answer, following: Following) -> Any:
        """Return the response of the final answer, which is not closed any more; it tells the monitor's URL."""
        self.response = None
        if following.monitor is not None:
            answer.response.extensions[MONITOR] = following.url
        return answer.response


class Exchange(_Exchange):
    """Sends requests, blocking. Every response is closed when the next step comes, but for the one that is kept."""

    def ask(self, ask: Ask) -> Answer | Trouble:
        """Send a request; return what came of it."""
        self.close()
        request, asked_at = self._request(ask), time.monotonic()
        try:
            response = self._send(request, is_own(self.original, request))
            return self.answer(response, ask, asked_at)
        except self.http.UnsupportedProtocol:
            raise  # monitors have protocols that are: it is the URL which the caller gave
        except self.http.TransportError as exc:
            return self._trouble(exc)

    def answer(self, response: Any, ask: Ask, asked_at: float) -> Answer:
        """Return what a response says; its body is read if it may be a status document."""
        self.response = response
        if not may_be_document(response):
            return self._answer(response, ask, asked_at)
        begun: list[bytes] = []
        stream = iter(response.stream)
        for chunk in stream:
            begun.append(chunk)
            if sum(map(len, begun)) > MOST:
                rest = rest_of(self.http)(begun, stream, response)
                return self._answer(again(response, rest), ask, asked_at)
        response.close()
        return self._whole(response, ask, asked_at, b"".join(begun))

    def advance(self, flow: Flow) -> Report | Answer:
        """Perform a flow until there is a document to tell, or the end."""
        reply: Any = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as done:
                answer: Answer = done.value
                return answer
            match step:
                case Report():
                    return step
                case Pause(seconds):
                    self.close()
                    time.sleep(seconds)
                    reply = time.monotonic()
                case Ask():
                    reply = self.ask(step)

    def finish(self, flow: Flow, tell: Callable[[Document], object]) -> Answer:
        """Perform a flow to its end; return what it returns."""
        while isinstance(found := self.advance(flow), Report):
            tell(found.document)
        return found

    @contextmanager
    def canceling(self, following: Following, *, cancel: bool) -> Iterator[None]:
        """Cancel the job if Ctrl-C comes, and close what is open at any rate."""
        try:
            yield
        except KeyboardInterrupt:
            ask = following.cancellation() if cancel else None
            if ask is not None:
                with suppress(Exception):
                    self.ask(ask)
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Close the last response, unless it was kept."""
        response, self.response = self.response, None
        if response is not None:
            response.close()


class AsyncExchange(_Exchange):
    """Same as `Exchange`, but awaiting, on asyncio or trio."""

    _send: Callable[[Any, bool], Awaitable[Any]]

    async def ask(self, ask: Ask) -> Answer | Trouble:
        await self.aclose()
        request, asked_at = self._request(ask), time.monotonic()
        try:
            response = await self._send(request, is_own(self.original, request))
            return await self.answer(response, ask, asked_at)
        except self.http.UnsupportedProtocol:
            raise  # monitors have protocols that are: it is the URL which the caller gave
        except self.http.TransportError as exc:
            return self._trouble(exc)

    async def answer(self, response: Any, ask: Ask, asked_at: float) -> Answer:
        self.response = response
        if not may_be_document(response):
            return self._answer(response, ask, asked_at)
        begun: list[bytes] = []
        stream = response.stream.__aiter__()
        async for chunk in stream:
            begun.append(chunk)
            if sum(map(len, begun)) > MOST:
                rest = rest_of(self.http)(begun, stream, response)
                return self._answer(again(response, rest), ask, asked_at)
        await response.aclose()
        return self._whole(response, ask, asked_at, b"".join(begun))

    async def advance(self, flow: Flow) -> Report | Answer:
        reply: Any = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as done:
                answer: Answer = done.value
                return answer
            match step:
                case Report():
                    return step
                case Pause(seconds):
                    await self.aclose()
                    await anyio.sleep(seconds)
                    reply = time.monotonic()
                case Ask():
                    reply = await self.ask(step)

    async def finish(self, flow: Flow, tell: Callable[[Document], object]) -> Answer:
        while isinstance(found := await self.advance(flow), Report):
            tell(found.document)
        return found

    @asynccontextmanager
    async def canceling(self, following: Following, *, cancel: bool) -> AsyncIterator[None]:
        """Cancel the job if the task is canceled, as asyncio's runner does on Ctrl-C."""
        try:
            yield
        except (KeyboardInterrupt, anyio.get_cancelled_exc_class()):
            ask = following.cancellation() if cancel else None
            if ask is not None:
                with anyio.move_on_after(2 * ask.patience, shield=True), suppress(Exception):
                    await self.ask(ask)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self.aclose()

    async def aclose(self) -> None:
        response, self.response = self.response, None
        if response is not None:
            await response.aclose()
