"""RESTler's rule: after a 201 or 202 that names a Location, poll it each second while it answers 202."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.clients.submissions import Ends, Submission, ends

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.servers.harness import Server

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Raw:
    """An answer as a fuzzer sees it: a status code, and the head as a text."""

    status: int
    head: str
    body: bytes


def ask(method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Raw:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, parts.path, body, dict(headers))
        answer = connection.getresponse()
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.getheaders())
        return Raw(answer.status, head, answer.read())
    finally:
        connection.close()


def location(answer: Raw) -> str:
    """Return what stands behind the first "Location: ", be it that of Content-Location or Operation-Location."""
    start = answer.head.lower().index("location: ") + len("location: ")
    return answer.head[start:].partition("\r\n")[0]


def poll(url: str) -> Raw:
    while (answer := ask("GET", url, {"Accept": "application/json"})).status == 202:
        time.sleep(1)
    return answer


def begin(url: str, submission: Submission) -> tuple[str, Callable[[], Raw]]:
    accepted = ask(submission.method, url + submission.path, submission.headers, submission.body)
    assert accepted.status == 202
    monitor = location(accepted)
    return monitor, lambda: poll(monitor)


@pytest.fixture(scope="module")
def followed(example: Server) -> Ends[Raw]:
    return ends(example.url, begin)


def test_it_follows_a_job_to_its_result(followed: Ends[Raw]) -> None:
    answer = followed["result"].result()

    document = json.loads(answer.body)

    assert (answer.status, document["status"]) == (200, "succeeded")
    assert ask("GET", document["resourceLocation"], {}).status == 200


def test_it_follows_a_job_to_its_failure(followed: Ends[Raw]) -> None:
    answer = followed["failure"].result()

    assert (answer.status, json.loads(answer.body)["status"]) == (200, "failed")


def test_it_follows_a_job_to_its_cancellation(followed: Ends[Raw]) -> None:
    answer = followed["cancellation"].result()

    assert (answer.status, json.loads(answer.body)["status"]) == (200, "canceled")
