"""What is sent to the servers under test, and how it goes on: to a result, a failure or a cancellation."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import httpx
from tests.servers.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Outcome: TypeAlias = Literal["result", "failure", "cancellation"]

T = TypeVar("T")


@dataclass(frozen=True)
class Submission:
    """A request that is deferred; whichever client sends it, it is the same."""

    method: str
    path: str
    outcome: Outcome
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def upload(csv: str) -> tuple[dict[str, str], bytes]:
    """Return header and body of a form with one file."""
    boundary = "----a-boundary"
    head = 'Content-Disposition: form-data; name="file"; filename="orders.csv"\r\nContent-Type: text/csv'
    body = f"--{boundary}\r\n{head}\r\n\r\n{csv}\r\n--{boundary}--\r\n"
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body.encode()


HEADER = "number,customer,placed,product,quantity,price\n"
BROKEN = HEADER + '9001,C-0001,2031-05-31,"' + "x" * 200_000
LONG = HEADER + "".join(
    f"{number},C-0001,2031-05-31,lamp,1,0.01\n" for number in range(10_001, 60_001)
)

REPORT = Submission(
    "POST",
    "/reports",
    "result",
    {"Content-Type": "application/json"},
    json.dumps({"year": 2024}).encode(),
)
BROKEN_IMPORT = Submission("POST", "/imports", "failure", *upload(BROKEN))
LONG_IMPORT = Submission("POST", "/imports", "cancellation", *upload(LONG))

TO_THE_EXAMPLES = (REPORT, BROKEN_IMPORT, LONG_IMPORT)

Begin: TypeAlias = "Callable[[str, Submission], tuple[str, Callable[[], T]]]"
"""How a client submits to a server: returns the URL of the monitor, and what follows the job to its end."""

Ends: TypeAlias = "Mapping[Outcome, Future[T]]"
"""What a client was left with at the end of each job, or what it raised."""


def ends(
    url: str, begin: Begin[T], submissions: tuple[Submission, ...] = TO_THE_EXAMPLES
) -> Ends[T]:
    """Have a client follow all jobs at once to their ends; each pause between two polls takes a second."""
    with ThreadPoolExecutor() as threads:
        return {
            submission.outcome: threads.submit(end, url, begin, submission)
            for submission in submissions
        }


def end(url: str, begin: Begin[T], submission: Submission) -> T:
    """Return what a client is left with; if the job is one to be canceled, somebody else does that meanwhile."""
    monitor, follow = begin(url, submission)
    if submission.outcome != "cancellation":
        return follow()
    with ThreadPoolExecutor(1) as somebody:
        canceled = somebody.submit(cancel_what_runs, monitor)
        left = follow()
    canceled.result()
    return left


def cancel_what_runs(monitor: str) -> None:
    with httpx.Client(trust_env=False, timeout=30) as client:
        until(lambda: client.get(monitor).json()["status"] == "running", "the job to run")
        answer = client.post(f"{monitor}/cancel")
    assert answer.json()["status"] == "canceled"
