"""What the tests of the core begin with: a request, a site, jobs in each status, and a driver by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers

from deferit._core.commands import Create, Placed
from deferit._core.document import Site
from deferit._core.effects import CapturedRequest, Effect, Flow, Replica
from deferit._core.flow import Submission
from deferit._core.http import Request, Response
from deferit._core.job import Failure, Job, Result, Status
from deferit._core.policy import Deferral, Mark
from deferit._core.prefer import NOTHING, Prefer, parse
from deferit._core.visits import Visit

if TYPE_CHECKING:
    from deferit._core.allowed import AllowList
    from deferit._core.http import Pairs

NOON = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""

TTL = 3600.0
JOB_ID = "job_0006654e1e5a8000AAAAAAAAAAAAAAAAAAAAAA"
SITE = Site("https://shop.example/api/jobs")
MONITOR = f"https://shop.example/api/jobs/{JOB_ID}"
RESULT = f"{MONITOR}/result"
EVENTS = f"{MONITOR}/events"
LINKS = f'<{MONITOR}>; rel="monitor", <{EVENTS}>; rel="monitor"; type="text/event-stream"'
CAPTURED = CapturedRequest(b"a captured request", "the digest of its body")
REPLICA = Replica(NOON, "a captured request", {}, lambda: (CAPTURED.encoded, {}))


def a_job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": JOB_ID,
        "application": "shop",
        "route": "POST /reports",
        "method": "POST",
        "created_at": NOON,
        "updated_at": NOON,
        "due_at": NOON,
        "ttl": TTL,
    }
    return Job(**fields | changes)


def a_result(status: int = 200, headers: Pairs = (), **changes: Any) -> Result:
    fields: dict[str, Any] = {"length": 5, "chunks": 1, "etag": '"tag"'}
    return Result(status, headers, **fields | changes)


def a_failure(code: str = "handler-exception") -> Failure:
    return Failure(code, "The handler raised KeyError.")


def running(**changes: Any) -> Job:
    return a_job(**changes).claimed(NOON)


def succeeded(result: Result | None = None, **changes: Any) -> Job:
    return running(**changes).ended(NOON + 1, result or a_result(), None)


def failed(result: Result | None = None, code: str = "handler-exception", **changes: Any) -> Job:
    return running(**changes).ended(NOON + 1, result, a_failure(code))


def canceled(**changes: Any) -> Job:
    return a_job(**changes).canceled(NOON + 1, "never started")


def in_status(status: Status) -> Job:
    jobs = {
        Status.ACCEPTED: a_job,
        Status.RUNNING: running,
        Status.SUCCEEDED: succeeded,
        Status.FAILED: failed,
        Status.CANCELED: canceled,
    }
    return jobs[status]()


def a_request(method: str = "GET", path: str = "/reports", **headers: str) -> Request:
    """Return a request; ``If_Match`` is the field ``If-Match``."""
    fields = Headers([(name.replace("_", "-"), value) for name, value in headers.items()])
    return Request(method, path, "", fields, {}, "https://shop.example/api")


def a_visit(method: str = "GET", *, owner: str | None = None, **headers: str) -> Visit:
    prefer = parse([headers["Prefer"]]) if "Prefer" in headers else NOTHING
    return Visit(a_request(method, **headers), SITE, NOON, owner, prefer, max_wait=30.0)


def a_submission(
    wait: float = 0.0,
    prefer: Prefer = NOTHING,
    mark: Mark | None = None,
    *,
    is_tried: bool = False,
    callbacks: AllowList | None = None,
    **headers: str,
) -> Submission:
    visit = a_visit("POST", **headers)
    deferral = Deferral(wait, prefer, is_tried)
    return Submission(visit, mark or Mark(), deferral, a_job(), callbacks=callbacks)


class Driven:
    """A flow, one effect at a time: say what the store answers, see what is asked next."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.response: Response | None = None
        self.effect: Effect | None = None
        self._go_on(None)

    def answer(self, value: object) -> Effect | None:
        """Send an answer, or throw an exception; return the next effect, None at the end.

        A job that is created is sent as stores send it that look no further.
        """
        assert self.effect is not None
        if isinstance(self.effect, Create) and isinstance(value, Job):
            value = Placed(value)
        self._go_on(value)
        return self.effect

    def _go_on(self, value: object) -> None:
        try:
            if isinstance(value, Exception):
                self.effect = self._flow.throw(value)
            else:
                self.effect = self._flow.send(value)
        except StopIteration as end:
            self.effect, self.response = None, end.value

    @property
    def end(self) -> Response:
        assert self.response is not None
        return self.response


def members(response: Response) -> dict[str, Any]:
    """Return the members of a JSON document."""
    assert isinstance(response.body, bytes)
    document: dict[str, Any] = json.loads(response.body)
    return document


def code_of(response: Response) -> tuple[int, str]:
    """Return the status code of a problem and its code of the contract."""
    assert response.header("Content-Type") == "application/problem+json"
    return response.status, members(response)["code"]


def values(response: Response, name: str) -> list[str]:
    return [value for key, value in response.headers if key.lower() == name.lower()]
