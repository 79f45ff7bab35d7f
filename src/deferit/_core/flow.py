"""What happens to a request, as generators that read like CONTRACT.md.

A flow yields *effects*, which are commands and queries for the store and the few things below, and returns a
`Response`. A driver performs each effect and sends the answer back in, or throws what went wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from deferit._core import document
from deferit._core.commands import Cancel, Command, Create, Get, Position, Purge, Query
from deferit._core.document import (
    PROBLEMS,
    Site,
    exposed,
    in_place_of,
    problem,
    problem_response,
)
from deferit._core.http import Pairs, Request, Response
from deferit._core.ids import is_id
from deferit._core.job import Job, Status
from deferit.exceptions import JobNotFound, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from deferit._core.policy import AcceptHook, Deferral, Mark
    from deferit._core.prefer import Prefer


class RequestTooLarge(Exception):
    """The body is longer than the option ``max_body`` allows; the argument is that limit in bytes."""


class ClientGone(Exception):
    """The client went away before all of its request was there; nobody waits for an answer."""


class ShuttingDown(Exception):
    """This process takes no new jobs."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Take the request's body to its end, and return the captured request, encoded for the store.

    Raises `RequestTooLarge`.
    """

    job_id: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until a job is finished, at most so many seconds; return it as it is then.

    With a ``revision``, any other one ends the waiting too.
    """

    job: Job
    seconds: float
    revision: int | None = None

    def is_over(self, job: Job) -> bool:
        """Whether the job, as it is now, is what is waited for."""
        return job.is_finished or self.revision not in {None, job.revision}


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell a running job to stop, wherever it runs; return what is guaranteed of it: a phrase of the contract."""

    job: Job


@dataclass(frozen=True, slots=True)
class Now:
    """Return the present instant."""


Effect: TypeAlias = Command | Query | Capture | Wait | Stop | Now
Flow: TypeAlias = Generator[Effect, Any, Response]


@dataclass(frozen=True, slots=True)
class Visit:
    """A request to deferit: who asks, what they prefer, and where they see us."""

    request: Request
    site: Site
    owner: str | None
    prefer: Prefer
    max_wait: float
    cookies: bool = False
    """Whether the result route replays ``Set-Cookie``."""


def drive(flow: Flow, perform: Callable[[Effect], object]) -> Response:
    """Run a flow to its end, performing each effect as it comes."""
    with closing(flow):
        try:
            effect = next(flow)
            while True:
                try:
                    done = perform(effect)
                except Exception as exc:  # noqa: BLE001  the flow decides what it can answer
                    effect = flow.throw(exc)
                else:
                    effect = flow.send(done)
        except StopIteration as end:
            return _response(end)


async def adrive(flow: Flow, perform: Callable[[Effect], Awaitable[object]]) -> Response:
    """Same as `drive`, but awaits what is performed."""
    with closing(flow):
        try:
            effect = next(flow)
            while True:
                try:
                    done = await perform(effect)
                except Exception as exc:  # noqa: BLE001  the flow decides what it can answer
                    effect = flow.throw(exc)
                else:
                    effect = flow.send(done)
        except StopIteration as end:
            return _response(end)


def _response(end: StopIteration) -> Response:
    response: Response = end.value
    return response


# --- submitting ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submission:
    """A request that is to be deferred, with all that its job begins with."""

    visit: Visit
    mark: Mark
    deferral: Deferral
    draft: Job
    """The job as it would be accepted; a process that starts it at once makes it running."""
    placeholder: Pairs = ()
    """What the application's own layers put on the answer that the marked handler returned."""


def submit(submission: Submission) -> Flow:
    """Return what a request that is deferred is answered: 202, a refusal, or the end of it if that came in time."""
    response = yield from _submit(submission)
    return exposed(submission.visit.request, document.varying(response))


def _submit(submission: Submission) -> Flow:
    job = yield from _accept(submission)
    if isinstance(job, Response):
        return in_place_of(submission.placeholder, job)
    deferral, site = submission.deferral, submission.visit.site
    position = None
    try:
        if deferral.wait > 0:
            job = yield Wait(job, deferral.wait)
        position = yield from _position(job)
    except StoreUnavailable:
        pass  # the job is durable, so the client has to hear of it
    if job.is_finished:
        return document.final(job, site)
    now = yield Now()
    answer = document.accepted(job, site, now, position, deferral)
    return in_place_of(submission.placeholder, answer)


def _accept(submission: Submission) -> Generator[Effect, Any, Job | Response]:
    """Refuse now what can be refused, then make the job durable."""
    refusal = refused(submission.mark.accept, submission.visit.request)
    if refusal is not None:
        return refusal
    try:
        captured = yield Capture(submission.draft.id)
        job: Job = yield Create(submission.draft, captured)
    except RequestTooLarge as exc:
        return problem("request-too-large", limit=exc.args[0])
    except ShuttingDown:
        return problem("shutting-down")
    except StoreUnavailable:
        return problem("store-unavailable")
    return job


def refused(accept: AcceptHook | None, request: Request) -> Response | None:
    """Return what the ``accept`` hook answers in place of a 202, if it refuses."""
    refusal = accept(request) if accept else None
    if refusal is None or isinstance(refusal, Response):
        return refusal
    status, detail = refusal if isinstance(refusal, tuple) else (refusal, None)
    _, title, default = PROBLEMS["request-refused"]
    return problem_response(status, title, detail or default, "request-refused")


# --- the mounted routes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A mounted route: the job that it speaks of, and what is behind the id (empty: the monitor)."""

    job_id: str
    resource: str


def target(path: str, prefix: str) -> Target | None:
    """Return the mounted route that a path names; None: the path is the application's."""
    if not path.startswith(prefix + "/job_"):
        return None
    job_id, _, resource = path[len(prefix) + 1 :].partition("/")
    return Target(job_id, resource) if is_id(job_id) else None


def answer(visit: Visit, mounted: Target) -> Flow:
    """Return what a mounted route answers."""
    try:
        response = yield from _answer(visit, mounted)
    except JobNotFound:
        response = problem("job-not-found")
    except StoreUnavailable:
        response = problem("store-unavailable")
    except ShuttingDown:
        response = problem("shutting-down")
    return exposed(visit.request, response)


def _answer(visit: Visit, mounted: Target) -> Flow:
    methods = ROUTES.get(mounted.resource)
    if methods is None:
        return problem("job-not-found")
    flow = methods.get(visit.request.method)
    if flow is None:
        return _method_not_allowed(tuple(methods))
    job: Job = yield Get(mounted.job_id)
    if not may_see(job, visit.owner):
        return problem("job-not-found")
    now: float = yield Now()
    if job.is_expired(now):
        return problem("job-expired")
    return (yield from flow(visit, job))


def may_see(job: Job, owner: str | None) -> bool:
    """Whether a job answers to this owner; one without an owner answers to whoever knows its URL."""
    return job.owner is None or job.owner == owner


def _method_not_allowed(methods: tuple[str, ...]) -> Response:
    allow = ", ".join(methods)
    refusal = problem("method-not-allowed", allow=allow)
    return Response(refusal.status, (*refusal.headers, ("Allow", allow)), refusal.body)


def monitor(visit: Visit, job: Job) -> Flow:
    """GET M: where the job stands; with ``Prefer: wait`` as soon as it is finished, or has changed."""
    if_none_match = visit.request.headers.get("If-None-Match")
    has_changed = if_none_match and not document.is_known(document.etag(job), if_none_match)
    if visit.prefer.wait and not job.is_finished and not has_changed:
        revision = job.revision if if_none_match else None
        job = yield Wait(job, min(visit.prefer.wait, visit.max_wait), revision)
    position = yield from _position(job)
    now = yield Now()
    return document.monitor(job, visit.site, now, position, if_none_match)


def result(visit: Visit, job: Job) -> Flow:
    """GET R: the handler's own response; 202 until there is one."""
    if visit.prefer.wait and not job.is_finished:
        job = yield Wait(job, min(visit.prefer.wait, visit.max_wait))
    if not job.is_finished:
        position = yield from _position(job)
        now = yield Now()
        return document.still_pending(job, visit.site, now, position)
    if_none_match = visit.request.headers.get("If-None-Match")
    return document.result(job, visit.site, if_none_match, cookies=visit.cookies)


def delete(visit: Visit, job: Job) -> Flow:
    """DELETE M: cancel what is not finished, purge what is."""
    if not _matches(job, visit.request.headers.get("If-Match")):
        return problem("precondition-failed")
    if not job.is_finished:
        return (yield from _cancel(visit, job))
    gone = yield Purge(job.id, job.revision)
    return Response(204) if gone else problem("precondition-failed")


def cancel(visit: Visit, job: Job) -> Flow:
    """POST M/cancel: cancel, whatever happens only once."""
    if not job.is_finished:
        return (yield from _cancel(visit, job))
    if job.status is Status.CANCELED:
        now = yield Now()
        return document.document(job, visit.site, now)
    return problem("job-already-finished")


def _cancel(visit: Visit, job: Job) -> Flow:
    """Stop the worker, make the cancel final, and go back to the start if the job was started or finished meanwhile."""
    detail = "never started"
    if job.status is Status.RUNNING:
        detail = yield Stop(job)
    now = yield Now()
    after: Job = yield Cancel(job.id, job.attempt, now, detail)
    if after.status is Status.CANCELED:
        return document.document(after, visit.site, now)
    if after.is_finished:
        return problem("job-already-finished")
    return (yield from _cancel(visit, after))


def _matches(job: Job, if_match: str | None) -> bool:
    """Whether ``If-Match`` allows a change (strong comparison, but a pending job's own weak tag will do)."""
    if not if_match or if_match.strip() == "*":
        return True
    return document.etag(job) in {tag.strip() for tag in if_match.split(",")}


def _position(job: Job) -> Generator[Effect, Any, int | None]:
    if job.status is not Status.ACCEPTED:
        return None
    position: int = yield Position(job)
    return position


def unreadable(exc: StoreError) -> Response:
    """Return what is answered for a body that is gone since its head was read, or cannot be read now."""
    return problem("job-not-found" if isinstance(exc, JobNotFound) else "store-unavailable")


_READ = {"GET": monitor, "HEAD": monitor}
ROUTES = {
    "": {**_READ, "DELETE": delete},
    "result": {"GET": result, "HEAD": result},
    "cancel": {"POST": cancel},
}
"""Behind the id: which method does what."""
