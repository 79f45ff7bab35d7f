from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.matrix import in_one_program
from tests.servers.harness import until
from tests.servers.twins import followed, records

if TYPE_CHECKING:
    import httpx
    from tests.servers.harness import Server

pytestmark = [pytest.mark.server, in_one_program]


def test_each_transition_of_a_job_is_logged_once(server: Server, client: httpx.Client) -> None:
    job = followed(client, client.post("/work/logged"))
    job.until_finished()

    said = _of_job(server, job.id, at_least=3)

    assert {record["level"] for record in said} == {"INFO"}
    assert len(said) == 3
    for status in ("accepted", "running", "succeeded"):
        assert sum(status in record["message"] for record in said) == 1


def test_an_exception_of_a_handler_is_logged_once_with_its_traceback(
    server: Server, client: httpx.Client
) -> None:
    job = followed(client, client.post("/fail"))
    document = job.until_finished()

    said = _of_job(server, job.id, at_least=4)
    errors = [record for record in said if record["level"] == "ERROR"]
    transitions = [record for record in said if record["level"] == "INFO"]

    assert document["status"] == "failed"
    assert document["error"]["code"] == "handler-exception"
    assert len(errors) == 1
    assert "RuntimeError: the handler's own trouble" in errors[0]["traceback"]
    assert "in fail" in errors[0]["traceback"]
    assert len(transitions) == 3


def test_a_job_that_fails_by_its_answer_is_not_an_error(
    server: Server, client: httpx.Client
) -> None:
    job = followed(client, client.post("/refuse"))
    document = job.until_finished()

    assert document["error"]["code"] == "handler-response"
    assert {record["level"] for record in _of_job(server, job.id, at_least=3)} == {"INFO"}


def _of_job(server: Server, job_id: str, *, at_least: int) -> list[dict[str, Any]]:
    """Return what was logged of a job; the last line may come after the monitor has told the end."""

    def said() -> list[dict[str, Any]]:
        return [record for record in records(server) if record["job_id"] == job_id]

    until(lambda: len(said()) >= at_least, f"{at_least} lines about {job_id}")
    return said()
