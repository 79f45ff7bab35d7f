"""Servers that have never heard of deferit are followed by their own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx
import httpx2
import pytest
from tests.client.apps.others import LONG

from deferit.client import AsyncFollowTransport, FollowTransport, follow, wait
from deferit.exceptions import FollowTimeout, JobFailed, JobWasCanceled, MonitorLost

if TYPE_CHECKING:
    from tests.client.conftest import Client, Library
    from tests.servers.harness import Server

pytestmark = pytest.mark.server

SECRETS = {"Authorization": "Bearer secret", "Cookie": "session=1", "X-API-Key": "secret"}


def words(*told: str) -> dict[str, str]:
    return {"words": ",".join(told)}


def test_an_operation_of_azure_leads_to_the_first_location(client: Client, others: Server) -> None:
    url = f"{others.url}/azure/reports"

    response = client.request("POST", url, params=words("NotStarted", "Mixing", "Succeeded"))

    assert response.status_code == 200
    assert response.json()["status"] == "shipped"
    paths = [seen["path"].rpartition("/")[0] for seen in response.json()["seen"]]
    assert paths == ["/azure", *3 * ["/azure/operations"], "/resources"]


def test_a_put_of_azure_leads_back_to_the_resource(client: Client, others: Server) -> None:
    url = f"{others.url}/azure/lamps/green"

    response = client.request("PUT", url, params=words("InProgress", "Succeeded"))

    assert response.json() == {"name": "green"}


def test_a_failed_operation_of_azure_raises_its_error(client: Client, others: Server) -> None:
    url = f"{others.url}/azure/reports"

    with pytest.raises(JobFailed, match=r"Too many lamps\. \(Overload\)") as caught:
        client.request("POST", url, params=words("Running", "Failed"))

    assert caught.value.problem == {"code": "Overload", "message": "Too many lamps."}
    assert caught.value.url.startswith(f"{others.url}/azure/operations/")


def test_an_operation_canceled_by_somebody_raises(client: Client, others: Server) -> None:
    with pytest.raises(JobWasCanceled):
        client.request("POST", f"{others.url}/azure/reports", params=words("Running", "Canceled"))


def test_a_job_of_ogc_api_processes_leads_to_its_results(client: Client, others: Server) -> None:
    url = f"{others.url}/ogc/processes/buffer/execution"

    response = client.request("POST", url, params=words("accepted", "running", "successful"))

    assert response.json()["status"] == "shipped"


@pytest.mark.parametrize(
    ("word", "exception"), [("failed", JobFailed), ("dismissed", JobWasCanceled)]
)
def test_a_job_of_ogc_api_processes_that_ends_badly_raises(
    client: Client, others: Server, word: str, exception: type[Exception]
) -> None:
    url = f"{others.url}/ogc/processes/buffer/execution"

    with pytest.raises(exception):
        client.request("POST", url, params=words("running", word))


def test_what_a_plain_location_answers_in_the_end_is_the_result(
    client: Client, others: Server
) -> None:
    url = f"{others.url}/location"

    response = client.request("POST", url, params=words("later", "moved", "ready"))

    assert response.status_code == 200
    assert response.json()["about"] == "somebody else's job"


def test_a_long_result_that_looks_like_a_document_is_passed_on_whole(
    client: Client, others: Server
) -> None:
    response = client.request("POST", f"{others.url}/location", params=words("later", "long"))

    assert response.content == b"".join(LONG)


def test_a_result_that_cannot_be_read_as_a_document_is_passed_on(
    client: Client, others: Server
) -> None:
    response = client.request("POST", f"{others.url}/location", params=words("garbled"))

    assert response.text == '{"status":'


def test_a_monitor_that_the_library_cannot_ask_is_lost(client: Client, others: Server) -> None:
    params = {**words("later"), "to": "http://exa mple/"}

    with pytest.raises(MonitorLost):
        client.request("POST", f"{others.url}/location", params=params, follow={"retries": 0})


def test_a_url_that_no_client_can_ask_is_refused_by_the_library(client: Client) -> None:
    with pytest.raises((httpx.UnsupportedProtocol, httpx2.UnsupportedProtocol)):
        client.wait("ftp://example.com/jobs/1")


def test_the_wrapped_transport_is_opened_and_closed(library: Library, others: Server) -> None:
    calls: list[str] = []

    class Noted(library.HTTPTransport):  # type: ignore[misc]
        def __enter__(self) -> Any:
            calls.append("enter")
            return super().__enter__()

        def __exit__(self, *exc: object) -> None:
            calls.append("exit")
            super().__exit__(*exc)

        def close(self) -> None:
            calls.append("close")
            super().close()

    transport = FollowTransport(Noted())
    with library.Client(transport=transport) as client:
        response = client.post(f"{others.url}/location", params=words("ready"))
    transport.close()

    assert response.status_code == 200
    assert calls == ["enter", "exit", "close"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_wrapped_transport_may_be_an_awaiting_one(
    library: Library, others: Server, backend: str
) -> None:
    async def send() -> int:
        transport = AsyncFollowTransport(library.AsyncHTTPTransport())
        async with library.AsyncClient(transport=transport) as client:
            response = await client.post(f"{others.url}/location", params=words("ready"))
        await transport.aclose()
        code: int = response.status_code
        return code

    assert anyio.run(send, backend=backend) == 200


def test_a_monitor_that_is_in_trouble_is_asked_again(client: Client, others: Server) -> None:
    url = f"{others.url}/location"

    response = client.request("POST", url, params=words("404", "503", "502", "later", "ready"))

    assert response.status_code == 200


def test_a_monitor_that_stays_in_trouble_is_lost_after_the_retries(
    client: Client, others: Server
) -> None:
    url = f"{others.url}/location"

    with pytest.raises(MonitorLost, match="answered 502"):
        client.request("POST", url, params=words("later", "502"), follow={"retries": 1})


def test_a_monitor_that_refuses_is_lost_at_once(client: Client, others: Server) -> None:
    with pytest.raises(MonitorLost, match=r"answered 403: Not yours\."):
        client.request("POST", f"{others.url}/location", params=words("later", "403"))


def test_the_deadline_is_kept_and_names_where_to_go_on(client: Client, others: Server) -> None:
    url = f"{others.url}/location"

    with pytest.raises(FollowTimeout) as caught:
        client.request("POST", url, params=words("later"), follow={"timeout": 0.5})

    assert caught.value.url.startswith(f"{others.url}/location/")


def test_a_linked_monitor_redirects_to_the_result(client: Client, others: Server) -> None:
    response = client.request("POST", f"{others.url}/linked", params=words("no", "no", "ready"))

    assert response.json()["status"] == "shipped"
    assert response.json()["seen"][-1]["path"].startswith("/resources/")


def test_secrets_go_to_the_same_origin(client: Client, others: Server) -> None:
    response = client.request(
        "POST", f"{others.url}/azure/reports", params=words("Succeeded"), headers=SECRETS
    )

    for seen in response.json()["seen"]:
        assert {"authorization", "cookie", "x-api-key"} <= set(seen)


def test_secrets_do_not_go_to_another_origin(client: Client, others: Server) -> None:
    response = client.request(
        "POST",
        f"{others.url}/azure/reports",
        params={**words("Succeeded"), "host": "localhost"},
        headers=SECRETS,
        auth=("user", "password"),
    )

    submission, poll, fetch = response.json()["seen"]
    assert "authorization" in submission
    assert poll["host"].startswith("localhost")
    assert not {"authorization", "cookie", "x-api-key"} & set(poll)
    assert fetch["host"].startswith("127.0.0.1")


def test_the_secrets_of_a_client_do_not_go_to_another_origin(
    library: Library, others: Server
) -> None:
    params = {**words("Succeeded"), "host": "localhost"}
    with library.Client(auth=("user", "password"), headers=SECRETS) as client:
        accepted = client.post(f"{others.url}/azure/reports", params=params)

        response = wait(accepted, client)

    poll = response.json()["seen"][1]
    assert poll["host"].startswith("localhost")
    assert not {"authorization", "cookie", "x-api-key"} & set(poll)


def test_the_secrets_of_a_client_go_to_the_origin_of_the_url(
    library: Library, others: Server
) -> None:
    accepted = library.post(f"{others.url}/azure/reports", params=words("Succeeded"))
    with library.Client(auth=("user", "password")) as client:
        wait(str(accepted.headers["Operation-Location"]), client)
        seen = client.get(f"{others.url}{accepted.headers['Location']}").json()["seen"]

    assert "authorization" in seen[1]


def test_the_body_of_the_original_request_is_not_sent_again(client: Client, others: Server) -> None:
    url = f"{others.url}/azure/reports"
    headers = {"Idempotency-Key": "1", "Prefer": "respond-async", "Accept": "text/csv"}

    response = client.request(
        "POST", url, params=words("Succeeded"), headers=headers, json={"a": 1}
    )

    _, poll, fetch = response.json()["seen"]
    unwanted = {"content-length", "content-type", "idempotency-key", "prefer"}
    assert not unwanted & set(poll)
    assert poll["accept"].startswith("application/json")
    assert fetch["accept"] == "text/csv"


def test_following_yields_each_document(library: Library, others: Server) -> None:
    accepted = library.post(
        f"{others.url}/azure/reports", params=words("NotStarted", "Running", "Failed")
    )

    documents = [document["status"] for document in follow(accepted)]

    assert documents == ["NotStarted", "Running", "Failed"]


def test_following_a_response_that_is_final_yields_nothing(
    library: Library, others: Server
) -> None:
    response = library.get(others.url)

    documents: list[Any] = list(follow(response))

    assert documents == []
    assert wait(response) is response
