"""Requests and imports cost no more than is recorded: counted, not timed, so that a slow machine is no matter."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.costs.records import (
    FRAMEWORKS,
    PYTHON,
    complaints,
    complaints_of_imports,
    counted,
    imported,
    recorded,
)

A_JOB = {"job": {"calls": 800.0, "commands": 2.0}}
IMPORTS = {"modules of deferit": 60, "modules of others": 80}


@pytest.fixture
def record() -> dict[str, Any]:
    found = recorded()
    if found is not None:
        return found
    reason = f"no costs are recorded for Python {PYTHON}: make costs"
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_requests_cost_what_is_recorded(framework: str, record: dict[str, Any]) -> None:
    costs = counted(framework)

    found = complaints(record[framework]["requests"], costs)
    assert not found, "\n".join([framework, *found])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_importing_brings_what_is_recorded(framework: str, record: dict[str, Any]) -> None:
    now = imported(framework)

    found = complaints_of_imports(record[framework]["imports"], now)
    assert not found, "\n".join([framework, *found])


def test_a_few_calls_more_or_fewer_are_no_matter() -> None:
    assert complaints(A_JOB, {"job": {"calls": 815.0, "commands": 2.0}}) == []
    assert complaints(A_JOB, {"job": {"calls": 610.0, "commands": 2.0}}) == []


def test_more_calls_are_to_be_looked_at() -> None:
    (found,) = complaints(A_JOB, {"job": {"calls": 830.0, "commands": 2.0}})

    assert found.startswith("job: 830 calls, 800 are recorded.")
    assert "say in the commit why: make costs" in found


def test_one_more_command_in_many_requests_is_to_be_looked_at() -> None:
    (found,) = complaints(A_JOB, {"job": {"calls": 800.0, "commands": 2.02}})

    assert found.startswith("job: 2.02 commands, 2 are recorded.")


def test_far_fewer_calls_are_to_be_recorded() -> None:
    (found,) = complaints(A_JOB, {"job": {"calls": 590.0, "commands": 2.0}})

    assert "record it, so that it is kept: make costs" in found


def test_requests_that_are_not_recorded_are_to_be() -> None:
    (found,) = complaints(A_JOB, A_JOB | {"poll": {"calls": 1.0}})

    assert found == "recorded are ['job'], counted were ['job', 'poll']; record anew: make costs"


@pytest.mark.parametrize("name", IMPORTS)
def test_a_few_more_imports_are_no_matter(name: str) -> None:
    assert complaints_of_imports(IMPORTS, IMPORTS) == []
    assert complaints_of_imports(IMPORTS, IMPORTS | {name: IMPORTS[name] + 5}) == []


@pytest.mark.parametrize("name", IMPORTS)
def test_many_more_imports_are_to_be_looked_at(name: str) -> None:
    (found,) = complaints_of_imports(IMPORTS, IMPORTS | {name: IMPORTS[name] + 9})

    assert f"{IMPORTS[name] + 9} {name}, {IMPORTS[name]} are recorded" in found
    assert "make costs" in found
