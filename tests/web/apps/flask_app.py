"""The application of the tests, written for Flask."""

from __future__ import annotations

import functools
import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any, ParamSpec

import flask
from flask.views import MethodView
from tests.web.apps import bench as shared
from tests.web.apps.starlette_app import refuses

from deferit import current_job, deferred, progress, track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.web.apps.bench import Bench

P = ParamSpec("P")

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def application(bench: Bench) -> flask.Flask:
    app = flask.Flask(__name__)
    app.json.compact = True  # type: ignore[attr-defined]  # the default provider has it
    _simple(app)
    _special(app)
    _endings(app, bench)
    _gated(app, bench)
    _working(app, bench)
    return app


def _simple(app: flask.Flask) -> None:
    @app.post("/pages")
    @deferred
    def pages() -> flask.Response:
        response = flask.Response(shared.PAGES, 201, content_type="application/json")
        response.headers.add("X-Tag", "one")
        response.headers.add("X-Tag", "two")
        return response

    @app.post("/private")
    @requires_token
    @deferred
    def private() -> str:
        return "for your eyes only"

    @app.post("/checked")
    @requires_amount
    @deferred
    def checked() -> Any:
        return flask.request.json

    @app.post("/length")
    @deferred
    def length() -> Any:
        body = flask.request.get_data()
        return [len(body), shared.digest(body)]


def requires_token(view: Callable[P, Any]) -> Callable[P, Any]:
    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        if flask.request.headers.get("Authorization") != "Bearer sesame":
            return "who are you?", 401, {"WWW-Authenticate": "Bearer"}
        return view(*args, **kwargs)

    return guarded


def requires_amount(view: Callable[P, Any]) -> Callable[P, Any]:
    @functools.wraps(view)
    def validated(*args: P.args, **kwargs: P.kwargs) -> Any:
        order = flask.request.get_json()  # it aborts with 415 where there is no JSON
        if not isinstance(order.get("amount"), int):
            return {"amount": "not an integer"}, 422
        return view(*args, **kwargs)

    return validated


def _special(app: flask.Flask) -> None:
    for path, view, methods in (
        ("/facts/<path:name>", deferred(mode="prefer")(facts), METHODS),
        ("/say", deferred(say), METHODS),
        ("/patient", deferred(mode="auto", wait=shared.PATIENCE)(say), ["POST"]),
        ("/impatient", deferred(wait=shared.PATIENCE)(say), ["POST"]),
        ("/preferring", deferred(mode="prefer")(say), ["POST"]),
        ("/narrow", deferred(methods="PUT")(say), ["POST", "PUT"]),
        ("/brief", deferred(retention=0)(say), ["POST"]),
        ("/plain", say, ["GET", "POST"]),
        ("/refusing", deferred(accept=refuses)(say), ["POST"]),
        ("/configured", say, ["GET", "POST"]),
        ("/configured/<path:rest>", say, ["GET", "POST"]),
        ("/view", View.as_view("view"), None),
        ("/jobs", plain, ["GET", "POST"]),
        ("/jobs/<path:rest>", plain, ["GET"]),
    ):
        app.add_url_rule(path, path, view, methods=methods)


def facts(name: str) -> Any:
    request = flask.request
    form = [[name, value] for name, value in request.form.items(multi=True)]
    files = [
        [name, file.filename, file.content_type, shared.digest(file.read())]
        for name, file in request.files.items(multi=True)
    ]
    body = request.get_data()
    job = current_job()
    return {
        "method": request.method,
        "url": request.url,
        "name": name,
        "path": request.path,
        "raw_path": request.environ["PATH_INFO"],
        "root": request.root_path,
        "query": list(request.args.items(multi=True)),
        "headers": sorted((name.lower(), value) for name, value in request.headers.items()),
        "cookies": request.cookies,
        "client": request.remote_addr and [request.remote_addr, request.environ.get("REMOTE_PORT")],
        "server": request.server,
        "form": form + files,
        "body": [len(body), shared.digest(body)],
        "job": job and {"id": job.id, "owner": job.owner, "attempt": job.attempt},
    }


def say(**_: str) -> flask.Response:
    """Answer what the request's body asks for."""
    answer: dict[str, Any] = json.loads(flask.request.get_data() or b"{}")
    response = flask.Response(b64decode(answer.get("body", "")), answer.get("status", 200))
    headers = answer.get("headers", [])
    if "content-type" in {name.lower() for name, _ in headers}:
        del response.headers["Content-Type"]
    for name, value in headers:
        response.headers.add(name, value)
    response.autocorrect_location_header = False
    return response


def plain(**_: str) -> str:
    return f"the application's own {flask.request.path}"


class View(MethodView):
    @deferred
    def post(self) -> str:
        return f"posted {flask.request.get_data(as_text=True)}"

    @deferred
    async def put(self) -> str:
        return "put in its place"

    @deferred
    def get(self) -> str:
        return "got"

    def delete(self) -> str:
        return "deleted at once"


def _endings(app: flask.Flask, bench: Bench) -> None:
    @app.post("/boom")
    @deferred
    def boom() -> str:
        raise RuntimeError(shared.SECRET)

    @app.post("/abort")
    @deferred
    def abort() -> str:
        flask.abort(int(flask.request.args["status"]), "not here")

    @app.post("/stream")
    @deferred
    def stream() -> flask.Response:
        return flask.Response(_chunks("fail" in flask.request.args), content_type="text/plain")

    @app.post("/background")
    @deferred
    def background() -> flask.Response:
        response = flask.Response("answered")
        fails = "fail" in flask.request.args
        response.call_on_close(functools.partial(_afterwards, bench, fails))
        return response


def _chunks(fails: bool) -> Iterator[bytes]:
    yield from shared.CHUNKS
    if fails:
        raise RuntimeError(shared.SECRET)


def _afterwards(bench: Bench, fails: bool) -> None:
    bench.note("the answer is made")
    bench.pass_gate("background")
    if fails:
        raise RuntimeError(shared.SECRET)


def _gated(app: flask.Flask, bench: Bench) -> None:
    @app.post("/gated/<name>")
    @app.post("/gated-thread/<name>")
    @deferred
    def gated(name: str) -> str:
        bench.note(f"started {name}")
        bench.pass_gate(name)
        bench.note(f"ended {name}")
        return name


def _working(app: flask.Flask, bench: Bench) -> None:
    @app.post("/reporting")
    @deferred
    def reporting() -> str:
        progress(0.5, "half of it")
        bench.pass_gate("half")
        progress(1.0)
        bench.pass_gate("whole")
        return "reported"

    @app.post("/tracking")
    @deferred
    def tracking() -> str:
        for order in track(shared.ORDERS):
            shared.work_on(bench, order)
        return "tracked"

    @app.post("/counting")
    @deferred
    def counting() -> str:
        for order in track(iter(shared.ORDERS)):
            shared.work_on(bench, order)
        return "counted"

    @app.post("/nested")
    @deferred
    def nested() -> Any:
        return [inner(1), inner(2)]

    @app.post("/nested-preferring")
    @deferred(mode="prefer")
    def nested_preferring() -> Any:
        return [inner(1), inner(2)]

    @deferred
    def inner(number: int) -> int:
        return 2 * number
