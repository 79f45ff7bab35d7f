"""Where handlers run, away from their requests: one module an executor, alternatives behind one contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deferit.exceptions import OptionError

if TYPE_CHECKING:
    from deferit.executors.base import Dispatcher, Executor


def executor_from_text(text: str) -> Executor | Dispatcher | None:
    """Return the executor that a text names; None: this process's own.

    Raises:
        OptionError: none has this name.
    """
    name, _, app = text.partition(":")
    if text == "inline":
        from deferit.executors.inline import InlineExecutor  # noqa: PLC0415  load only what is used

        return InlineExecutor()
    if text == "worker":
        from deferit.executors.worker import WorkerExecutor  # noqa: PLC0415  load only what is used

        return WorkerExecutor()
    if name == "processes":
        from deferit.executors.processes import ProcessExecutor  # noqa: PLC0415  load only what is used

        return ProcessExecutor(app or None)
    if text in {"", "none"}:
        return None
    raise OptionError(
        f"executor={text!r} names none; write 'worker' (`deferit work` runs the jobs), 'processes' or "
        "'processes:orders.web:app' (children of this process do), 'inline' (for tests), or give an executor such as "
        "CeleryExecutor(celery, app='orders.web:app')"
    )
