"""The applications as they are, and as the documents' diffs make them."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.retrofit.diffs import diffs

APPS = Path(__file__).with_name("apps")
DOCS = Path(__file__).parents[2] / "docs"

Retrofitted = Callable[[str, int], Any]


MODULES = {"flask": "journal", "fastapi": "main"}


@pytest.fixture
def retrofitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Retrofitted]:
    """Import an application of this test's own, changed by so many of its document's diffs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported(name: str, count: int) -> Any:
        copy = tmp_path / f"{name}-{count}"
        shutil.copytree(APPS / f"on_{name}", copy)
        for diff in diffs(DOCS / f"retrofit-{name}.md")[:count]:
            for hunk in diff:
                hunk.apply(copy)
        forget()
        monkeypatch.syspath_prepend(copy)
        return importlib.import_module(MODULES[name])

    yield imported
    forget()


def forget() -> None:
    """Have the applications imported anew."""
    for name in list(sys.modules):
        if name.partition(".")[0] in MODULES.values():
            del sys.modules[name]
