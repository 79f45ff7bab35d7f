"""Schemathesis, from the description, with jobs in every state: it finds nothing.

By default a few hundred requests, always the same ones; `make schemathesis` sets the variable for thousands.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import count, cycle
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
import schemathesis.hooks
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from tests.description.sites import site
from tests.description.states import FINISHED, GONE, STATES, put
from tests.hostile.requests import FIELDS

from deferit._core.ids import is_id
from deferit._core.problems import NO_RESULT_STATUS, PROBLEMS
from deferit.openapi import description

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case, HookContext

    from deferit import ASGIMiddleware, WSGIMiddleware

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "150"))

REFUSALS = sorted({status for status, _, _ in PROBLEMS.values() if status < 500} - {400, 405})
"""What a valid request may be answered too, as the job is what it is."""

OURS = ["2xx", "304", *REFUSALS]
HANDLERS = ["2xx", "3xx", *REFUSALS, *sorted(set(NO_RESULT_STATUS.values()))]
"""The result route answers what the handler did, its 500 included."""

CONFIGURATION: dict[str, Any] = {
    "continue-on-failure": True,
    "generation": {"database": "none", "max-examples": max(20, CASES // 20)},
    "checks": {"positive_data_acceptance": {"expected-statuses": OURS}},
    "operations": [
        {
            "include-path-regex": "/result$",
            "checks": {
                "positive_data_acceptance": {"expected-statuses": HANDLERS},
                "not_a_server_error": {"expected-statuses": [*HANDLERS, "4xx"]},
            },
        }
    ],
}


@pytest.fixture(params=["flask", "starlette"])
def middleware(request: pytest.FixtureRequest) -> Iterator[ASGIMiddleware | WSGIMiddleware]:
    """Every request for a job finds one that was made for it, in one state after the other."""
    with site(request.param) as built:
        next_states: dict[str, Iterator[str]] = {}
        numbers = count()

        def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
            add_fields(case, next(numbers))
            job_id = case.path_parameters.get("jobId")
            if isinstance(job_id, str) and is_id(job_id):
                # The events of a pending job would go on for as long as it is.
                states = {**FINISHED, **GONE} if case.path.endswith("/events") else STATES
                state = next(next_states.setdefault(case.operation.label, cycle(states)))
                case.path_parameters["jobId"] = put(built.options.store, state, built.application)

        schemathesis.hook(before_call)
        yield built
        schemathesis.hooks.unregister(before_call)


@pytest.mark.timeout(600)
def test_it_finds_nothing(middleware: ASGIMiddleware | WSGIMiddleware) -> None:
    answers: Counter[tuple[str, int]] = Counter()
    fields: set[str] = set()
    found: list[str] = []

    for seed in count(1):
        for event in run(middleware, seed):
            found += failures(event)
            answers.update(answered(event))
            fields |= sent(event)
        if found or answers.total() >= CASES:
            break

    assert not found, "\n\n".join(found[:20])
    assert answers.keys() >= SEEN
    assert fields >= {name.lower() for name in OTHER_FIELDS}


OTHER_FIELDS = sorted(set(FIELDS) - {"Content-Length", "Transfer-Encoding", "Host"})
"""Those that no HTTP client lets anybody write as he likes go over sockets, in tests/hostile."""

VALUES = (
    *("", "0", "9" * 5_000, "-1", "\xe9", "\xff\xfe", "x" * 65_536, '"' * 65_536, "\x7f"),
    *(", ".join(["wait=0"] * 10_000), ", ".join(f"p{n}=1" for n in range(10_000))),
    *('W/"1"', '"its tag"', "*", "bytes=0-1", "bytes=9-", "bytes=0-1,2-3", "text/html"),
    *("application/json;q=0.1, text/html", "image/png", "https://shop.example", "1", "2"),
    *("Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 0000 00:00:00 +9999", "session=1; a"),
    *("application/x-www-form-urlencoded", "00-" + "f" * 32 + "-" + "f" * 16 + "-01"),
)
"""None of them asks for events, which would go on for as long as a job is pending."""


def add_fields(case: Case[Any], number: int) -> None:
    """Write two more fields into a request; after some hundreds, each has stood beside each value."""
    for turn in (2 * number, 2 * number + 1):
        name = OTHER_FIELDS[turn % len(OTHER_FIELDS)]
        if name not in case.headers:
            value = VALUES[turn // len(OTHER_FIELDS) * 7 % len(VALUES)]
            case.headers[name] = value


SEEN = {
    *(("GET /jobs/{jobId}", status) for status in (200, 202, 404, 405, 410)),
    *(("GET /jobs/{jobId}/result", status) for status in (200, 201, 202, 204, 303, 404, 410, 500)),
    *(("GET /jobs/{jobId}/events", status) for status in (200, 404, 405, 410)),
    *(("DELETE /jobs/{jobId}", status) for status in (200, 204, 404)),
    *(("POST /jobs/{jobId}/cancel", status) for status in (200, 404, 405, 409, 410)),
    *(("GET /jobs", status) for status in (200, 400, 405)),
}
"""What has to be among the answers: else the jobs were not there."""


def run(middleware: ASGIMiddleware | WSGIMiddleware, seed: int) -> Iterator[events.EngineEvent]:
    config = SchemathesisConfig.from_dict({**CONFIGURATION, "seed": seed})
    schema = schemathesis.openapi.from_dict(description(), config=config)
    schema.app = middleware
    return iter(from_schema(schema).execute())


def failures(event: events.EngineEvent) -> list[str]:
    if isinstance(event, events.NonFatalError):
        return [f"{event.label}: {event.value!r}"]
    if isinstance(event, events.FatalError):
        return [repr(event.exception)]
    if not isinstance(event, events.ScenarioFinished):
        return []
    return [
        f"{check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
        for checks in event.recorder.checks.values()
        for check in checks
        if check.failure_info is not None
    ]


def answered(event: events.EngineEvent) -> list[tuple[str, int]]:
    """Return the operation and status code of each request."""
    if not isinstance(event, events.ScenarioFinished):
        return []
    cases, interactions = event.recorder.cases, event.recorder.interactions
    return [
        (cases[case_id].value.operation.label, interaction.response.status_code)
        for case_id, interaction in interactions.items()
        if interaction.response is not None
    ]


def sent(event: events.EngineEvent) -> set[str]:
    """Return the names of the fields of the requests that were made."""
    if not isinstance(event, events.ScenarioFinished):
        return set()
    requests = [interaction.request for interaction in event.recorder.interactions.values()]
    return {name.lower() for request in requests for name in request.headers}
