"""``deferit work``: run jobs beside the web server."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter, validators

from deferit.worker_command import HELP
from deferit.worker_command import work as run

ABOUT = "\n\n".join(" ".join(paragraph.split()) for paragraph in HELP.split("\n\n"))
"""What the command does, to be wrapped as wide as the terminal is."""


def work(
    target: Annotated[str, Parameter(name="MODULE:APP")],
    /,
    *,
    concurrency: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    drain: bool = False,
) -> int:
    """Run jobs.

    Args:
        target: The application, as servers name it; MODULE:FACTORY() calls a factory.
        concurrency: How many jobs to run at once. Without it: as many as the application's option says.
        drain: End when no job is due.
    """
    return run(target, concurrency=concurrency, drain=drain)
