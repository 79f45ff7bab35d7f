"""Which executor the applications have: what the environment says, or one that only an object can be."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from celery import Celery

from deferit.executors.celery import CeleryExecutor
from deferit.executors.futures import FuturesExecutor
from deferit.executors.processes import ProcessExecutor

celery_app = Celery("orders", broker=os.environ.get("DEFERIT_TEST_BROKER", "memory://"))
celery_app.conf.worker_hijack_root_logger = False


def executor(app: str) -> Any:
    """Return the executor of the application that ``app`` names."""
    kind = os.environ.get("DEFERIT_TEST_EXECUTOR", "")
    if kind == "celery":
        return CeleryExecutor(celery_app, app=app, again_after=5.0, queue=queue_of)
    if kind == "four processes":
        return ProcessExecutor(app, workers=4)
    if kind == "pool":
        return FuturesExecutor(process_pool, app=app)
    if kind == "dask":
        return FuturesExecutor(dask_pool, app=app)
    return kind or None


def queue_of(job: Any) -> str | None:
    """Return the queue of Celery for a job; what computes has one of its own."""
    return "heavy" if job.route.endswith(".compute") else None


def process_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, get_context("spawn"))


def dask_pool() -> Any:
    from distributed import Client  # noqa: PLC0415  it takes a second to import

    return Client(os.environ["DEFERIT_TEST_DASK"]).get_executor()


def executing(app: str) -> dict[str, Any]:
    """Return the option ``executor`` where it has to be an object; texts come from the environment."""
    return {"executor": executor(app)} if "DEFERIT_TEST_EXECUTOR" in os.environ else {}
