"""An OpenAPI description of the mounted routes: serve it, merge it into the application's own, test against it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from deferit._core.document import LONGEST_RETRY
from deferit._core.flow import ROUTES
from deferit._core.ids import PATTERN
from deferit._core.job import Status
from deferit._core.listing import LONGEST_PAGE, PAGE
from deferit._core.problems import NO_RESULT_STATUS, PROBLEMS
from deferit._schemas import Members, reference, schemas, words

CONTRACT = "1.0"
"""The version of the wire contract that is described."""


def description(prefix: str = "/jobs", *, server_url: str = "/", with_list: bool = True) -> Members:
    """Return an OpenAPI 3.1 document that describes what is mounted under ``prefix``.

    ``server_url`` is the application's URL without ``prefix``. The list is there for applications that give the option
    ``owner`` or ``operator``. Under ``components`` is what an application's own description refers to where it is
    deferred: the response ``AcceptedResponse``, the refusals of a submission, the parameters ``Prefer`` and
    ``IdempotencyKey``.
    """
    job = f"{prefix}/{{jobId}}"
    listed = {prefix: {"get": _list(), "head": _head(_list())}} if with_list else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Deferred requests", "version": CONTRACT, "description": _SUMMARY},
        "servers": [{"url": server_url}],
        "tags": [{"name": "jobs", "description": "Monitors and results of deferred requests."}],
        "paths": {
            **listed,
            job: _path_of("", get=_monitor(), delete=_delete()),
            f"{job}/result": _path_of("result", get=_result()),
            f"{job}/events": _path_of("events", get=_events()),
            f"{job}/cancel": _path_of("cancel", post=_cancel()),
        },
        "components": {
            "schemas": schemas(),
            "responses": _responses(),
            "parameters": _parameters(),
        },
    }


_SUMMARY = (
    "A deferred request is answered 202 with a link to its monitor. The monitor says where the job stands; "
    "its result is the response that the request would have had."
)


# --- the routes ------------------------------------------------------------------------------------------------------


def _path_of(resource: str, **operations: Members) -> Members:
    """Return a path item; HEAD is described as GET is, where the route has it."""
    if "HEAD" in ROUTES[resource]:
        operations["head"] = _head(operations["get"])
    return {"parameters": [_parameter("JobId")], **operations}


def _monitor() -> Members:
    return _operation(
        "getJob",
        "Where a job stands; with `Prefer: wait=N` as soon as it is finished, or has changed. "
        "A client that prefers `text/event-stream` is answered as by `getEvents`, one that prefers `text/html` "
        "by a page for people.",
        ("Prefer", "IfMatch", "IfUnmodifiedSince", "IfNoneMatch", "IfModifiedSince"),
        {
            "200": {
                "description": "The job is finished: succeeded, failed or canceled.",
                "headers": _headers("ETag", "Last-Modified", "Link", "Cache-Control", "Sunset"),
                "content": _json("FinishedDocument") | _HTML,
            },
            "202": {
                "description": "The job is not finished: ask again after `Retry-After` seconds.",
                "headers": _headers("Location", "Retry-After", "ETag", "Link", "Cache-Control"),
                "content": _json("PendingDocument") | _HTML,
            },
            "304": _not_modified(),
            **_problems("job-not-found", "job-expired", "precondition-failed", "store-unavailable"),
        },
    )


def _delete() -> Members:
    return _operation(
        "deleteJob",
        "Cancel a job that is not finished; purge one that is. To cancel and nothing else, use `cancelJob`.",
        ("IfMatch", "IfUnmodifiedSince"),
        {
            "200": _canceled(),
            "204": {"description": "The job was finished, and is gone with its result."},
            **_too_late(),
            **_problems("job-not-found", "job-expired", "precondition-failed", "store-unavailable"),
        },
    )


def _cancel() -> Members:
    return _operation(
        "cancelJob",
        "Cancel a job; a second time changes nothing. A client that prefers `text/html` is led back to the monitor.",
        ("IfMatch", "IfUnmodifiedSince"),
        {
            "200": _canceled(),
            **_too_late(),
            **_problems("job-not-found", "job-expired", "precondition-failed", "store-unavailable"),
        },
    )


def _result() -> Members:
    """Describe R: whatever status the handler answered with may be there, hence ``default`` and ``*/*``."""
    without_one = _problems(
        "job-not-found",
        "job-expired",
        "job-canceled",
        "precondition-failed",
        "range-not-satisfiable",
        "store-unavailable",
        *NO_RESULT_STATUS,
    )
    for status, response in without_one.items():
        response["content"] |= _ANYTHING
        if int(status) in NO_RESULT_STATUS.values():
            response["headers"] |= _headers("AsyncResult", "Link")
    told = _headers("AsyncResult", "Link", "ETag", "Cache-Control", "Sunset")
    return _operation(
        "getResult",
        "The handler's own response, byte for byte; 202 until there is one.",
        ("Prefer", "IfMatch", "IfUnmodifiedSince", "IfNoneMatch", "Range", "IfRange"),
        {
            "200": {
                "description": "The handler's response, which was 200, or 202.",
                "headers": told | _headers("Accept-Ranges", required=False),
                "content": _ANYTHING,
            },
            "202": {
                "description": "The job is not finished: ask again after `Retry-After` seconds.",
                "headers": _headers("Location", "Retry-After", "Link", "Cache-Control"),
                "content": _json("PendingDocument") | _HTML,
            },
            "206": {
                "description": "The range of it that was asked for.",
                "headers": told | _headers("Accept-Ranges", "Content-Range"),
                "content": _ANYTHING,
            },
            "304": _not_modified(),
            **without_one,
            "default": {
                "description": "The handler's response with a status code of its own.",
                "headers": told,
            },
        },
    )


def _events() -> Members:
    return _operation(
        "getEvents",
        "The status document now and at each change, as server-sent events `status`, until the job is finished.",
        ("LastEventId",),
        {
            "200": {
                "description": "A stream; the id of an event is the revision that it shows.",
                "headers": _headers("Cache-Control"),
                "content": {"text/event-stream": {}},
            },
            "204": {"description": "The client has the last event: there will be no more."},
            **_problems("job-not-found", "job-expired", "store-unavailable"),
        },
    )


def _list() -> Members:
    return _operation(
        "listJobs",
        "One's own jobs, newest first; everybody's for an operator.",
        ("Status", "Limit", "Cursor"),
        {
            "200": {
                "description": "A page of them.",
                "headers": _headers("Cache-Control") | _headers("Link", required=False),
                "content": _json("JobList") | _HTML,
            },
            **_problems("invalid-parameter", "store-unavailable"),
        },
    )


def _operation(name: str, summary: str, parameters: tuple[str, ...], responses: Members) -> Members:
    return {
        "operationId": name,
        "tags": ["jobs"],
        "summary": summary,
        "parameters": [_parameter(parameter) for parameter in parameters],
        "responses": dict(sorted(responses.items())),
    }


def _head(get: Members) -> Members:
    """Return what GET is described as, less the content."""
    name = get["operationId"].replace("get", "head").replace("list", "headOf")
    responses = {
        status: {member: value for member, value in response.items() if member != "content"}
        for status, response in get["responses"].items()
    }
    return {**get, "operationId": name, "responses": responses}


# --- responses -------------------------------------------------------------------------------------------------------


def _responses() -> Members:
    """Return the responses of a submission: the 202, and every refusal that is not of the mounted routes alone."""
    codes = [code for code in PROBLEMS if code not in _OF_MOUNTED_ROUTES]
    return {"AcceptedResponse": _accepted()} | {
        _camel(code): response for code in codes for response in _problems(code).values()
    }


def _accepted() -> Members:
    always = _headers(
        "Location", "Operation-Location", "Link", "Retry-After", "Cache-Control", "Vary"
    )
    sometimes = _headers(
        "Content-Location", "Preference-Applied", "Idempotent-Replayed", required=False
    )
    return {
        "description": "The request is accepted; its job is durable. With `return=minimal` there is no body.",
        "headers": always | sometimes,
        "content": _json("PendingDocument") | _HTML,
    }


def _canceled() -> Members:
    return {
        "description": "The job is canceled; `error.detail` says what is guaranteed of its handler.",
        "headers": _headers("ETag", "Cache-Control"),
        "content": _json("CanceledDocument") | _HTML,
    }


def _too_late() -> Members:
    """Return what a cancel of a finished job is answered; the page shows how it has ended."""
    responses = _problems("job-already-finished")
    responses["409"]["content"] |= _HTML
    return responses


def _not_modified() -> Members:
    return {"description": "The client has it.", "headers": _headers("ETag", "Cache-Control")}


def _problems(*codes: str) -> Members:
    """Return a response for each status code that the problems have; several may share one."""
    shared: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        shared[PROBLEMS[code][0]].append(code)
    return {str(status): _problem(status, found) for status, found in shared.items()}


def _problem(status: int, codes: list[str]) -> Members:
    titles = [f"{PROBLEMS[code][1]} (`{code}`)" for code in codes]
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    headers = (
        _headers("Cache-Control", "Retry-After")
        if status in {429, 503}
        else _headers("Cache-Control")
    )
    return {
        "description": " or ".join(titles) + ".",
        "headers": headers,
        "content": {
            "application/problem+json": {"schema": {"allOf": [reference("Problem"), narrowed]}}
        },
    }


def _json(schema: str) -> Members:
    return {"application/json": {"schema": reference(schema)}}


_ANYTHING: Members = {"*/*": {"schema": {}}}

_HTML: Members = {"text/html": {"schema": {"type": "string", "description": "A page for people."}}}
"""What is answered where the client prefers it to JSON."""

_OF_MOUNTED_ROUTES = frozenset(
    {
        "job-not-found",
        "job-expired",
        "job-canceled",
        "job-already-finished",
        "precondition-failed",
        "invalid-parameter",
        "method-not-allowed",
        "range-not-satisfiable",
        "request-refused",
        "handler-response",
        *NO_RESULT_STATUS,
    }
)


def _camel(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("-"))


# --- header fields ---------------------------------------------------------------------------------------------------


def _headers(*names: str, required: bool = True) -> Members:
    return {name: {**_HEADERS[name], "required": required} for name in names}


def _header(text: str, **schema: Any) -> Members:
    return {"description": text, "schema": {"type": "string", **schema}}


_HEADERS: Members = {
    "Accept-Ranges": _header("Single ranges of bytes can be asked for.", const="bytes"),
    "AsyncResult": _header("The handler's true status code.", pattern="^[1-5][0-9][0-9]$"),
    "Cache-Control": _header("Nothing here is for shared caches."),
    "Content-Location": _header("The monitor, whose document is the body.", format="uri"),
    "Content-Range": _header("Which bytes of how many.", pattern="^bytes "),
    "ETag": _header(
        "The representation's tag; weak while a job is pending.", pattern='^(W/)?".*"$'
    ),
    "Idempotent-Replayed": _header("The key has a job already; this is its answer.", const="true"),
    "Last-Modified": _header("When the job was finished."),
    "Link": _header("The monitor, its events, or the next page.", pattern="^<"),
    "Location": _header("Where to ask next.", format="uri"),
    "Operation-Location": _header("The monitor.", format="uri"),
    "Preference-Applied": _header("Which preferences were honoured."),
    "Retry-After": {
        "description": f"Seconds to wait before asking again; without a schedule at most {LONGEST_RETRY}.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Sunset": _header("When the job will be gone."),
    "Vary": _header("Another preference has another answer."),
}


# --- parameters ------------------------------------------------------------------------------------------------------


def _parameter(name: str) -> Members:
    return {"$ref": f"#/components/parameters/{name}"}


def _parameters() -> Members:
    return {
        "JobId": {
            "name": "jobId",
            "in": "path",
            "required": True,
            "description": "A path whose segment has another shape is the application's.",
            "schema": {"type": "string", "pattern": PATTERN},
        },
        "Prefer": _field("Prefer", "`respond-async`, `wait=N` and `return=minimal` of RFC 7240."),
        "IdempotencyKey": _field(
            "Idempotency-Key", "The same key and request have the same job.", minLength=1
        ),
        "IfMatch": _field("If-Match", "Only if it is still what has this tag."),
        "IfUnmodifiedSince": _field("If-Unmodified-Since", "Only if it was not modified since."),
        "IfNoneMatch": _field("If-None-Match", "Only if it is not what has this tag."),
        "IfModifiedSince": _field("If-Modified-Since", "Only if it was finished after that."),
        "IfRange": _field("If-Range", "A range only of what has this tag."),
        "Range": _field("Range", "One range of bytes, of a result that is 200."),
        "LastEventId": _field("Last-Event-ID", "The id of the last event that the client has."),
        "Status": _query("status", "Only jobs of this status.", enum=words(Status)),
        "Limit": _query(
            "limit",
            "Jobs on a page.",
            type="integer",
            minimum=1,
            maximum=LONGEST_PAGE,
            default=PAGE,
        ),
        "Cursor": _query("cursor", "What the link to the next page has.", pattern=PATTERN),
    }


def _field(name: str, text: str, **schema: Any) -> Members:
    return {
        "name": name,
        "in": "header",
        "description": text,
        "schema": {"type": "string", **schema},
    }


def _query(name: str, text: str, **schema: Any) -> Members:
    return {
        "name": name,
        "in": "query",
        "description": text,
        "schema": {"type": "string", **schema},
    }
