"""The description of the mounted routes: valid, complete, and true of what they answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.core import samples
from tests.description.sites import Visitor, visitor
from tests.description.states import FINISHED, PENDING

from deferit._core import document
from deferit._core.estimate import Estimate, Outlook
from deferit._core.flow import ROUTES
from deferit._core.job import Status
from deferit._core.problems import PROBLEMS, problem
from deferit.openapi import description

if TYPE_CHECKING:
    from collections.abc import Iterator


DESCRIPTION = description()


def validator(schema: str) -> Draft202012Validator:
    components = {"components": DESCRIPTION["components"]}
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return Draft202012Validator({**components, **reference}, format_checker=FormatChecker())


@pytest.fixture(scope="module", params=["flask", "starlette"])
def visits(request: pytest.FixtureRequest) -> Iterator[Visitor]:
    with visitor(request.param) as found:
        yield found


# --- the description itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_list", [True, False])
def test_it_is_openapi(with_list: bool) -> None:
    described = description("/api/jobs", server_url="https://shop.example/v1", with_list=with_list)

    OpenAPIV31SpecValidator(described).validate()

    assert ("/api/jobs" in described["paths"]) is with_list
    assert described["servers"] == [{"url": "https://shop.example/v1"}]
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize("resource", ROUTES)
def test_it_has_every_method_of_every_route(resource: str) -> None:
    path = "/".join(part for part in ("/jobs/{jobId}", resource) if part)

    described = DESCRIPTION["paths"][path].keys() - {"parameters"}

    assert described == {method.lower() for method in ROUTES[resource]}


def test_every_code_is_described_somewhere() -> None:
    text = json.dumps({**DESCRIPTION, "components": DESCRIPTION["components"]["responses"]})

    missing = {code for code in PROBLEMS if f"(`{code}`)" not in text}

    # Each route has its methods; what a hook answers is the hook's; the answer of a handler is the handler's.
    assert missing == {"method-not-allowed", "request-refused", "handler-response"}


def test_operations_have_names_of_their_own() -> None:
    names = [
        operation["operationId"]
        for path in DESCRIPTION["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]

    assert len(set(names)) == len(names) == 10


def test_an_application_can_refer_to_the_202() -> None:
    deferral = samples.a_submission().deferral
    job = samples.a_job()

    response = document.accepted(job, samples.SITE, samples.NOON, None, deferral)

    described = DESCRIPTION["components"]["responses"]["AcceptedResponse"]
    names = {name for name, _ in response.headers} - {"Content-Type"}
    assert names <= described["headers"].keys()
    assert names >= {name for name, field in described["headers"].items() if field["required"]}
    assert valid("PendingDocument", samples.members(response))


def test_pages_are_described_where_they_are_answered() -> None:
    job = "/jobs/{jobId}"

    described = {
        (method, path, status)
        for path, operations in DESCRIPTION["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
        for status, response in operation["responses"].items()
        if "text/html" in response.get("content", {})
    }

    assert described == {
        ("get", "/jobs", "200"),
        *(("get", job, status) for status in ("200", "202")),
        ("get", f"{job}/result", "202"),
        *(("delete", job, status) for status in ("200", "409")),
        *(("post", f"{job}/cancel", status) for status in ("200", "409")),
    }
    assert "text/html" in DESCRIPTION["components"]["responses"]["AcceptedResponse"]["content"]


@pytest.mark.parametrize("route", ["", "result", "events"])
@pytest.mark.parametrize("state", ["running", "succeeded"])
def test_head_is_answered_wherever_get_is(visits: Visitor, route: str, state: str) -> None:
    answer = visits.ask_about(state, "HEAD", route)

    assert answer.status in {200, 202}
    assert answer["Content-Type"] in {"application/json", "text/event-stream"}
    assert answer.body == b""


@pytest.mark.parametrize("state", FINISHED)
def test_an_event_shows_the_document(visits: Visitor, state: str) -> None:
    answer = visits.ask_about(state, "GET", "events")

    events = answer.body.decode().strip().split("\n\n")
    fields = dict(line.split(": ", 1) for line in events[-1].splitlines())
    assert answer["Content-Type"] == "text/event-stream"
    assert fields["event"] == "status"
    assert valid("FinishedDocument", json.loads(fields["data"]))


# --- what it says of documents ---------------------------------------------------------------------------------------


def valid(schema: str, members: dict[str, Any]) -> bool:
    validator(schema).validate(members)
    known = DESCRIPTION["components"]["schemas"]["StatusDocument"]["properties"]
    return set(members) <= set(known)


@pytest.mark.parametrize("state", PENDING)
def test_a_pending_job_has_the_document_that_is_described(visits: Visitor, state: str) -> None:
    monitor = visits.ask_about(state, "GET", "")
    result = visits.ask_about(state, "GET", "result")

    assert (monitor.status, result.status) == (202, 202)
    assert valid("PendingDocument", monitor.document)
    assert valid("PendingDocument", result.document)
    assert not validator("FinishedDocument").is_valid(monitor.document)


@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_job_has_the_document_that_is_described(visits: Visitor, state: str) -> None:
    answer = visits.ask_about(state, "GET", "")

    assert answer.status == 200
    assert valid("FinishedDocument", answer.document)
    assert not validator("PendingDocument").is_valid(answer.document)


@pytest.mark.parametrize(("method", "route"), [("DELETE", ""), ("POST", "cancel")])
@pytest.mark.parametrize("state", PENDING)
def test_a_cancel_answers_the_document_that_is_described(
    visits: Visitor, method: str, route: str, state: str
) -> None:
    answer = visits.ask_about(state, method, route)

    assert answer.status == 200
    assert valid("CanceledDocument", answer.document)


def test_the_list_is_as_described(visits: Visitor) -> None:
    for state in (*PENDING, *FINISHED):
        visits.put(state)

    answer = visits.ask("GET", "/jobs")

    validator("JobList").validate(answer.document)
    assert len(answer.document["jobs"]) == 20
    assert [link["rel"] for link in answer.document["links"]] == ["next"]


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_is_as_described(code: str) -> None:
    values = {"allow": "GET", "limit": 1, "length": 1}

    validator("Problem").validate(samples.members(problem(code, None, **values)))


EVERY_MEMBER = (
    samples.a_job(),
    samples.running().reported(samples.NOON + 1, 40, "half of it"),
    samples.succeeded(samples.a_result(headers=(("Content-Type", "text/plain"),))),
    samples.failed(),
)


def test_every_member_is_described_and_seen() -> None:
    seen: set[str] = set()
    for job in EVERY_MEMBER:
        now = samples.NOON + 2
        outlook = Outlook(now, 3, Estimate(now + 8, now + 9, now + 7))
        members = document.status_document(job, samples.SITE, now, outlook)
        seen |= members.keys()
        assert validator("StatusDocument").is_valid(members), members

    assert seen == DESCRIPTION["components"]["schemas"]["StatusDocument"]["properties"].keys()


@pytest.mark.parametrize("status", Status)
def test_a_document_that_lacks_what_is_always_there_is_none(status: Status) -> None:
    whole = document.status_document(samples.in_status(status), samples.SITE, samples.NOON, None)
    always = ("id", "status", "done", "created", "updated", "monitorUrl", "resultUrl")

    for name in always:
        broken = {member: value for member, value in whole.items() if member != name}
        assert not validator("StatusDocument").is_valid(broken)
