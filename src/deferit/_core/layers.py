"""What deferit's answers owe to the layers around them: CORS, caches, and the application's own on a placeholder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from deferit._core.http import Response, merged, without

if TYPE_CHECKING:
    from deferit._core.http import Pairs, Request

EXPOSED = (
    "Location",
    "Content-Location",
    "Operation-Location",
    "Link",
    "Retry-After",
    "Preference-Applied",
    "ETag",
    "AsyncResult",
    "Sunset",
    "Idempotent-Replayed",
)
"""What a page of another origin has to be able to read (Fetch §3.2.4)."""

REPRESENTATION = frozenset(
    {
        "content-length",
        "content-type",
        "content-encoding",
        "content-language",
        "content-location",
        "content-range",
        "accept-ranges",
        "etag",
        "last-modified",
        "transfer-encoding",
    }
)
"""Fields that speak of a body: those of a placeholder go with its body."""


VARYING = ("Vary", "Prefer, Accept")
"""What a document varies by."""


def varying(response: Response) -> Response:
    """Return the answer of a deferrable route, which another preference would have changed."""
    if VARYING in response.headers:
        return response
    headers = merged(response.headers, "Vary", ("Prefer",))
    return response if headers is response.headers else replace(response, headers=headers)


def exposed(request: Request, response: Response) -> Response:
    """Return the response with ``Access-Control-Expose-Headers``, if a page of another origin asks."""
    if "Origin" not in request.headers:
        return response
    headers = merged(response.headers, "Access-Control-Expose-Headers", EXPOSED)
    return Response(response.status, headers, response.body)


def in_place_of(placeholder: Pairs, response: Response) -> Response:
    """Return the response with what the application's own layers put on the placeholder it stands for.

    Cookies, CORS and fields of the application's stay; what speaks of the placeholder's body goes with it.
    """
    theirs = without(placeholder, REPRESENTATION)
    if not theirs:
        return response
    ours = {name.lower() for name, _ in response.headers} - {"vary", "link"}
    kept = without(theirs, frozenset(ours))
    vary = tuple(value for name, value in response.headers if name.lower() == "vary")
    headers = (*kept, *without(response.headers, frozenset({"vary"})))
    members = tuple(member.strip() for value in vary for member in value.split(","))
    return Response(response.status, merged(headers, "Vary", members), response.body)
