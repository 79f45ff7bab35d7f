"""Run the Python blocks of README.md and docs/ as tests, and compare the answers they show with real ones."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    import httpx2
    from sybil import Example


def enter_empty_folder(namespace: dict[str, Any]) -> None:
    """Let a document's blocks run as a reader's script would, and write into the current folder."""
    namespace["__name__"] = "__main__"
    cleanup = namespace["cleanup"] = contextlib.ExitStack()
    folder = cleanup.enter_context(tempfile.TemporaryDirectory())
    cleanup.enter_context(contextlib.chdir(folder))


def clean_up(namespace: dict[str, Any]) -> None:
    """Undo what a document's blocks have put on the stack ``cleanup``, and leave the folder."""
    namespace["cleanup"].close()


def compare_answer(example: Example) -> str | None:
    """Return how a shown answer differs from the document's variable ``answer``, None if it doesn't.

    A "…" stands for anything within a line. All of the body has to be shown, and of the header what is of interest.
    """
    answer: httpx2.Response = example.namespace["answer"]
    head, _, body = str(example.parsed).strip().partition("\n\n")
    actual_head, actual_body = head_lines(answer), body_text(answer)
    missing = [
        line for line in head.splitlines() if not any(fits(line, actual) for actual in actual_head)
    ]
    if not missing and fits(body, actual_body):
        return None
    lacks = ["It lacks:", *missing] if missing else ["That is not the body which is shown."]
    return "\n".join(["The answer is:", *actual_head, "", actual_body, "", *lacks])


def head_lines(answer: httpx2.Response) -> list[str]:
    """Return the status line and the header lines of an answer."""
    status = HTTPStatus(answer.status_code)
    fields = [f"{name}: {value}" for name, value in answer.headers.multi_items()]
    return [f"HTTP/1.1 {status} {status.phrase}", *fields]


def body_text(answer: httpx2.Response) -> str:
    """Return the body of an answer, JSON indented."""
    is_json = answer.headers.get("Content-Type", "").endswith("json")
    return json.dumps(answer.json(), indent=2) if is_json else answer.text


def fits(shown: str, actual: str) -> bool:
    """Whether a text is what a document shows; names of header fields have no case."""
    pattern = re.escape(shown).replace("…", ".*")
    return re.fullmatch(pattern, actual, re.IGNORECASE) is not None


# No parser for `skip` on purpose: a block that doesn't run is wrong, or isn't Python.
pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("http", compare_answer)],
    patterns=["README.md", "docs/*.md"],
    setup=enter_empty_folder,
    teardown=clean_up,
).pytest()
