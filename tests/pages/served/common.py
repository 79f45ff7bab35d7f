"""What the served applications do: a handler that says and answers what a test has written into a file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.contract.stage import Said, Stage

from deferit import current_job, progress

if TYPE_CHECKING:
    from deferit import Request

FOLDER = Path(os.environ["DEFERIT_TEST_FOLDER"])

MARKS: dict[str, dict[str, Any]] = {"always": {}}


def stage() -> Stage:
    staged = Stage()
    staged.acts["told"] = told
    return staged


def told(body: bytes) -> Said:
    """Do as the file says that the form names, until it has an answer; note the call in the ledger."""
    name, job = parse_qs(body.decode())["name"][0], current_job()
    assert job is not None
    with (FOLDER / "ledger").open("a") as ledger:
        ledger.write(f"{name}\n")
    while True:
        told = json.loads((FOLDER / name).read_text())
        if "progress" in told:
            progress(told["progress"], told.get("message"))
        job.check()
        if "answer" in told:
            return Said(told.get("status", 200), told["answer"].encode())
        time.sleep(0.01)


def owner_of(request: Request) -> str | None:
    """Return who is signed in, as a field says that a browser sends with every request."""
    return request.headers.get("X-Owner")


def is_operator(request: Request) -> bool:
    return request.headers.get("X-Owner") == "olga"
