"""What the wire shows of a job: documents, header fields and problems, as CONTRACT.md has them, and nowhere else."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from werkzeug.http import http_date

from deferit._core.body import StoredBody
from deferit._core.estimate import estimate
from deferit._core.http import (
    GUARDED,
    NEVER_REPLAYED,
    Pairs,
    Response,
    every,
    first,
    json_bytes,
    without,
)
from deferit._core.job import Failure, Job, Result, Status
from deferit._core.layers import VARYING
from deferit._core.preconditions import has, instant, is_met
from deferit._core.prefer import NOTHING
from deferit._core.problems import NO_RESULT_STATUS, PROBLEMS, problem, problem_type
from deferit._core.queries import MOST_AHEAD
from deferit._core.ranges import ranged
from deferit._core.representations import JSON
from deferit._core.sealed import token_of

if TYPE_CHECKING:
    from deferit._core.estimate import Estimate, Outlook
    from deferit._core.http import Body, Request
    from deferit._core.policy import Deferral
    from deferit._core.representations import Representation

OK = 200
ERROR = 400

LONGEST_RETRY = 30
"""Seconds: the most that a client without an estimate is asked to wait between polls."""

RECENT = 256
"""Instants and seconds whose texts are kept at hand: each is told more than once, or to many."""


class Site(msgspec.Struct, frozen=True, gc=False):
    """Where the routes of deferit are seen from outside: everything in front of ``/{id}``."""

    mount_url: str

    def monitor(self, job_id: str) -> str:
        """Return the URL of a job's monitor."""
        return f"{self.mount_url}/{job_id}"


def retry_after(job: Job, now: float, expected: Estimate | None) -> int:
    """Return the seconds after which to ask again.

    Half of what the estimate says is left, but no more than until one job of ten like it would be finished; when the
    window opens, for a job that waits for one; with nothing to go by 1, 1, 2, 4 … 30 by the job's age.
    """
    if job.is_early(now):
        return math.ceil(job.due_at - now)
    if expected is not None:
        return pause(min((expected.median - now) / 2, expected.soonest - now))
    age = now - job.created_at
    return min(LONGEST_RETRY, 2 ** int(math.log2(age))) if age >= 2 else 1  # noqa: PLR2004  below, a power of two is no whole second


def pause(seconds: float | None) -> int:
    """Return seconds as ``Retry-After`` tells them: whole ones, from one to half a minute."""
    return 1 if seconds is None else min(LONGEST_RETRY, max(1, int(seconds)))


def status_document(job: Job, site: Site, now: float, outlook: Outlook | None) -> dict[str, Any]:
    """Return the status document; absent members are left out, never null."""
    monitor, is_finished = site.monitor(job.id), job.is_finished
    return {
        "id": job.id,
        "status": job.status,
        "done": is_finished,
        "created": _time(job.created_at),
        "updated": _time(job.updated_at),
        "monitorUrl": monitor,
        "resultUrl": f"{monitor}/result",
        **(_ended(job, monitor) if is_finished else _pending(job, monitor, now, outlook)),
        **_optional(job),
    }


def _optional(job: Job) -> dict[str, Any]:
    """Return the members that are there as soon as they are known."""
    members: dict[str, Any] = {}
    if job.started_at is not None:
        members["started"] = _time(job.started_at)
    if job.finished_at is not None:
        members["finished"] = _time(job.finished_at)
    if job.expires_at is not None:
        members["expires"] = _time(job.expires_at)
    if job.progress is not None:
        members["progress"] = job.progress
    if job.message is not None:
        members["message"] = job.message
    if job.attempt:
        members["attempt"] = job.attempt
    if job.error is not None:
        members["error"] = _error(job, job.error)
    return members


def _pending(job: Job, monitor: str, now: float, outlook: Outlook | None) -> dict[str, Any]:
    expected = outlook.expected if outlook else estimate(job, now)
    members: dict[str, Any] = {
        "retryAfter": retry_after(job, now, expected),
        "cancelUrl": f"{monitor}/cancel",
        "eventsUrl": f"{monitor}/events",
    }
    position = outlook.position if outlook else None
    if job.status is Status.ACCEPTED and position is not None and position < MOST_AHEAD:
        members["queuePosition"] = position
    if expected is not None:
        members["estimatedCompletion"] = _time(expected.median)
        members["estimatedCompletionLatest"] = _time(expected.latest)
    return members


def _ended(job: Job, monitor: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if job.status is Status.SUCCEEDED:
        members["resourceLocation"] = f"{monitor}/result"
    if job.result is not None:
        members["resultStatus"] = job.result.status
        members["resultLength"] = job.result.length
        content_type = job.result.content_type
        if content_type:
            members["resultType"] = content_type
    return members


def _error(job: Job, error: Failure) -> dict[str, Any]:
    status, title, detail = PROBLEMS[error.code]
    return {
        "code": error.code,
        "message": error.message,
        "type": problem_type(error.code),
        "title": title,
        "status": job.result.status if job.result and job.result.status >= ERROR else status,
        "detail": error.detail or detail,
    }


@lru_cache(RECENT)
def _time(instant: float) -> str:
    """Return an instant as RFC 3339 has it, in UTC."""
    milliseconds = int(instant * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(RECENT)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


def accepted(  # noqa: PLR0913, PLR0917  all that an answer depends on
    job: Job,
    site: Site,
    now: float,
    outlook: Outlook | None,
    deferral: Deferral,
    shown: Representation = JSON,
) -> Response:
    """Return the 202 of RFC 9110 §15.3.3: noncommittal, with a link to the status monitor."""
    told = status_document(job, site, now, outlook)
    monitor = told["monitorUrl"]
    prefer = deferral.prefer
    applied = _applied(deferral)
    headers = (
        ("Location", monitor),
        *(() if prefer.minimal else (("Content-Location", monitor), *shown.headers)),
        ("Operation-Location", monitor),
        ("Link", _links(told)),
        ("Retry-After", str(told["retryAfter"])),
        *((("Preference-Applied", applied),) if applied else ()),
        VARYING,
        ("Cache-Control", "no-store"),
        *(() if shown is JSON else GUARDED),
    )
    return Response(202, headers, b"" if prefer.minimal else shown.body(told, now))


def _links(told: dict[str, Any]) -> str:
    """Return the value of ``Link`` that leads to the monitor, and to its events while there may be some."""
    monitor = f'<{told["monitorUrl"]}>; rel="monitor"'
    if told["done"]:
        return monitor
    return f'{monitor}, <{told["eventsUrl"]}>; rel="monitor"; type="text/event-stream"'


def _applied(deferral: Deferral) -> str:
    """Return the preferences that the answer honours (RFC 7240 §3)."""
    prefer = deferral.prefer
    if prefer is NOTHING:
        return ""
    members = (
        "respond-async" if prefer.respond_async else "",
        f"wait={math.ceil(deferral.wait)}" if prefer.wait and deferral.wait > 0 else "",
        "return=minimal" if prefer.minimal else "",
    )
    return ", ".join(member for member in members if member)


def monitor(  # noqa: PLR0913, PLR0917  all that an answer depends on
    job: Job,
    site: Site,
    now: float,
    outlook: Outlook | None,
    request: Request,
    shown: Representation = JSON,
) -> Response:
    """Return the monitor's answer: 202 while the job is pending, 200 for ever after.

    304 if the client has this state, 412 if it means another one.
    """
    tag = shown.tag(job)
    if not is_met(request.headers, tag, job.finished_at, weakly=True):
        return problem("precondition-failed")
    told = status_document(job, site, now, outlook)
    link = ("Link", _links(told))
    if job.finished_at is not None:
        headers = (
            ("ETag", tag),
            ("Last-Modified", _http_date(job.finished_at)),
            link,
            *_sunset(job),
        )
    else:
        headers = (
            ("ETag", tag),
            ("Location", told["monitorUrl"]),
            ("Retry-After", str(told["retryAfter"])),
            link,
        )
    headers = (*headers, ("Cache-Control", "private, no-cache"), VARYING, *GUARDED)
    if has(request.headers, tag, job.finished_at):
        return Response(304, without(headers, frozenset({"location"})))
    status = 200 if told["done"] else 202
    return Response(status, (*shown.headers, *headers), shown.body(told, now))


def document(
    job: Job, site: Site, now: float, shown: Representation = JSON, status: int = 200
) -> Response:
    """Return the status document, as a cancel answers."""
    headers = (
        *shown.headers,
        ("ETag", shown.tag(job)),
        ("Cache-Control", "no-store"),
        VARYING,
        *GUARDED,
    )
    return Response(status, headers, shown.body(status_document(job, site, now, None), now))


def event(job: Job, site: Site, now: float, outlook: Outlook | None) -> bytes:
    """Return a server-sent event with the status document; its id is the revision."""
    data = json_bytes(status_document(job, site, now, outlook))
    return b"id: %d\nevent: status\ndata: %b\n\n" % (job.revision, data)


def still_pending(
    job: Job, site: Site, now: float, outlook: Outlook | None, shown: Representation = JSON
) -> Response:
    """Return what the result route answers until there is a result."""
    told = status_document(job, site, now, outlook)
    headers = (
        *shown.headers,
        ("Location", told["resultUrl"]),
        ("Retry-After", str(told["retryAfter"])),
        ("Link", _links(told)),
        ("Cache-Control", "private, no-cache"),
        VARYING,
        *GUARDED,
    )
    return Response(202, headers, shown.body(told, now))


def result(job: Job, site: Site, request: Request, *, cookies: bool) -> Response:
    """Return the handler's own response, or the problem that stands where there is none."""
    if job.result is None or token_of(job.result):
        return no_result(job, site)
    dropped = NEVER_REPLAYED if cookies else NEVER_REPLAYED | {"set-cookie"}
    own = without(job.result.headers, dropped | {"etag", "vary", "sunset"} | _OF_ASYNC_RESULT)
    no_store = any("no-store" in rule.lower() for rule in every(own, "cache-control"))
    headers = (
        *(own if no_store else without(own, frozenset({"cache-control"}))),
        *(() if no_store else (("Cache-Control", "private"),)),
        ("ETag", job.result.etag),
        *_vary(job.result.headers),
        *_told(job, site),
        *_sunset(job),
    )
    status = _replayed_status(job.result.status)
    # "A server MUST ignore all received preconditions if its response … would have been … other than a 2xx" (§13.2.1)
    if 200 <= status < 300:  # noqa: PLR2004  a 2xx
        validators = (job.result.etag, _last_modified(job.result))
        if not is_met(request.headers, *validators):
            return problem("precondition-failed")
        if has(request.headers, *validators):
            return Response(304, without(headers, frozenset({"content-type", "location"})))
    whole = Response(status, headers, _body(job))
    return ranged(whole, request, job.result.etag) if job.result.status == OK else whole


def _last_modified(result: Result) -> float | None:
    """Return when the handler says that its response has last changed."""
    return instant(first(result.headers, "last-modified"))


def _replayed_status(status: int) -> int:
    """Return the status code for the result route: a 202 there would keep a poller for ever."""
    return 200 if status == 202 else status  # noqa: PLR2004  a code is its own name


def answered_in_time(response: Response) -> Response:
    """Return the handler's own response, of which nothing was stored."""
    headers = without(response.headers, NEVER_REPLAYED)
    return Response(response.status, headers, response.body)


def replayed(response: Response) -> Response:
    """Return the answer to a request whose key has a job already."""
    own = without(response.headers, frozenset({"idempotent-replayed"}))
    return Response(response.status, (*own, ("Idempotent-Replayed", "true")), response.body)


def event_stream(events: Body) -> Response:
    """Return a stream of events, which no cache may keep and no proxy may gather."""
    headers = (
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        VARYING,
        *GUARDED,
    )
    return Response(200, headers, events)


def final(job: Job, site: Site) -> Response:
    """Return the handler's own response in place of a 202, untouched."""
    if job.result is None or token_of(job.result):
        return no_result(job, site)
    headers = without(job.result.headers, NEVER_REPLAYED | _OF_ASYNC_RESULT)
    status = _replayed_status(job.result.status)
    return Response(status, (*headers, *_told(job, site)), _body(job))


def _vary(headers: Pairs) -> Pairs:
    return tuple(pair for pair in headers if pair[0].lower() == "vary")


_OF_ASYNC_RESULT = frozenset({"asyncresult"})
"""What the handler's response leaves to deferit: a field of one value, of which there must not be two."""


def _told(job: Job, site: Site) -> Pairs:
    """Return the fields that name the job's true status code and its monitor."""
    status = job.result.status if job.result else NO_RESULT_STATUS.get(_code(job), 500)
    return (("AsyncResult", str(status)), ("Link", f'<{site.monitor(job.id)}>; rel="monitor"'))


def _code(job: Job) -> str:
    return job.error.code if job.error else ""


def _body(job: Job) -> StoredBody | bytes:
    assert job.result is not None
    if not job.result.chunks:
        return b""
    return StoredBody(job.id, job.attempt, 0, job.result.length)


def no_result(job: Job, site: Site) -> Response:
    """Return the problem of a job that was canceled, failed without a response, or has one that cannot be decrypted."""
    if token_of(job.result):
        return problem("store-unavailable", "The result is encrypted with a key that is missing.")
    if job.status is Status.CANCELED or job.error is None:
        return problem("job-canceled")
    answer = problem(job.error.code, job.error.message)
    return Response(answer.status, (*answer.headers, *_told(job, site)), answer.body)


def _sunset(job: Job) -> Pairs:
    """Return when the job will be gone (RFC 8594)."""
    return (("Sunset", _http_date(job.expires_at)),) if job.expires_at is not None else ()


def _http_date(instant: float) -> str:
    return _http_second(int(instant))


@lru_cache(RECENT)
def _http_second(second: int) -> str:
    return http_date(second)
