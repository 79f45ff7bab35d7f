"""Errors as problem documents (RFC 9457): the codes of the contract, and nowhere else."""

from __future__ import annotations

from deferit._core.http import GUARDED, Response, json_bytes

NO_RESULT_STATUS = {
    "handler-exception": 500,
    "deadline-exceeded": 504,
    "interrupted": 500,
    "result-too-large": 500,
    "route-gone": 500,
}
"""What the result route answers for a job that failed without a response."""

PROBLEMS: dict[str, tuple[int, str, str]] = {
    "job-not-found": (404, "Job not found", "There is no such job, or it is not yours to see."),
    "job-expired": (410, "Job expired", "The job is finished and its time to live has run out."),
    "job-canceled": (410, "Job canceled", "The job was canceled; it has no result."),
    "job-already-finished": (409, "Job already finished", "A finished job cannot be canceled."),
    "precondition-failed": (
        412,
        "Precondition failed",
        "This is not what If-Match or If-Unmodified-Since names.",
    ),
    "invalid-parameter": (400, "Invalid parameter", "The query cannot be read."),
    "idempotency-key-invalid": (
        400,
        "Idempotency key invalid",
        "Idempotency-Key has to be one quoted string or token of 1 to 255 characters.",
    ),
    "idempotency-key-reused": (
        422,
        "Idempotency key reused",
        "Another request has used this Idempotency-Key; a new request needs a new key.",
    ),
    "callback-not-allowed": (
        400,
        "Callback not allowed",
        "Callback-URL has to be one URL that this server is set up to call.",
    ),
    "method-not-allowed": (405, "Method not allowed", "Allowed here: {allow}."),
    "store-unavailable": (503, "Store unavailable", "The store of jobs does not answer now."),
    "queue-full": (503, "Queue full", "{limit} jobs wait already; try again later."),
    "too-many-jobs": (
        429,
        "Too many jobs",
        "You have {limit} unfinished jobs already; try again when one of them is finished.",
    ),
    "shutting-down": (503, "Shutting down", "This server is stopping; the next one will answer."),
    "range-not-satisfiable": (416, "Range not satisfiable", "The result has {length} bytes."),
    "request-too-large": (413, "Request too large", "The body is longer than {limit} bytes."),
    "request-refused": (400, "Request refused", "The request cannot be accepted."),
    "hook-failed": (
        500,
        "Hook failed",
        "A function of the application has failed; the server's log says why.",
    ),
    "handler-exception": (500, "Handler exception", "The handler raised an exception."),
    "handler-response": (500, "Handler response", "The handler answered with an error."),
    "deadline-exceeded": (504, "Deadline exceeded", "The handler took too long."),
    "interrupted": (500, "Interrupted", "The worker was lost while the handler ran."),
    "result-too-large": (500, "Result too large", "The handler's response is too long to keep."),
    "route-gone": (500, "Route gone", "The application no longer has this route."),
}
"""Code: status, title and default detail of a problem (RFC 9457)."""


def problem(code: str, detail: str | None = None, **values: object) -> Response:
    """Return a problem document (RFC 9457) for a code of the contract."""
    status, title, default = PROBLEMS[code]
    return problem_response(status, title, detail or default.format(**values), code)


def problem_response(status: int, title: str, detail: str, code: str, pause: int = 1) -> Response:
    """Return a problem document with members of one's own; ``pause`` is how many seconds to leave what will pass."""
    members = {
        "type": problem_type(code),
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    retry = (("Retry-After", str(pause)),) if status in {429, 503} else ()
    headers = (("Content-Type", "application/problem+json"), ("Cache-Control", "no-store"))
    return Response(status, (*headers, *retry, *GUARDED), json_bytes(members))


def problem_type(code: str) -> str:
    """Return the URI that names the kind of a problem."""
    return f"urn:deferit:problem:{code}"


def method_not_allowed(methods: tuple[str, ...]) -> Response:
    """Return the problem of a wrong method on a mounted route, with those that are right."""
    allow = ", ".join(methods)
    refusal = problem("method-not-allowed", allow=allow)
    return Response(refusal.status, (*refusal.headers, ("Allow", allow)), refusal.body)
