"""Same as `asgi_app`, but with Flask."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from tests.client.apps.common import LONG, PAUSE, STEPS

from deferit import WSGIMiddleware, current_job, deferred, track

app = Flask(__name__)
app.wsgi_app = WSGIMiddleware(app.wsgi_app)  # type: ignore[method-assign]


@app.route("/work/<what>", methods=["POST", "PUT", "GET"])
@deferred(repeatable=True)
def work(what: str) -> Any:
    for _ in track(range(STEPS)):
        time.sleep(PAUSE)
    body = request.get_data(as_text=True)
    while what == "gate" and not Path(body).exists():
        job = current_job()
        assert job is not None
        job.check()
        time.sleep(PAUSE)
    if what == "refusal":
        return {"detail": "No."}, 409
    if what == "crash":
        raise ZeroDivisionError
    if what == "long":
        return Response(LONG, content_type="application/json")
    return {"method": request.method, "body": body}, 201
