"""What happens to a request, as generators that read like CONTRACT.md.

A flow yields *effects*, which are commands and queries for the store and the few things below, and returns a
`Response`. A driver performs each effect and sends the answer back in, or throws what went wrong.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from deferit._core import document
from deferit._core.callback import CallbackNotAllowed, callback_from
from deferit._core.commands import Cancel, Create, Placed, Purge
from deferit._core.document import pause
from deferit._core.effects import (
    Capture,
    CapturedRequest,
    Effect,
    Flow,
    Foresee,
    HookFailed,
    Now,
    Recall,
    RequestTooLarge,
    ShuttingDown,
    Stop,
    Try,
    Wait,
)
from deferit._core.estimate import NOTHING, seconds_until_room
from deferit._core.events import Events
from deferit._core.http import Pairs, Response, listed
from deferit._core.idempotency import InvalidKey, client_key, identity
from deferit._core.ids import PATTERN
from deferit._core.job import Job, Status
from deferit._core.layers import exposed, in_place_of, varying
from deferit._core.listing import list_jobs
from deferit._core.preconditions import is_known, is_met
from deferit._core.problems import PROBLEMS, method_not_allowed, problem, problem_response
from deferit._core.queries import Get, Load
from deferit._core.recorder import ResultTooLarge
from deferit._core.representations import (
    EVENTS_TYPE,
    JSON,
    JSON_TYPE,
    Page,
    is_readable,
    preferred,
    representation,
    text_of,
)
from deferit.exceptions import (
    JobNotFound,
    KeyReused,
    QueueFull,
    RecordDamaged,
    StoreError,
    StoreUnavailable,
    TooManyJobs,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from deferit._core.allowed import AllowList
    from deferit._core.commands import Limits
    from deferit._core.effects import Replica
    from deferit._core.estimate import Known, Outlook
    from deferit._core.http import Request
    from deferit._core.policy import AcceptHook, Deferral, Mark, Refusal
    from deferit._core.queries import Ahead
    from deferit._core.representations import Representation
    from deferit._core.visits import Visit


# --- submitting ------------------------------------------------------------------------------------------------------


class Submission(msgspec.Struct, frozen=True):
    """A request that is to be deferred, with all that its job begins with."""

    visit: Visit
    mark: Mark
    deferral: Deferral
    draft: Job
    """The job as it would be accepted; a process that starts it at once makes it running."""
    placeholder: Pairs = ()
    """What the application's own layers put on the answer that the marked handler returned."""
    callbacks: AllowList | None = None
    """Where callbacks may go; None: there are none."""
    limits: Limits | None = None
    """How many jobs there may be."""


def submit(submission: Submission) -> Flow:
    """Return what a request that is deferred is answered: 202, a refusal, or the end of it if that came in time."""
    try:
        response = yield from _submit(submission)
    except RequestTooLarge as exc:
        response = _refusal(submission, "request-too-large", limit=exc.args[0])
    except TooManyJobs as exc:
        response = yield from _crowded(submission, "too-many-jobs", exc.args[0], exc.args[0])
    except QueueFull as exc:
        response = yield from _crowded(submission, "queue-full", exc.args[0])
    except tuple(CODES) as exc:
        code = next(code for kind, code in CODES.items() if isinstance(exc, kind))
        response = _refusal(submission, code)
    return exposed(submission.visit.request, varying(response))


CODES: dict[type[Exception], str] = {
    InvalidKey: "idempotency-key-invalid",
    CallbackNotAllowed: "callback-not-allowed",
    KeyReused: "idempotency-key-reused",
    ResultTooLarge: "result-too-large",
    ShuttingDown: "shutting-down",
    StoreError: "store-unavailable",
}
"""The problem that an exception is answered with: the first that fits."""


def _refusal(submission: Submission, code: str, **values: int) -> Response:
    return in_place_of(submission.placeholder, problem(code, None, **values))


def _crowded(submission: Submission, code: str, limit: int, among: int | None = None) -> Flow:
    """Refuse for want of room, until one of those that run will have ended, or one of ``among`` so many."""
    try:
        known: Known = yield Recall(submission.draft)
    except StoreError:
        known = NOTHING
    status, title, detail = PROBLEMS[code]
    seconds = pause(seconds_until_room(known, among))
    refusal = problem_response(status, title, detail.format(limit=limit), code, seconds)
    return in_place_of(submission.placeholder, refusal)


def _submit(submission: Submission) -> Flow:
    """Refuse now what can be refused, make the job durable, then answer."""
    visit, deferral = submission.visit, submission.deferral
    refusal = refused(submission.mark.accept, visit.request)
    if refusal is not None:
        return in_place_of(submission.placeholder, refusal)
    key = client_key(visit.request)
    callback = callback_from(visit.request, submission.callbacks, visit.site.mount_url)
    if callback is not None:
        submission = msgspec.structs.replace(
            submission, draft=submission.draft.but(callback=callback)
        )
    has_twins = key is not None or submission.mark.coalesce
    is_tried = deferral.is_tried and not has_twins and submission.draft.slots is None
    captured: CapturedRequest = yield Capture(submission.draft.id, has_twins, is_tried)
    draft = _identified(submission, key, captured)
    if captured.replica is not None:
        return (yield from _tried(submission, captured.replica))
    placed: Placed = yield Create(
        draft, captured.encoded, limits=submission.limits, asks_place=True
    )
    if deferral.wait > 0 and not placed.job.is_finished:
        placed = Placed((yield from _waited(placed.job, deferral.wait)))
    is_replayed = key is not None and placed.job.id != draft.id
    return (yield from _accepted(submission, placed, is_replayed=is_replayed))


def _tried(submission: Submission, replica: Replica) -> Flow:
    """Begin without storing anything; a handler that ends in time answers as if nobody had deferred it."""
    seconds = submission.deferral.wait
    end: Job | Response = yield Try(submission.draft, replica, seconds, submission.limits)
    if isinstance(end, Response):
        return document.answered_in_time(end)
    now: float = yield Now()
    left = replica.at + seconds - now
    if left > 0:  # it was stored before its time: it waits for its turn, or its response is long
        end = yield from _waited(end, left)
    return (yield from _accepted(submission, Placed(end), is_replayed=False))


def _identified(submission: Submission, key: str | None, captured: CapturedRequest) -> Job:
    """Return the draft with what makes another request the same as this one, if anything does."""
    draft, visit = submission.draft, submission.visit
    if key is None and not submission.mark.coalesce:
        return draft
    wishes = (draft.callback.url,) if draft.callback else ()
    place = (visit.application, visit.request, visit.owner)
    same = identity(*place, key, captured.digest, *wishes)
    return draft.but(identity=same)


def _accepted(submission: Submission, placed: Placed, *, is_replayed: bool) -> Flow:
    """Return the 202 of a job, or its end where that is known already."""
    job, site = placed.job, submission.visit.site
    if job.is_finished:
        answer = document.final(job, site)
    else:
        now, outlook = yield from _foreseen(job, placed.ahead)
        shown = representation(submission.visit.request, moves_on=True)
        accepted = document.accepted(job, site, now, outlook, submission.deferral, shown)
        answer = in_place_of(submission.placeholder, accepted)
    return document.replayed(answer) if is_replayed else answer


def _waited(job: Job, seconds: float, revision: int | None = None) -> Generator[Effect, Any, Job]:
    """Return the job after it was waited for; there is no waiting in a process that is to end, nor without a store."""
    try:
        after: Job = yield Wait(job, seconds, revision)
    except (ShuttingDown, StoreUnavailable, RecordDamaged):
        return job
    return after


def refused(accept: AcceptHook | None, request: Request) -> Response | None:
    """Return what the ``accept`` hook answers in place of a 202, if it refuses.

    Raises:
        HookFailed: it has raised, or returned what is no refusal.
    """
    if accept is None:
        return None
    try:
        return _refusal_from(accept(request))
    except Exception as exc:
        raise HookFailed("accept") from exc


def _refusal_from(refusal: Refusal) -> Response | None:
    if refusal is None or isinstance(refusal, Response):
        return refusal
    status, detail = refusal if isinstance(refusal, tuple) else (refusal, None)
    if isinstance(status, bool) or status not in REFUSALS:
        raise TypeError("it returned neither None, a status code from 400 to 599 nor a Response")
    _, title, default = PROBLEMS["request-refused"]
    return problem_response(status, title, str(detail or default), "request-refused")


REFUSALS = range(400, 600)


# --- the mounted routes ----------------------------------------------------------------------------------------------


class Target(msgspec.Struct, frozen=True, gc=False):
    """A mounted route: the job that it speaks of, and what is behind its id (empty: the monitor); None: the list."""

    job_id: str | None
    resource: str


def target(path: str, prefix: str, *, has_list: bool) -> Target | None:
    """Return the mounted route that a path names; None: the path is the application's."""
    if has_list and path == prefix:
        return Target(None, "")
    found = _of_a_job(prefix).fullmatch(path)
    return Target(*found.groups("")) if found else None


@cache
def _of_a_job(prefix: str) -> re.Pattern[str]:
    """Return the expression for the paths of jobs: an id, and what is behind it."""
    return re.compile(f"{re.escape(prefix)}/({PATTERN.strip('^$')})(?:/(.*))?", re.DOTALL)


def answer(visit: Visit, mounted: Target) -> Flow:
    """Return what a mounted route answers."""
    try:
        response = yield from _answer(visit, mounted)
    except JobNotFound:
        response = problem("job-not-found")
    except StoreError:
        response = problem("store-unavailable")
    except ShuttingDown:
        response = problem("shutting-down")
    return exposed(visit.request, response)


def _answer(visit: Visit, mounted: Target) -> Flow:
    if mounted.job_id is None:
        return (yield from list_jobs(visit))
    methods = ROUTES.get(mounted.resource)
    if methods is None:
        return problem("job-not-found")
    flow = methods.get(visit.request.method)
    if flow is None:
        return method_not_allowed(tuple(methods))
    job: Job = yield Get(mounted.job_id)
    if not visit.may_see(job):
        return problem("job-not-found")
    if job.is_expired(visit.at):
        return problem("job-expired")
    return (yield from flow(visit, job))


def monitor(visit: Visit, job: Job) -> Flow:
    """GET M: where the job stands; with ``Prefer: wait`` as soon as it is finished, or has changed."""
    media_type = preferred(visit.request)
    if media_type == EVENTS_TYPE:
        return (yield from events(visit, job))
    shown = JSON if media_type == JSON_TYPE else representation(visit.request)
    if visit.prefer.wait and not job.is_finished:
        job = yield from _awaited(visit, job, shown.tag(job))
    if job.is_finished:
        shown = yield from _with_result(job, shown)
        now = max(visit.at, job.updated_at)  # it was perhaps waited for
        return document.monitor(job, visit.site, now, None, visit.request, shown)
    now, outlook = yield from _foreseen(job)
    return document.monitor(job, visit.site, now, outlook, visit.request, shown)


def _awaited(visit: Visit, job: Job, tag: str) -> Generator[Effect, Any, Job]:
    """Return the job as soon as it is finished, or, to a client that has the tag of a state, in another one."""
    known = listed(visit.request.headers, "If-None-Match")
    if known and not is_known(tag, known):
        return job
    seconds = min(visit.prefer.wait or 0, visit.max_wait)
    return (yield from _waited(job, seconds, job.revision if known else None))


def _with_result(job: Job, shown: Representation) -> Generator[Effect, Any, Representation]:
    """Have a page show the job's result, where a person can read it."""
    if not isinstance(shown, Page) or not is_readable(job):
        return shown
    piece: bytes = yield Load(job.id, job.attempt, 0)
    return replace(shown, text=text_of(job, piece))


def events(visit: Visit, job: Job) -> Flow:
    """GET E: the document at each change, as server-sent events, until the job is finished."""
    known = visit.request.headers.get("Last-Event-ID")
    if job.is_finished and known == str(job.revision):
        return Response(204)
    return document.event_stream(Events(job, visit.site, known))
    yield  # a flow like the others, though it asks for nothing


def result(visit: Visit, job: Job) -> Flow:
    """GET R: the handler's own response; 202 until there is one."""
    if visit.prefer.wait and not job.is_finished:
        job = yield from _waited(job, min(visit.prefer.wait, visit.max_wait))
    if not job.is_finished:
        now, outlook = yield from _foreseen(job)
        shown = representation(visit.request, is_result=True)
        return document.still_pending(job, visit.site, now, outlook, shown)
    return document.result(job, visit.site, visit.request, cookies=visit.cookies)


def delete(visit: Visit, job: Job) -> Flow:
    """DELETE M: cancel what is not finished, purge what is."""
    if not _is_meant(visit, job):
        return problem("precondition-failed")
    if not job.is_finished:
        return (yield from _cancel(visit, job))
    gone = yield Purge(job.id, job.revision)
    return Response(204) if gone else problem("precondition-failed")


def cancel(visit: Visit, job: Job) -> Flow:
    """POST M/cancel: cancel, whatever happens only once; a person is led on to the monitor."""
    if not _is_meant(visit, job):
        return problem("precondition-failed")
    if not job.is_finished:
        return (yield from _cancel(visit, job))
    return _too_late(visit, job)


def _too_late(visit: Visit, job: Job) -> Response:
    """Return what a cancel of a finished job answers; a person sees what became of it, whatever that is."""
    shown = representation(visit.request, moves_on=True)
    if job.status is Status.CANCELED:
        return document.document(job, visit.site, job.updated_at, shown)
    if shown is JSON:
        return problem("job-already-finished")
    return document.document(job, visit.site, job.updated_at, shown, status=409)


def _cancel(visit: Visit, job: Job) -> Flow:
    """Stop the worker, make the cancel final, and go back to the start if the job was started or finished meanwhile."""
    detail = "never started"
    if job.status is Status.RUNNING:
        detail = yield Stop(job)
    now = yield Now()
    after: Job = yield Cancel(job.id, job.attempt, now, detail)
    if after.is_finished:
        return _too_late(visit, after)
    return (yield from _cancel(visit, after))


def _is_meant(visit: Visit, job: Job) -> bool:
    """Whether a job is what a client means to change; of a pending one its own weak tag will do, it has no other."""
    return is_met(visit.request.headers, JSON.tag(job), job.finished_at, weakly=True)


def _foreseen(
    job: Job, ahead: Ahead | None = None
) -> Generator[Effect, Any, tuple[float, Outlook | None]]:
    """Return the present instant and what can be told of a job that is not finished.

    Without a store nothing can be told, and the client has to hear of the job all the same.
    """
    try:
        outlook: Outlook = yield Foresee(job, ahead)
    except (StoreUnavailable, RecordDamaged):
        return (yield Now()), None
    return outlook.now, outlook


def unreadable(exc: StoreError) -> Response:
    """Return what is answered for a body that is gone since its head was read, or cannot be read now."""
    return problem("job-not-found" if isinstance(exc, JobNotFound) else "store-unavailable")


_READ = {"GET": monitor, "HEAD": monitor}
ROUTES = {
    "": {**_READ, "DELETE": delete},
    "result": {"GET": result, "HEAD": result},
    "events": {"GET": events, "HEAD": events},
    "cancel": {"POST": cancel},
}
"""Behind the id: which method does what."""
