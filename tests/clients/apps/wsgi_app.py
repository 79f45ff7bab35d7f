"""Same as `asgi_app`, but with Flask."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, request
from tests.clients.apps.common import IN_USE, PAUSE, THING
from tests.executors.apps.setting import celery_app, executing

from deferit import WSGIMiddleware, current_job, deferred

app = Flask(__name__)
app.wsgi_app = WSGIMiddleware(app.wsgi_app, **executing("tests.clients.apps.wsgi_app:app"))  # type: ignore[method-assign]


@app.route("/things/<outcome>", methods=["PUT", "DELETE"])
@deferred
def change(outcome: str) -> Any:
    time.sleep(PAUSE)
    while outcome == "cancellation":
        job = current_job()
        assert job is not None
        job.check()
        time.sleep(PAUSE)
    if outcome == "failure":
        return IN_USE, 409
    return (THING, 201) if request.method == "PUT" else ("", 204)


__all__ = ["app", "celery_app"]
