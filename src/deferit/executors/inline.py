"""Runs a handler at once, where it was submitted: for tests that want to see the end when the 202 is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferit.executors.base import Executor

if TYPE_CHECKING:
    from deferit.executors.base import Work


class InlineExecutor(Executor):
    """Runs a handler before the 202 is answered."""

    runs_in_place = True

    def submit(self, work: Work) -> None:
        work.run()

    async def asubmit(self, work: Work) -> None:
        await work.arun()
