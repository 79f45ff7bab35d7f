"""Servers that have never heard of deferit: Azure's operations, jobs of OGC API Processes, and some with worse manners.

An operation goes on with each poll, so that nothing has to be waited for: its words are told one after the other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

LONG = [b'["', *[b"0123456789abcdef" * 2**10] * 32, b'"]']
"""Half a megabyte of JSON, in pieces."""

TROUBLE = {"503": {"Retry-After": "1"}, "502": {}}


@dataclass
class Operation:
    """What is known of one operation; ``seen`` are the headers of every request that concerned it."""

    number: int
    words: list[str]
    seen: list[dict[str, str]] = field(default_factory=list)

    def next_word(self) -> str:
        return self.words.pop(0) if len(self.words) > 1 else self.words[0]


operations: dict[int, Operation] = {}
numbers = itertools.count(1)


def begin(request: Request) -> Operation:
    """Begin an operation with the words that the query lists."""
    operation = Operation(next(numbers), request.query_params["words"].split(","))
    operations[operation.number] = operation
    return visited(request, operation.number)


def visited(request: Request, number: int | None = None) -> Operation:
    operation = operations[number or request.path_params["number"]]
    operation.seen.append({"method": request.method, "path": request.url.path, **request.headers})
    return operation


def origin(request: Request) -> str:
    """Return where the operation is: here, or, if asked for, under another name of this machine."""
    here = str(request.base_url).rstrip("/")
    return here.replace("127.0.0.1", request.query_params.get("host", "127.0.0.1"))


async def azure(request: Request) -> Response:
    """Answer a POST with 202, its operation, and where the resource is going to be."""
    number = begin(request).number
    headers = {
        "Operation-Location": f"{origin(request)}/azure/operations/{number}",
        "Location": f"/resources/{number}",
    }
    return Response(status_code=202, headers=headers)


async def azure_resource(request: Request) -> Response:
    """Answer a PUT with 202, and any GET with the resource."""
    if request.method == "GET":
        return JSONResponse({"name": request.path_params["name"]})
    url = f"/azure/operations/{begin(request).number}"
    resource = {"properties": {"provisioningState": "Creating"}}
    return JSONResponse(resource, 202, {"Azure-AsyncOperation": url})


async def azure_operation(request: Request) -> Response:
    operation = visited(request)
    document: dict[str, Any] = {"status": operation.next_word()}
    if document["status"] == "Failed":
        document["error"] = {"code": "Overload", "message": "Too many lamps."}
    return JSONResponse(document, headers={"Retry-After": "0"})


async def resource(request: Request) -> Response:
    """Answer with headers that the operation was asked with; the word is none of a status document."""
    operation = visited(request)
    return JSONResponse({"status": "shipped", "seen": operation.seen})


async def location(request: Request) -> Response:
    """Answer 202 with a Location and nothing else, as the plainest of servers do."""
    number = begin(request).number
    to = request.query_params.get("to", f"/location/{number}")
    return Response(status_code=202, headers={"Location": to})


async def location_of(request: Request) -> Response:  # noqa: PLR0911  one for each word
    word = visited(request).next_word()
    if word == "ready":
        return JSONResponse({"status": "failed", "about": "somebody else's job"})
    if word == "long":
        return StreamingResponse(iter(LONG), media_type="application/json")
    if word == "garbled":
        return Response('{"status":', media_type="application/json")
    if word == "moved":
        return RedirectResponse(request.url.path, 307)
    if word in TROUBLE:
        return PlainTextResponse("later", int(word), TROUBLE[word])
    if word in {"403", "404"}:
        return JSONResponse({"detail": "Not yours."}, int(word))
    return Response(status_code=202, headers={"Retry-After": formatdate(usegmt=True)})


async def linked(request: Request) -> Response:
    """Answer 202 with a monitor as a link, which redirects to the result."""
    number = begin(request).number
    links = f'</events>; rel="monitor"; type="text/event-stream", <linked/{number}>; rel=monitor'
    return Response(status_code=202, headers={"Link": links})


async def link_of(request: Request) -> Response:
    operation = visited(request)
    if operation.next_word() == "ready":
        return RedirectResponse(f"{origin(request)}/resources/{operation.number}", 303)
    return JSONResponse({"state": "queued"}, headers={"Retry-After": "0"})


async def ogc(request: Request) -> Response:
    """Answer as OGC API Processes has it: 201, Location, and the first status."""
    number = begin(request).number
    headers = {"Location": f"/ogc/jobs/{number}", "Preference-Applied": "respond-async"}
    return JSONResponse(status_info(number, "accepted"), 201, headers)


async def ogc_job(request: Request) -> Response:
    operation = visited(request)
    document = status_info(operation.number, operation.next_word())
    return JSONResponse(document, headers={"Retry-After": "0"})


def status_info(number: int, word: str) -> dict[str, Any]:
    document: dict[str, Any] = {"jobID": str(number), "type": "process", "status": word}
    if word == "successful":
        rel = "http://www.opengis.net/def/rel/ogc/1.0/results"
        document["links"] = [
            {"rel": "self", "href": f"/ogc/jobs/{number}"},
            {"rel": rel, "href": f"/resources/{number}"},
        ]
    if word == "failed":
        document["message"] = "There is no such layer."
    return document


async def half(_: Request) -> Response:
    """Begin an answer, and close the connection."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionAbortedError

    return StreamingResponse(chunks(), headers={"Content-Length": "8"})


async def home(_: Request) -> Response:
    return PlainTextResponse("up")


app = Starlette(
    routes=[
        Route("/", home),
        Route("/half", half),
        Route("/azure/reports", azure, methods=["POST"]),
        Route("/azure/lamps/{name}", azure_resource, methods=["PUT", "GET"]),
        Route("/azure/operations/{number:int}", azure_operation),
        Route("/resources/{number:int}", resource),
        Route("/location", location, methods=["POST"]),
        Route("/location/{number:int}", location_of),
        Route("/linked", linked, methods=["POST"]),
        Route("/linked/{number:int}", link_of),
        Route("/ogc/processes/buffer/execution", ogc, methods=["POST"]),
        Route("/ogc/jobs/{number:int}", ogc_job),
    ]
)
