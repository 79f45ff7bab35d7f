"""The Flask twin: the handlers of asgi_app.py."""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request
from tests.executors.apps.setting import celery_app, executing
from tests.servers.apps import common

from deferit import WSGIMiddleware, deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask.typing import ResponseReturnValue

    View = Callable[[], ResponseReturnValue]

flask = Flask(__name__)


def requires_token(view: View) -> View:
    @functools.wraps(view)
    def guarded() -> ResponseReturnValue:
        if request.headers.get("Authorization") != "Bearer sesame":
            return "who are you?", 401, {"WWW-Authenticate": "Bearer"}
        return view()

    return guarded


def requires_amount(view: View) -> View:
    @functools.wraps(view)
    def validated() -> ResponseReturnValue:
        if not isinstance(request.get_json().get("amount"), int):
            return {"amount": "not an integer"}, 422
        return view()

    return validated


@flask.get("/")
def ready() -> ResponseReturnValue:
    return "ready"


@flask.route("/echo/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@deferred
def echo(rest: str) -> ResponseReturnValue:
    body = request.get_data()
    return {
        "method": request.method,
        "url": request.url,
        "path": request.path,
        "decoded": f"/echo/{rest}",
        "raw": request.environ.get("RAW_URI", ""),
        "query": [*request.args.items(multi=True)],
        "headers": sorted(request.headers),
        "cookies": request.cookies,
        "length": len(body),
        "sha256": common.sha256(body),
        "client": [request.remote_addr, int(request.environ["REMOTE_PORT"])],
    }


@flask.post("/json")
@deferred
def answer_json() -> ResponseReturnValue:
    body = {"order": request.get_json(), "said": "žluťoučký kůň"}
    return body, 201, {"Location": "/orders/7"}


@flask.get("/big")
@deferred
def big() -> ResponseReturnValue:
    return Response(common.big_chunks(), mimetype="application/octet-stream")


@flask.get("/empty")
@deferred
def empty() -> ResponseReturnValue:
    return "", 204


@flask.get("/unchanged")
@deferred
def unchanged() -> ResponseReturnValue:
    return "", 304, {"ETag": '"v1"'}


@flask.get("/repeated")
@deferred
def repeated() -> ResponseReturnValue:
    response = Response("twice", mimetype="text/plain")
    for value in ("one", "two; with=parts", "Größe"):
        response.headers.add("X-Part", value)
    return response


@flask.post("/upload")
@deferred
def upload() -> ResponseReturnValue:
    fields: list[list[Any]] = [[*field] for field in request.form.items(multi=True)]
    for name, file in request.files.items(multi=True):
        content = file.read()
        fields.append(
            [name, file.filename, file.content_type, common.sha256(content), len(content)]
        )
    return jsonify(fields)


@flask.post("/form")
@deferred
def form() -> ResponseReturnValue:
    return jsonify([*request.form.items(multi=True)])


@flask.post("/slow")
@deferred
def slow() -> ResponseReturnValue:
    common.pass_gate(request.args["gate"])
    return "at last"


def work(name: str) -> ResponseReturnValue:
    common.note("start", name)
    common.pass_gate(request.args.get("gate"))
    time.sleep(float(request.args.get("seconds", "0")))
    common.note("end", name)
    return name


flask.add_url_rule("/work/<name>", "work", deferred(work), methods=["POST", "PUT"])
flask.add_url_rule(
    "/repeatable/<name>", "repeatable", deferred(repeatable=True)(work), methods=["POST"]
)


@flask.post("/fail")
@deferred
def fail() -> ResponseReturnValue:
    raise RuntimeError("the handler's own trouble")


@flask.post("/refuse")
@deferred
def refuse() -> ResponseReturnValue:
    return {"sorry": "already shipped"}, 409


@flask.post("/private")
@requires_token
@deferred
def private() -> ResponseReturnValue:
    return "for your eyes only"


@flask.post("/orders")
@requires_amount
@deferred
def order() -> ResponseReturnValue:
    return jsonify(request.get_json())


@flask.get("/jobs/42")
def job_42() -> ResponseReturnValue:
    return "the application's own job 42"


@flask.get("/stream")
def stream() -> ResponseReturnValue:
    gate = request.args["gate"]

    def lines() -> Iterator[str]:
        yield "first\n"
        common.pass_gate(gate)
        yield "last\n"

    return Response(lines(), mimetype="text/plain")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Wrap everything, deferit included: every answer tells the process that wrote it.

    A request that gives itself a name has that in the ledger once it has come.
    """
    if "HTTP_X_NAME" in environ:
        common.note("came", environ["HTTP_X_NAME"])

    def start_named(
        status: str, headers: list[tuple[str, str]], *exc_info: Any
    ) -> Callable[[bytes], object]:
        return start_response(status, [*headers, ("X-Worker", str(os.getpid()))], *exc_info)

    return flask.wsgi_app(environ, start_named)


common.log_as_json()
if not common.IS_PLAIN:
    given = executing("tests.servers.apps.wsgi_app:flask")
    flask.wsgi_app = WSGIMiddleware(flask.wsgi_app, **given)  # type: ignore[method-assign]
__all__ = ["app", "celery_app"]
