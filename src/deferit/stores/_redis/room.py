"""Which commands of a batch need room: a server whose memory is full can still be asked for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferit._core.commands import Append, Create, Finish
from deferit.stores._redis.batch import INLINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deferit._core.commands import Command


def jobs_that_need_room(batch: Sequence[Command]) -> set[str | None]:
    """Return the ids of jobs that are new, or get pieces of a body; what else is asked of them has to wait for that."""
    return {job_of(command) for command in batch if _needs_room(command)}


def job_of(command: Command) -> str | None:
    """Return the id of the one job that a command is about, None if there is no such one."""
    if isinstance(command, Create):
        return command.job.id
    return getattr(command, "job_id", None)


def _needs_room(command: Command) -> bool:
    if isinstance(command, Finish):
        is_whole = command.result is None or command.result.chunks <= 1
        return not is_whole or len(command.body) > INLINE
    return isinstance(command, Create | Append)
