"""The documents of the wire as JSON Schema, for `deferit.openapi`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deferit._core.ids import PATTERN
from deferit._core.job import FINISHED, Status
from deferit._core.listing import LONGEST_PAGE
from deferit._core.problems import NO_RESULT_STATUS, PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterable

Members = dict[str, Any]
"""The members of a JSON object."""


def schemas() -> Members:
    """Return the schemas by their names."""
    pending = [status for status in Status if status not in FINISHED]
    finished = [status for status in Status if status in FINISHED]
    return {
        "StatusDocument": _status_document(),
        "PendingDocument": _narrowed(pending, "retryAfter", "cancelUrl", "eventsUrl"),
        "FinishedDocument": _narrowed(finished, "finished", "expires"),
        "CanceledDocument": _narrowed([Status.CANCELED], "finished", "expires", "error"),
        "JobError": _job_error(),
        "JobList": _job_list(),
        "Problem": _problem_document(),
    }


def _status_document() -> Members:
    always = {
        "id": _text("The job's id.", pattern=PATTERN),
        "status": _text("Where the job stands.", enum=words(Status)),
        "done": {"type": "boolean", "description": "Whether the job is finished."},
        "created": _time("When the request was accepted."),
        "updated": _time("When the document last changed."),
        "monitorUrl": _url("The monitor."),
        "resultUrl": _url("The result; 202 until there is one."),
    }
    return {
        "type": "object",
        "description": "Where a job stands. Absent members are left out, never null; ignore those you don't know.",
        "required": list(always),
        "properties": always | _WHEN_KNOWN | _WHILE_PENDING | _OF_AN_END,
    }


def _narrowed(statuses: list[Status], *required: str) -> Members:
    """Return the status document of a job that has one of these statuses."""
    done = all(status in FINISHED for status in statuses)
    narrowed = {
        "required": list(required),
        "properties": {"status": {"enum": words(statuses)}, "done": {"const": done}},
    }
    return {"allOf": [reference("StatusDocument"), narrowed]}


def _job_error() -> Members:
    codes = ["handler-response", "job-canceled", *NO_RESULT_STATUS]
    return {
        "type": "object",
        "description": "Why a job did not succeed.",
        "required": ["code", "message"],
        "properties": {
            "code": _text("Which of the reasons that there are.", enum=codes),
            "message": _text("The reason in words."),
            "type": _text("The problem's type (RFC 9457).", format="uri"),
            "title": _text("The problem's title."),
            "status": _status_code(),
            "detail": _text("More; of a canceled job what is guaranteed of its handler."),
        },
    }


def _job_list() -> Members:
    link = {
        "type": "object",
        "required": ["rel", "href"],
        "properties": {"rel": _text("What it leads to."), "href": _url("Where it leads.")},
    }
    return {
        "type": "object",
        "description": "A page of jobs.",
        "required": ["jobs", "links"],
        "properties": {
            "jobs": {
                "type": "array",
                "maxItems": LONGEST_PAGE,
                "items": reference("StatusDocument"),
            },
            "links": {"type": "array", "items": link},
        },
    }


def _problem_document() -> Members:
    return {
        "type": "object",
        "description": "A problem (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": _text("The problem's type.", format="uri"),
            "title": _text("The problem's title."),
            "status": _status_code(),
            "detail": _text("What to know about it."),
            "code": _text("What to tell problems apart by.", enum=list(PROBLEMS)),
        },
    }


def reference(name: str) -> Members:
    """Return the reference to one of the schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def words(statuses: Iterable[Status]) -> list[str]:
    """Return statuses as they are on the wire."""
    return [status.value for status in statuses]


def _text(text: str, **schema: Any) -> Members:
    return {"type": "string", "description": text, **schema}


def _number(text: str, **schema: Any) -> Members:
    return {"type": "integer", "description": text, **schema}


def _time(text: str) -> Members:
    return _text(text, format="date-time")


def _url(text: str) -> Members:
    return _text(text, format="uri")


def _status_code() -> Members:
    return _number("A status code of HTTP.", minimum=100, maximum=599)


_WHEN_KNOWN: Members = {
    "started": _time("When its handler was started, the last time."),
    "finished": _time("When it was finished."),
    "expires": _time("When it will be gone."),
    "progress": _number("Percent, as the handler reports it.", minimum=0, maximum=100),
    "message": _text("What the handler says."),
    "attempt": _number("How many times its handler was started.", minimum=1),
    "error": reference("JobError"),
}

_WHILE_PENDING: Members = {
    "retryAfter": _number("Seconds to wait before asking again.", minimum=1),
    "cancelUrl": _url("POST there to cancel it."),
    "eventsUrl": _url("Its changes as server-sent events."),
    "queuePosition": _number("Waiting jobs ahead.", minimum=0),
    "estimatedCompletion": _time("When it will be finished, as likely as not."),
    "estimatedCompletionLatest": _time("When it will be finished, nine times of ten."),
}

_OF_AN_END: Members = {
    "resourceLocation": _url("The result of a job that succeeded."),
    "resultStatus": _status_code(),
    "resultType": _text("The result's media type."),
    "resultLength": _number("The bytes of the result.", minimum=0),
}
