"""A loop of ten lines around requests, as people write it, follows any job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests
from tests.clients.submissions import Ends, Submission, ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.harness import Server

pytestmark = pytest.mark.server


def follow(answer: requests.Response) -> requests.Response:
    while answer.status_code == 202:
        time.sleep(int(answer.headers["Retry-After"]))
        answer = requests.get(answer.headers["Location"], timeout=30)
    return answer


def begin(url: str, submission: Submission) -> tuple[str, Callable[[], requests.Response]]:
    accepted = requests.request(
        submission.method,
        url + submission.path,
        headers=submission.headers,
        data=submission.body,
        timeout=30,
    )
    return accepted.headers["Location"], lambda: follow(accepted)


@pytest.fixture(scope="module")
def followed(example: Server) -> Ends[requests.Response]:
    return ends(example.url, begin)


def test_it_follows_a_job_to_its_result(followed: Ends[requests.Response]) -> None:
    document = followed["result"].result().json()

    result = requests.get(document["resourceLocation"], timeout=30)

    assert document["status"] == "succeeded"
    assert (result.status_code, result.json()["year"]) == (200, 2024)


def test_it_follows_a_job_to_its_failure(followed: Ends[requests.Response]) -> None:
    answer = followed["failure"].result()

    result = requests.get(answer.json()["resultUrl"], timeout=30)

    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert answer.json()["error"]["code"] == "handler-response"
    assert result.status_code == 422


def test_it_follows_a_job_to_its_cancellation(followed: Ends[requests.Response]) -> None:
    answer = followed["cancellation"].result()

    assert answer.status_code == 200
    assert answer.json()["status"] == "canceled"


def test_the_result_alone_is_enough(example: Server) -> None:
    accepted = requests.post(f"{example.url}/reports", json={"year": 2023}, timeout=30)

    result = follow(requests.get(accepted.json()["resultUrl"], timeout=30))

    assert result.status_code == 200
    assert result.headers["AsyncResult"] == "200"
    assert result.json()["year"] == 2023
