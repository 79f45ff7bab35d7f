"""Leaves jobs to the processes that `deferit work` starts beside the web server's, on the same store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferit.executors.base import Dispatcher

if TYPE_CHECKING:
    from deferit._core.job import Job


class WorkerExecutor(Dispatcher):
    """Offers nothing to nobody: workers find jobs in the store, and what becomes of them."""

    app = ""  # the workers know what they run

    def capacity(self, waiting: int) -> int:  # noqa: ARG002  whatever waits
        return 0

    def dispatch(self, job: Job) -> None:
        """Do nothing: it is never asked to, without capacity."""

    def revoke(self, job: Job) -> bool:  # noqa: ARG002  the worker sees in the store that it was canceled
        return False
