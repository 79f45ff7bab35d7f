"""Which options the environment cannot say: the executor that runs handlers in Celery's workers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

BROKER = os.environ.get("BENCHMARK_BROKER")
"""The URL of Celery's broker; without one handlers run where ``DEFERIT_EXECUTOR`` says."""


def _celery() -> Celery | None:
    if BROKER is None:
        return None
    from celery import Celery  # noqa: PLC0415  it takes memory

    return Celery("reports", broker=BROKER)


celery = _celery()


def options(app: str) -> dict[str, Any]:
    """Return the options of the middleware around an application that is named so."""
    if celery is None:
        return {}
    from deferit.executors.celery import CeleryExecutor  # noqa: PLC0415  as Celery itself

    return {"executor": CeleryExecutor(celery, app=app)}
