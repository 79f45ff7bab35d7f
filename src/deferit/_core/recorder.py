"""Takes down a handler's response as it is sent, and says which pieces of it are ready to be stored."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from deferit._core.http import NEVER_REPLAYED, Pairs, Response, first, without
from deferit._core.ids import urlsafe
from deferit._core.job import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 256 * 1024
"""Bytes in a stored piece of a body: what one request holds in memory, and one transaction writes, at a time."""

BODILESS = frozenset({204, 205, 304})


STATUS_CODES = range(200, 600)
"""Of final responses (RFC 9110 §15); servers do not send others."""


class IllegalResponse(ValueError):
    """The response has a status code or a field that cannot go over the wire; the text tells no value."""


class ResultTooLarge(Exception):
    """The response is longer than the option ``max_result`` allows."""


class Recorder:
    """One response: `start` it, `write` it, then ask for its `result`."""

    def __init__(self, url: str, limit: float) -> None:
        """Record a response to ``url``, to which a relative ``Location`` refers; ``limit`` is in bytes."""
        self._url = url
        self._limit = limit
        self._status: int | None = None
        self._headers: Pairs = ()
        self._pending = bytearray()
        self._digest: Any = None  # of the pieces
        self._length = 0
        self._pieces = 0
        self._is_ended = False
        self.is_too_large = False

    @property
    def is_whole(self) -> bool:
        """Whether the response was begun and ended."""
        return self._is_ended and self._status is not None

    @property
    def has_body(self) -> bool:
        """Whether some of the body was written."""
        return self._length > 0

    def response(self) -> Response:
        """Return the whole response as it was sent; of a long one only what was written after the last full piece."""
        assert self._status is not None
        return Response(self._status, self._headers, bytes(self._pending))

    def start(self, status: int, headers: Pairs) -> None:
        """Take the status code and header fields; a later start replaces an earlier one, as WSGI allows.

        Raises:
            IllegalResponse: it could never be replayed; kept, it would have the result route fail at each request.
        """
        if status not in STATUS_CODES:
            raise IllegalResponse(f"a handler cannot answer with the status code {status}")
        self._headers = tuple([_legal(name, value) for name, value in headers])
        self._status = status

    def write(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take a part of the body; yield index and bytes of each piece that is full, to be stored by the caller.

        Raises:
            ResultTooLarge: the limit is passed.
        """
        if not data or self._status in BODILESS:
            return
        self._length += len(data)
        if self._length > self._limit:
            self.is_too_large = True
            raise ResultTooLarge
        self._pending += data
        while len(self._pending) > PIECE:
            piece = bytes(self._pending[:PIECE])
            del self._pending[:PIECE]
            self._digest = self._digest or sha256()
            self._digest.update(piece)
            yield self._pieces, piece
            self._pieces += 1

    def end(self) -> None:
        """Take note that nothing more belongs to the response."""
        self._is_ended = True

    def result(self) -> tuple[Result, bytes]:
        """Return the head of the whole response, and the last piece of its body."""
        assert self._status is not None
        last = bytes(self._pending)
        names = {name.lower() for name, _ in self._headers}
        headers = without(self._headers, NEVER_REPLAYED)
        if "location" in names:
            headers = self._absolute(headers)
        own = first(self._headers, "etag") if "etag" in names else None
        chunks = self._pieces + bool(last)
        return Result(self._status, headers, self._length, chunks, own or self._etag(last)), last

    def _etag(self, last: bytes) -> str:
        if self._digest is None:
            digest = sha256(last)
        else:
            digest = self._digest.copy()
            digest.update(last)
        return f'"{urlsafe(digest.digest())}"'

    def _absolute(self, headers: Pairs) -> Pairs:
        """Make ``Location`` absolute: on the result route a relative one would point elsewhere."""
        return tuple(
            (name, _joined(self._url, value)) if name.lower() == "location" else (name, value)
            for name, value in headers
        )


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
"""What HTTP lets stand in a field (RFC 9110 §5.6.2, §5.5): no line break, with which a value would begin another."""


def _legal(name: str, value: str) -> tuple[str, str]:
    """Return a field, without the blanks around its value, which are no part of it (RFC 9110 §5.5)."""
    if not _is_name(name):
        raise IllegalResponse(f"the handler's response has a field {name!r}, which is no name")
    if not _VALUE.fullmatch(value):
        raise IllegalResponse(
            f"the handler's response has a line break, another control character or what is not latin-1 in {name}"
        )
    return name, value.strip(" \t")


@lru_cache(256)
def _is_name(name: str) -> bool:
    """Whether a text may be a field's name; an application has few of them."""
    return _NAME.fullmatch(name) is not None


def _joined(url: str, reference: str) -> str:
    """Return an absolute URL; what cannot be read as a reference stays as the handler wrote it."""
    try:
        return urljoin(url, reference)
    except ValueError:
        return reference
