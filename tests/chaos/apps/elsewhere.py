"""Where the handlers of the applications under attack run: in the web processes, or where the environment says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

AGAIN_AFTER = 3.0
"""Seconds after which a message is sent again: short, for it is lost with the broker all the time."""


def elsewhere(app: str) -> tuple[Celery | None, dict[str, Any]]:
    """Return Celery's application, if there is a broker, and the options of the middleware; ``app`` names the module's.

    Without a broker Celery is not even imported: it would make up half of the time that a worker takes to start.
    """
    broker = os.environ.get("DEFERIT_CHAOS_BROKER")
    if broker is None:
        return None, {}
    from celery import Celery  # noqa: PLC0415

    from deferit.executors.celery import CeleryExecutor  # noqa: PLC0415

    celery = Celery("chaos", broker=broker)
    celery.conf.worker_hijack_root_logger = False
    return celery, {"executor": CeleryExecutor(celery, app=app, again_after=AGAIN_AFTER)}
