"""Every statement of docs/contract.md has a test, and every test that docs/contract-tests.md names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")

    assert name in names_in(path)
