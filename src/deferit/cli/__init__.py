"""The command line: ``deferit``; all but ``work`` needs the extra ``cli``."""

from __future__ import annotations

import sys

from deferit.worker_command import main as work

NEEDED = frozenset({"cyclopts", "httpx", "rich"})


def main() -> None:
    """Run the command that the arguments name, and exit with its code: see `deferit.cli.endings.Ending`."""
    try:
        from deferit.cli.app import run  # noqa: PLC0415  what it imports may be missing
    except ModuleNotFoundError as exc:
        if exc.name not in NEEDED:
            raise
        if sys.argv[1:2] == ["work"]:
            sys.exit(work(sys.argv[2:]))
        sys.exit(_without_extra())
    sys.exit(run(sys.argv[1:]))


def _without_extra() -> int:
    sys.stderr.write('The command line needs the extra: pip install "deferit[cli]"\n')
    return 2
