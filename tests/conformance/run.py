"""Run Starlette's and Flask's own test suites through deferit, and tell what they lost.

    python tests/conformance/run.py [--framework starlette|flask] [--mode nothing|everything]

It needs nothing installed: the suites come out of the frameworks' source distributions, and they run
in an environment of their own (requirements.txt beside this file has the versions). Both are kept in
.conformance/ for the next time; `--keep` names another directory. What the modes mean stands in
plugin.py. Ends with 1 if a suite keeps fewer tests than it must.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
MODES = ("nothing", "everything")


@dataclass(frozen=True)
class Suite:
    """A framework's own tests, and what they must keep with every request deferred."""

    framework: str
    keeps: int
    may_lose: int


SUITES = (Suite("starlette", keeps=1350, may_lose=62), Suite("flask", keeps=483, may_lose=4))

REASONS = {
    "trailer": "trailers: a result is a status, header fields and a body",
    "test_closing_|test_streaming_response_": "streaming: a result is there when it is whole",
    "test_use_testclient_as_contextmanager": "event loops: jobs don't get one for each request",
    "test_accessing_context_|test_app_tearing_down_": "context variables: the submitter's are not set",
    "test_routing_redirect_debugging": "the test client sends a body again that was read already",
}
"""What is known to be lost: a pattern of the tests' names, and why."""


def main() -> int:
    arguments = _arguments()
    place: Path = arguments.keep
    place.mkdir(parents=True, exist_ok=True)
    (place / ".gitignore").write_text("*\n")
    python = _environment(place)
    suites = [suite for suite in SUITES if arguments.framework in (None, suite.framework)]
    modes = [mode for mode in MODES if arguments.mode in (None, mode)]
    verdicts = [verdict for suite in suites for verdict in _examine(suite, modes, place, python)]
    return 0 if all(verdicts) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--framework", choices=[suite.framework for suite in SUITES])
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--keep", type=Path, default=CHECKOUT / ".conformance", metavar="DIR")
    return parser.parse_args()


# --- what it takes ---------------------------------------------------------------------------------


def _environment(place: Path) -> Path:
    """Return the Python of an environment with the requirements and deferit, made if need be."""
    folder = place / "venv"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "installed"
    inputs = (REQUIREMENTS, CHECKOUT / "pyproject.toml")
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {folder}")
        venv.create(folder, with_pip=True, clear=True)
        _pip(python, "install", "--requirement", str(REQUIREMENTS), "--editable", str(CHECKOUT))
        stamp.write_text(wanted)
    return python


def _unpacked(suite: Suite, place: Path, python: Path) -> Path:
    """Return the folder of a framework's source distribution, downloaded if need be."""
    name = f"{suite.framework}-{_version(suite.framework)}"
    if not (place / name).exists():
        what = name.replace("-", "==")
        only_source = f"--no-binary={suite.framework}"
        _pip(python, "download", "--no-deps", only_source, "--dest", str(place), what)
        with tarfile.open(place / f"{name}.tar.gz") as archive:
            archive.extractall(place, filter="data")
    return place / name


def _version(framework: str) -> str:
    pin = re.search(rf"^{framework}\b.*==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert pin, f"{REQUIREMENTS} does not pin {framework}"
    return str(pin[1])


def _pip(python: Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([python, "-m", "pip", *arguments, *quiet], check=True)


# --- what comes of it ------------------------------------------------------------------------------


def _examine(suite: Suite, modes: list[str], place: Path, python: Path) -> list[bool]:
    """Run a suite without deferit and in each mode; print the comparison, return the verdicts."""
    baseline = _run(suite, "baseline", place, python)
    passed = _passed(baseline)
    print(
        f"\n{suite.framework} {_version(suite.framework)}: {len(passed)} tests pass without deferit"
    )
    verdicts = []
    for mode in modes:
        record = _run(suite, mode, place, python)
        lost = sorted(passed - _passed(record))
        verdicts.append(_is_enough(suite, mode, len(passed), lost, record))
        _tell(mode, len(passed), lost, record, enough=verdicts[-1])
    return verdicts


def _run(suite: Suite, mode: str, place: Path, python: Path) -> dict[str, Any]:
    folder = _unpacked(suite, place, python)
    record = place / f"{suite.framework}-{mode}.json"
    record.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "DEFERIT_CONFORMANCE": mode,
        "DEFERIT_CONFORMANCE_RECORD": str(record),
        "PYTHONPATH": str(HERE),
    }
    options = ["-q", "--tb=short", "--timeout=30", "-p", "plugin", "-p", "no:cacheprovider"]
    with record.with_suffix(".log").open("wb") as log:
        command = [str(python), "-m", "pytest", "tests", *options]
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
    if not record.exists():
        sys.exit(f"the run ended early; see {log.name}")
    comparison: dict[str, Any] = json.loads(record.read_text())
    return comparison


def _passed(record: dict[str, Any]) -> set[str]:
    return {test for test, outcome in record["outcomes"].items() if outcome == "passed"}


def _is_enough(
    suite: Suite, mode: str, baseline: int, lost: list[str], record: dict[str, Any]
) -> bool:
    """Whether the suite kept what it must, and went the way that the mode says."""
    if mode == "nothing":
        return not lost and not record["deferred"]
    slipped = record["direct"].keys() - {"HEAD", "OPTIONS"}
    kept = baseline - len(lost)
    return kept >= suite.keeps and len(lost) <= suite.may_lose and not slipped


def _tell(
    mode: str, baseline: int, lost: list[str], record: dict[str, Any], *, enough: bool
) -> None:
    deferred, direct = (sum(record[way].values()) for way in ("deferred", "direct"))
    print(
        f"  {mode:<10}  {baseline - len(lost)} of {baseline} pass"
        f"  ({deferred} requests deferred, {direct} not)  {'ok' if enough else 'NOT ENOUGH'}"
    )
    reasons = {test: _reason(test, record) for test in lost}
    for reason, count in Counter(reasons.values()).most_common():
        print(f"    {count:3} {reason}")
        for test in lost:
            if reasons[test] == reason:
                print(f"          {test}")


def _reason(test: str, record: dict[str, Any]) -> str:
    for pattern, reason in REASONS.items():
        if re.search(pattern, test):
            return reason
    seen = record["reasons"].get(test) or record["outcomes"].get(test, "not run")
    return "unexplained: " + re.sub(" at 0x[0-9a-f]+", "", seen.partition("\n")[0])


if __name__ == "__main__":
    sys.exit(main())
