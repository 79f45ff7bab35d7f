"""What the served applications do: a handler that leaves a line in a ledger and waits for a file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from tests.contract.stage import Said, Stage

from deferit import progress

FOLDER = Path(os.environ["DEFERIT_TEST_FOLDER"])

MARKS: dict[str, dict[str, Any]] = {
    "always": {},
    "auto": {"mode": "auto", "wait": 20},
    "shared": {"coalesce": True},
}


def stage() -> Stage:
    staged = Stage()
    staged.acts["work"] = work
    staged.acts["address"] = lambda _: Said(200, str(os.getpid()).encode())
    return staged


def work(body: bytes) -> Said:
    """Note the name in the ledger, report, and wait until the gate is there."""
    wish = json.loads(body)
    with (FOLDER / "ledger").open("a") as ledger:
        ledger.write(f"{wish['name']} {os.getpid()}\n")
    progress(0.01, "begun")
    while wish.get("gate") and not (FOLDER / wish["gate"]).exists():
        time.sleep(0.01)
    return Said(201, f"{wish['name']} is done".encode(), (("X-Own", "yes"),))
