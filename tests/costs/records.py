"""What requests and imports cost as it is recorded, and how that differs from now; ``make costs`` records anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
RECORDED = Path(__file__).with_name("recorded.json")
FRAMEWORKS = ("starlette", "flask")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Others count differently: since 3.12 a comprehension is no call."""

MORE, FEWER = 0.03, 0.25
"""Parts by which calls may differ from what is recorded."""
MODULES = 0.10
"""The part by which there may be more modules: that code moves is no matter."""


def counted(framework: str) -> dict[str, dict[str, float]]:
    """Return what requests cost now."""
    costs: dict[str, dict[str, float]] = _told("tests.costs.counting", framework)
    return costs


def imported(framework: str) -> dict[str, int]:
    """Return how many modules importing deferit brings now."""
    modules: list[str] = _told("tests.costs.importing", framework)
    ours = sum(name.partition(".")[0] == "deferit" for name in modules)
    return {"modules of deferit": ours, "modules of others": len(modules) - ours}


def _told(program: str, framework: str) -> Any:
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", program, framework]
    ended = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def recorded() -> dict[str, Any] | None:
    """Return what was recorded with this version of Python, if it was."""
    everything: dict[str, Any] = json.loads(RECORDED.read_text())
    return everything.get(PYTHON)


def complaints(then: dict[str, dict[str, float]], now: dict[str, dict[str, float]]) -> list[str]:
    """Return how what requests cost differs from what is recorded, and what to do."""
    if then.keys() != now.keys():
        return [f"recorded are {sorted(then)}, counted were {sorted(now)}; record anew: make costs"]
    return [
        f"{request}: {complaint}"
        for request, costs in now.items()
        for name, number in costs.items()
        if (complaint := _complaint(name, then[request][name], number))
    ]


def _complaint(name: str, then: float, now: float) -> str | None:
    more, fewer = (MORE, FEWER) if name == "calls" else (0.0, 0.0)
    if now > then * (1 + more):
        return (
            f"{now:g} {name}, {then:g} are recorded. Each request now does more than it did: look at what was added to "
            "its way. If it has to be, record it and say in the commit why: make costs"
        )
    if now < then * (1 - fewer):
        return f"{now:g} {name}, {then:g} are recorded. That is better; record it, so that it is kept: make costs"
    return None


def complaints_of_imports(then: dict[str, int], now: dict[str, int]) -> list[str]:
    """Return how what is imported differs from what is recorded, and what to do."""
    return [
        f"importing deferit imports {number} {name}, {then[name]} are recorded. Import where it is used what few "
        "need, or, if it has to be, record it: make costs"
        for name, number in now.items()
        if number > then[name] * (1 + MODULES)
    ]


def main() -> None:
    """Record what it is now."""
    everything = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    everything[PYTHON] = {
        framework: {"requests": counted(framework), "imports": imported(framework)}
        for framework in FRAMEWORKS
    }
    RECORDED.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
