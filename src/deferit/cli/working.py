"""``deferit work``: run jobs beside the web server."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter, validators

from deferit.worker_command import HELP
from deferit.worker_command import work as run


def work(
    target: str,
    *,
    concurrency: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    drain: bool = False,
) -> int:
    """Run jobs.

    Args:
        target: the application, as servers name it: MODULE:APP.
        concurrency: jobs to run at once; without it, as many as the application's option says.
        drain: exit when no job is due.
    """
    return run(target, concurrency=concurrency, drain=drain)


work.__doc__ = f"{HELP}\n{(work.__doc__ or '').partition(chr(10))[2]}"
