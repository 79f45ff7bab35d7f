"""Transports for httpx and httpx2 whose clients never see a 202 with a monitor: only what came of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from deferit.client.exchange import AsyncExchange, Exchange
from deferit.client.flow import Ask
from deferit.client.options import settings
from deferit.client.requests import FOLLOWING, library_of, may_be_accepted

if TYPE_CHECKING:
    from typing import Unpack

    import httpx
    import httpx2

    from deferit.client.options import FollowOptions

    class _Sync(httpx.BaseTransport, httpx2.BaseTransport):
        """A transport for either library."""

        def handle_request(self, request: Any) -> Any: ...

    class _Async(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport):
        """Same as `_Sync`, but awaiting."""

        async def handle_async_request(self, request: Any) -> Any: ...
else:  # neither library looks at what a transport is; so neither is needed to define one
    _Sync = _Async = object


class _Transport:
    """What both transports have in common."""

    default: str

    def __init__(self, transport: Any = None, **options: Unpack[FollowOptions]) -> None:
        self._transport = transport
        self._settings = settings(options)
        self._lock = threading.Lock()

    def _inner(self, request: Any) -> Any:
        """Return what sends; it is of the library whose request comes first."""
        with self._lock:
            if self._transport is None:
                self._transport = getattr(library_of(request), self.default)()
            return self._transport


class FollowTransport(_Transport, _Sync):
    """Wraps a transport of httpx or httpx2: a 202 with a monitor is followed, and its result returned in its place.

    ``httpx.Client(transport=FollowTransport())`` is all; threads may share it. Every other answer passes through
    untouched. A request raises `FollowError` if its job could not be followed to a response.

    Args:
        transport: what sends the requests; None: ``HTTPTransport()`` of the client's library.
        options: see `FollowOptions`.

    Raises:
        OptionError: an option that cannot be used.
    """

    default = "HTTPTransport"

    def handle_request(self, request: Any) -> Any:
        inner, asked_at = self._inner(request), time.monotonic()
        response = inner.handle_request(request)
        if request.extensions.get(FOLLOWING) or not may_be_accepted(response):
            return response
        exchange = Exchange(request, lambda ask, _is_own: inner.handle_request(ask))
        following = self._settings.following(request, asked_at)
        with exchange.canceling(following, cancel=self._settings.cancel):
            answer = exchange.answer(response, _ask(request), asked_at)
            if following.begins_with(answer):
                answer = exchange.finish(following.whole(), self._settings.tell)
            return exchange.keep(answer, following)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def __enter__(self) -> Self:
        if self._transport is not None:
            self._transport.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._transport is not None:
            self._transport.__exit__(*exc)


class AsyncFollowTransport(_Transport, _Async):
    """Same as `FollowTransport`, but for ``AsyncClient``, on asyncio or trio."""

    default = "AsyncHTTPTransport"

    async def handle_async_request(self, request: Any) -> Any:
        inner, asked_at = self._inner(request), time.monotonic()
        response = await inner.handle_async_request(request)
        if request.extensions.get(FOLLOWING) or not may_be_accepted(response):
            return response
        exchange = AsyncExchange(request, lambda ask, _is_own: inner.handle_async_request(ask))
        following = self._settings.following(request, asked_at)
        async with exchange.canceling(following, cancel=self._settings.cancel):
            answer = await exchange.answer(response, _ask(request), asked_at)
            if following.begins_with(answer):
                answer = await exchange.finish(following.whole(), self._settings.tell)
            return exchange.keep(answer, following)

    async def aclose(self) -> None:
        if self._transport is not None:
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        if self._transport is not None:
            await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._transport is not None:
            await self._transport.__aexit__(*exc)


def _ask(request: Any) -> Ask:
    return Ask(request.method, str(request.url))
