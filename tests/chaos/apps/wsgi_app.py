"""The Flask application under attack: the handlers of asgi_app.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from tests.chaos.apps.common import AUTO_WAIT, PARTS, Deed
from tests.chaos.apps.elsewhere import elsewhere

from deferit import WSGIMiddleware, deferred, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

app = Flask(__name__)


@app.get("/")
def ready() -> str:
    return "ready"


def work(name: str) -> Response:
    deed = Deed(name)
    time.sleep(_seconds())
    return Response(deed.answers(int(request.args.get("size", "0"))))


app.add_url_rule("/work/<name>", "work", deferred(work), methods=["POST", "PUT"])
app.add_url_rule(
    "/repeatable/<name>", "repeatable", deferred(repeatable=True)(work), methods=["POST"]
)
app.add_url_rule(
    "/auto/<name>", "auto", deferred(mode="auto", wait=AUTO_WAIT)(work), methods=["POST", "PUT"]
)


@app.route("/report/<name>", methods=["POST", "PUT"])
@deferred
def report(name: str) -> Response:
    deed = Deed(name)
    for number in range(PARTS):
        progress(number / PARTS, f"part {number}")
        time.sleep(_seconds() / PARTS)
    return Response(deed.answers(0))


@app.route("/stream/<name>", methods=["POST", "PUT"])
@deferred
def stream(name: str) -> Response:
    deed = Deed(name)
    pause = _seconds() / PARTS

    def parts() -> Iterator[bytes]:
        for part in deed.parts():
            yield part
            time.sleep(pause)

    return Response(parts())


@app.route("/echo/<name>", methods=["POST", "PUT"])
@deferred
def echo(name: str) -> Response:
    deed = Deed(name)
    body = request.get_data()
    time.sleep(_seconds())
    return Response(deed.ends_with(body))


@app.post("/fail/<name>")
@deferred
def fail(name: str) -> Response:
    deed = Deed(name)
    time.sleep(_seconds())
    deed.answers(0)
    raise RuntimeError("the handler's own trouble")


def _seconds() -> float:
    return float(request.args.get("seconds", "0"))


celery_app, options = elsewhere("tests.chaos.apps.wsgi_app:app")
app.wsgi_app = WSGIMiddleware(app.wsgi_app, **options)  # type: ignore[method-assign]
