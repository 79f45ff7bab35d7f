"""What is sent while a job is followed, in the client library's own objects: httpx's or httpx2's, never both."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from types import ModuleType

    from deferit.client.flow import Ask
    from deferit.client.monitors import Document

LIBRARIES = ("httpx", "httpx2")

FOLLOWING = "deferit.following"
"""The extension of requests that are sent while a job is followed: nobody follows what these are answered with."""

MONITOR = "deferit.monitor"
"""The extension of a final response that names the monitor it was found by."""

POLL = 60.0
"""Seconds that a server gets to answer a poll, if the client sets no limit: a dead connection would never end."""

MOST = 2**18
"""Bytes: the longest status document that is read as one."""

TO_ANYBODY = frozenset({"accept-encoding", "accept-language", "user-agent"})
"""Request header fields that go to other origins: those that can hold no secret."""

NOT_REPEATED = frozenset(
    {
        "accept",
        "callback-url",
        "connection",
        "expect",
        "host",
        "idempotency-key",
        "prefer",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Request header fields that speak of the original request or its connection; so do ``Content-*`` and ``If-*``."""

ACCEPT = "application/json, */*;q=0.5"
"""What a poll accepts: a page for people is no use, but some servers answer with the result itself."""


def library_of(given: object) -> ModuleType:
    """Return the library that a request, a response or a client is of."""
    for base in type(given).__mro__:
        name = base.__module__.partition(".")[0]
        if name in LIBRARIES:
            return sys.modules[name]
    raise OptionError(f"{given!r} is not of httpx or httpx2; write for example httpx.Client()")


def any_library() -> ModuleType:
    """Return the library that is installed, httpx if both are.

    Raises:
        OptionError: neither is.
    """
    for name in LIBRARIES:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise OptionError('deferit.client needs the extra: pip install "deferit[client]"')


def outgoing(original: Any, ask: Ask) -> Any:
    """Return the request that asks; it carries what the original carried only if it goes to the same origin."""
    library = library_of(original)
    request = library.Request(ask.method, ask.url)
    request.headers = library.Headers(
        [
            *request.headers.raw,
            *_repeated(original, is_own=is_own(original, request)),
            *_own(original, ask),
        ]
    )
    request.extensions = {"timeout": _timeout(original, ask), FOLLOWING: True}
    return request


def is_own(original: Any, request: Any) -> bool:
    """Whether a request goes to the origin of the original one, and may carry its secrets (RFC 6454 §4).

    It is asked of the URLs as the library has read them, which is where it will connect to.
    """
    one, other = original.url, request.url
    same_server = (one.scheme, one.host) == (other.scheme, other.host)
    return same_server and _port(one) == _port(other)


def _port(url: Any) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _repeated(original: Any, *, is_own: bool) -> Iterator[tuple[bytes, bytes]]:
    for name, value in original.headers.raw:
        key = name.decode("latin-1").lower()
        is_once = key in NOT_REPEATED or key.startswith(("content-", "if-"))
        if not is_once if is_own else key in TO_ANYBODY:
            yield name, value


def _own(original: Any, ask: Ask) -> Iterator[tuple[bytes, bytes]]:
    accept = original.headers.get("Accept", "*/*") if ask.is_result else ACCEPT
    yield b"Accept", accept.encode("latin-1")
    if ask.wait:
        yield b"Prefer", b"wait=%d" % ask.wait
    if ask.etag:
        yield b"If-None-Match", ask.etag.encode("latin-1")


def _timeout(original: Any, ask: Ask) -> dict[str, float | None]:
    """Return the client's limits; those of a poll are no longer than there is time for."""
    limits: dict[str, float | None] = original.extensions.get("timeout") or {}
    if ask.is_result:
        return dict(limits)
    limited = {
        name: min(POLL if limit is None else limit, ask.patience)
        for name in ("connect", "read", "write", "pool")
        for limit in [limits.get(name)]
    }
    return {**limited, "read": limited["read"] + ask.wait}


def may_be_accepted(job: Any) -> bool:
    """Whether this is a response that may name a monitor, rather than a URL or an answer of another kind."""
    return not isinstance(job, str) and job.status_code in {201, 202}


def may_be_document(response: Any) -> bool:
    """Whether the body of a response may be a status document, so that it is read rather than passed on."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    length = response.headers.get("Content-Length", "")
    is_long = length.isdigit() and int(length) > MOST
    return is_json and not is_long and "AsyncResult" not in response.headers


def document_from(response: Any) -> Document | None:
    """Return the JSON object that a body is; None if it is something else, or cannot be decoded."""
    try:
        response.read()
        found = response.json()
    except (ValueError, library_of(response).DecodingError):
        return None
    return found if isinstance(found, dict) else None


def again(response: Any, stream: Any) -> Any:
    """Return a response like one whose body was read, or begun, with a stream of the same body."""
    copy = library_of(response).Response(
        response.status_code,
        headers=response.headers,
        stream=stream,
        request=getattr(response, "_request", None),
        extensions=response.extensions,
    )
    with suppress(RuntimeError):  # it is known only of what a client has sent
        copy.elapsed = response.elapsed
    return copy


@cache
def rest_of(library: ModuleType) -> Callable[[Sequence[bytes], Any, Any], Any]:
    """Return the class of streams that give back what was read from another, and then its rest."""

    class Rest(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, begun: Sequence[bytes], rest: Any, response: Any) -> None:
            self._begun = begun
            self._rest = rest
            self._response = response

        def __iter__(self) -> Iterator[bytes]:
            yield from self._begun
            yield from self._rest

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._begun:
                yield chunk
            async for chunk in self._rest:
                yield chunk

        def close(self) -> None:
            self._response.close()

        async def aclose(self) -> None:
            await self._response.aclose()

    return Rest
