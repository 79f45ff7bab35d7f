"""Every statement of docs/contract.md has a test, and every test that docs/contract-tests.md names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from deferit._core.problems import NO_RESULT_STATUS, PROBLEMS

CHECKOUT = Path(__file__).parents[1]
STATEMENTS = re.findall(r"\*\*(C\d+\.\d+)\*\*", (CHECKOUT / "docs/contract.md").read_text("utf-8"))
ROWS = {
    number: re.findall(r"`([^`]+)`", tests)
    for number, tests in re.findall(
        r"^\| (C\d+\.\d+) \| (.*) \|$",
        (CHECKOUT / "docs/contract-tests.md").read_text("utf-8"),
        re.MULTILINE,
    )
}
TOLD = dict(
    re.findall(
        r"\*\*(C\d+\.\d+)\*\*(.*?)(?=\*\*C\d|\Z)",
        (CHECKOUT / "docs/contract.md").read_text("utf-8"),
        re.DOTALL,
    )
)
"""What each statement says."""

NO_PROBLEM = {"handler-response"}
"""Codes of documents alone: there is a response, which is the result."""

NAMED = sorted({test for tests in ROWS.values() for test in tests})


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the tests that a file defines, as ``test_name`` or ``Class::test_name``."""
    tree = ast.parse((CHECKOUT / path).read_text("utf-8"))
    return frozenset(_tests(tree, ""))


def _tests(node: ast.Module | ast.ClassDef, prefix: str) -> list[str]:
    found: list[str] = []
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            found += _tests(child, f"{prefix}{child.name}::")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(prefix + child.name)
    return [name for name in found if name.rpartition("::")[2].startswith("test_")]


def test_statements_are_numbered_in_their_order() -> None:
    numbers = [tuple(map(int, number[1:].split("."))) for number in STATEMENTS]

    assert len(numbers) > 100
    assert len(set(numbers)) == len(numbers)
    for (section, number), (following, next_number) in pairwise(numbers):
        expected = {(section, number + 1), (section + 1, 1)}
        assert (following, next_number) in expected, f"after C{section}.{number}"


def test_every_statement_has_a_test() -> None:
    assert [number for number in STATEMENTS if not ROWS.get(number)] == []
    assert list(ROWS) == STATEMENTS


@pytest.mark.parametrize("code", sorted(PROBLEMS.keys() - NO_PROBLEM - {"request-refused"}))
def test_every_problem_is_told_with_its_status(code: str) -> None:
    status = PROBLEMS[code][0]

    assert [number for number, told in TOLD.items() if f"`{code}`" in told and str(status) in told]


def test_every_problem_is_in_the_guide() -> None:
    guide = (CHECKOUT / "docs/index.md").read_text("utf-8")

    assert [code for code in PROBLEMS.keys() - NO_PROBLEM if f"`{code}`" not in guide] == []


def test_every_reason_of_a_failure_is_told() -> None:
    reasons = {"handler-response", "job-canceled", *NO_RESULT_STATUS}

    assert reasons == set(re.findall(r"`([a-z-]+)`", TOLD["C3.25"]))
    assert NO_RESULT_STATUS.keys() <= set(re.findall(r"`([a-z-]+)`", TOLD["C4.10"]))


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")

    assert name in names_in(path)
