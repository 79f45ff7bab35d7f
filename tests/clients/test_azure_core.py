"""azure-core's `LROPoller` with `LROBasePolling`, which the SDKs of Azure are built on, follows any job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import (
    LocationPolling,
    LROBasePolling,
    OperationResourcePolling,
    StatusCheckPolling,
)
from azure.core.rest import HttpRequest
from tests.clients.submissions import REPORT, Ends, Submission, ends

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.harness import Server

pytestmark = pytest.mark.server

Client: TypeAlias = "PipelineClient[Any, Any]"
Initial: TypeAlias = Any
"""The first answer, as the pipeline returns it."""

TO_THE_THINGS = {
    method: tuple(
        Submission(method, f"/things/{outcome}", outcome)
        for outcome in ("result", "failure", "cancellation")
    )
    for method in ("PUT", "DELETE")
}


def connected(server: Server) -> Client:
    return PipelineClient(server.url)


def deserialized(answer: Any) -> Any:
    """What the SDKs generate turns an answer into an object of theirs."""
    return answer.http_response.json()


def send(client: Client, url: str, submission: Submission, **headers: str) -> Initial:
    request = HttpRequest(
        submission.method,
        url + submission.path,
        headers={**submission.headers, **headers},
        content=submission.body,
    )
    return client.send_request(request, _return_pipeline_response=True)


def begin(url: str, submission: Submission, **polling: Any) -> tuple[str, Callable[[], Any]]:
    client: Client = PipelineClient(url)
    initial = send(client, url, submission)

    def follow() -> Any:
        with client:
            return LROPoller(client, initial, deserialized, LROBasePolling(**polling)).result()

    return initial.http_response.headers["Operation-Location"], follow


# --- POST, the examples ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def followed(example: Server) -> Ends[Any]:
    return ends(example.url, begin)


def test_it_follows_a_job_to_its_result(followed: Ends[Any]) -> None:
    report = followed["result"].result()

    assert report["year"] == 2024


def test_it_follows_a_job_to_its_failure(followed: Ends[Any]) -> None:
    with pytest.raises(HttpResponseError, match="handler-response") as failure:
        followed["failure"].result()

    assert failure.value.status_code == 200
    assert failure.value.error is not None
    assert failure.value.error.code == "handler-response"
    assert failure.value.error.message == "The handler answered 422."


def test_it_follows_a_job_to_its_cancellation(followed: Ends[Any]) -> None:
    with pytest.raises(HttpResponseError, match="job-canceled") as failure:
        followed["cancellation"].result()

    assert failure.value.error is not None
    assert failure.value.error.code == "job-canceled"


def test_a_continuation_token_goes_on_where_another_poller_was(example: Server) -> None:
    with connected(example) as client:
        initial = send(client, example.url, REPORT)
        token = LROPoller(client, initial, deserialized, LROBasePolling()).continuation_token()

    with connected(example) as client:
        poller: LROPoller[Any] = LROPoller.from_continuation_token(
            LROBasePolling(), token, client=client, deserialization_callback=deserialized
        )
        report = poller.result()

    assert report["year"] == 2024


# --- the algorithms, one by one --------------------------------------------------------------------------------------


def test_operation_location_ends_where_the_sdk_says(example: Server) -> None:
    def left(**options: str) -> Any:
        polling: list[Any] = [OperationResourcePolling(lro_options=options)]
        _, follow = begin(example.url, REPORT, lro_algorithms=polling)
        return follow()

    with ThreadPoolExecutor() as threads:
        usual = threads.submit(left)
        monitor = threads.submit(left, **{"final-state-via": "location"})
        document = threads.submit(left, **{"final-state-via": "operation-location"})

    assert usual.result()["year"] == 2024
    assert monitor.result()["status"] == "succeeded"
    assert document.result()["status"] == "succeeded"


def test_location_alone_ends_at_the_finished_document(example: Server) -> None:
    def begin_with_location(url: str, submission: Submission) -> tuple[str, Callable[[], Any]]:
        return begin(url, submission, lro_algorithms=[LocationPolling()])

    left = ends(example.url, begin_with_location)

    assert left["result"].result()["status"] == "succeeded"
    assert left["failure"].result()["error"]["code"] == "handler-response"
    assert left["cancellation"].result()["error"]["code"] == "job-canceled"


def test_an_answer_in_time_needs_no_polling(example: Server) -> None:
    with connected(example) as client:
        initial = send(client, example.url, REPORT, Prefer="wait=20")
        poller = LROPoller(client, initial, deserialized, LROBasePolling())

        assert initial.http_response.status_code == 200
        assert not OperationResourcePolling().can_poll(initial)
        assert not LocationPolling().can_poll(initial)
        assert StatusCheckPolling().can_poll(initial)
        assert poller.result()["year"] == 2024


# --- PUT and DELETE --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["PUT", "DELETE"])
def changed(request: pytest.FixtureRequest, things: Server) -> tuple[str, Ends[Any]]:
    method: str = request.param
    return method, ends(things.url, begin, TO_THE_THINGS[method])


def test_it_follows_a_change_to_its_result(changed: tuple[str, Ends[Any]]) -> None:
    method, left = changed

    thing = left["result"].result()

    assert thing == ({"name": "lamp", "price": "12.50"} if method == "PUT" else None)


def test_it_follows_a_change_to_its_failure(changed: tuple[str, Ends[Any]]) -> None:
    _, left = changed

    with pytest.raises(HttpResponseError, match="The handler answered 409"):
        left["failure"].result()


def test_it_follows_a_change_to_its_cancellation(changed: tuple[str, Ends[Any]]) -> None:
    _, left = changed

    with pytest.raises(HttpResponseError, match="job-canceled"):
        left["cancellation"].result()
