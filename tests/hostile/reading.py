"""Which fields of a request the middlewares read, as their source tells."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import deferit
from deferit._core.http import OF_THE_SUBMITTER

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(deferit.__file__).parent

ELSEWHERE = {"cli", "client", "stores", "testing", "openapi.py", "_schemas.py"}
"""What meets no request."""

NO_FIELDS = {"respond-async"}
"""What is looked up and only looks like a field: a preference is one."""

LOOK_UP = {"get", "getlist", "pop", "setdefault"}

FIELD = re.compile(r"[A-Z][a-z]*(-[A-Z][A-Za-z]*)*|HTTP_[A-Z_]+|CONTENT_[A-Z]+|(trace|bag)[a-z]+")
"""How we write the name of a field: as it is sent, or as a WSGI environ has it."""


def fields_read() -> set[str]:
    """Return the names, in lower case, of all fields that are looked up, compared with or left out of a capture."""
    found = set(OF_THE_SUBMITTER)
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] not in ELSEWHERE:
            found |= fields_in(path.read_text("utf-8"))
    return found


def fields_in(source: str) -> set[str]:
    """Return the names of fields that a module looks up; a name may be a constant of the module."""
    tree = ast.parse(source)
    constants = dict(_constants(tree))
    names = [_text(part, constants) for node in ast.walk(tree) for part in _compared(node)]
    for part in map(_looked_up, ast.walk(tree)):
        name = _text(part, constants) if part else None
        names.append(name.title() if name and "-" in name else name)  # elsewhere a word of ours
    return {_as_sent(name) for name in names if name and FIELD.fullmatch(name)} - NO_FIELDS


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _looked_up(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.Call(func=ast.Attribute(attr=attr), args=[name, *_]) if attr in LOOK_UP:
            return name
        case ast.Call(func=ast.Name(id="listed"), args=[_, name]):
            return name
    return None


def _compared(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Compare):
        yield from (node.left, *node.comparators)
    elif isinstance(node, ast.Subscript):
        yield node.slice


def _text(part: ast.expr, constants: dict[str, ast.expr]) -> str | None:
    if isinstance(part, ast.Name):
        part = constants.get(part.id, part)
    if not isinstance(part, ast.Constant):
        return None
    if isinstance(part.value, bytes):  # as ASGI has them
        return part.value.decode("latin-1").title()
    return part.value if isinstance(part.value, str) else None


def _as_sent(name: str) -> str:
    return name.removeprefix("HTTP_").replace("_", "-").lower()
