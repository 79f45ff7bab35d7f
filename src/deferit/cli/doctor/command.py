"""``deferit doctor``: says what is wrong with how an application uses deferit, and what to do."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from deferit.cli.doctor.checks import Finding, Level, examined
from deferit.cli.doctor.look import facts_about, load
from deferit.cli.endings import Ending
from deferit.cli.words import printable

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def doctor(
    application: str,
    /,
    *,
    strict: bool = False,
    json: bool = False,
) -> int:
    """Import an application and check how it uses deferit: its middleware, store, workers, URLs and marks.

    deferit doctor shop.web:app

    Run it where the application runs, in its directory and environment. It exits with 1 if it has found a problem.

    Args:
        application: MODULE:APP, or MODULE:FACTORY().
        strict: Let warnings count as problems.
        json: Print the findings as JSON.
    """
    findings = examined(facts_about(load(application), os.environ))
    if json:
        sys.stdout.write(jsonlib.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        _print(findings)
    bad = {Level.PROBLEM, Level.WARNING} if strict else {Level.PROBLEM}
    return Ending.FAILED if any(finding.level in bad for finding in findings) else Ending.WELL


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        level = Text(f"{finding.level:>7}", STYLES[finding.level])
        console.print(Text.assemble(level, f"  {finding.check}: {printable(finding.found)}"))
        if finding.advice:
            console.print(Text(f"{'':>9}{printable(finding.advice)}", "dim"))
