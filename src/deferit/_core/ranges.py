"""A part of a response: the single byte range of RFC 9110 §14."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from deferit._core.body import StoredBody
from deferit._core.http import Response, without
from deferit._core.problems import problem

if TYPE_CHECKING:
    from deferit._core.http import Body, Request


def ranged(whole: Response, request: Request, tag: str) -> Response:
    """Return the single range that is asked for of a 200, or the whole (RFC 9110 §14)."""
    headers = (*without(whole.headers, frozenset({"accept-ranges"})), ("Accept-Ranges", "bytes"))
    length = whole.length or 0
    wanted = _span(request.headers.get("Range", ""), length)
    if wanted is None or request.method != "GET" or not _is_same(request, tag):
        return Response(whole.status, headers, whole.body)
    start, stop = wanted
    if start >= stop:
        unmet = problem("range-not-satisfiable", length=length)
        return Response(416, (*unmet.headers, ("Content-Range", f"bytes */{length}")), unmet.body)
    content_range = ("Content-Range", f"bytes {start}-{stop - 1}/{length}")
    return Response(206, (*headers, content_range), _part(whole.body, start, stop))


def _span(asked: str, length: int) -> tuple[int, int] | None:
    """Return start and stop of the one range of bytes that is asked for, nothing between them if it lies outside.

    "If the selected representation is shorter than the specified suffix-length, the entire representation is used"
    (RFC 9110 §14.1.2). None: it is something else, and to be ignored.
    """
    found = _RANGE.fullmatch(asked.strip())
    first, last = found.groups() if found else ("", "")
    if not first:
        return (max(0, length - int(last)), length) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(length, int(last) + 1) if last else length


_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


def _is_same(request: Request, tag: str) -> bool:
    """Whether the range is of what the client has the rest of (strong comparison, RFC 9110 §13.1.5)."""
    condition = request.headers.get("If-Range")
    return condition is None or (condition.strip() == tag and not tag.startswith("W/"))


def _part(body: bytes | Body, start: int, stop: int) -> bytes | Body:
    if isinstance(body, StoredBody):
        return replace(body, start=body.start + start, stop=body.start + stop)
    assert isinstance(body, bytes)
    return body[start:stop]
