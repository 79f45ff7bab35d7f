"""A small orders service on Flask: its slow endpoints answer 202 Accepted at once.

The same as `starlette_app/app.py`, piece by piece. What deferit adds is its import, the middleware,
and `@deferred` on each slow view. README.md beside this file says how to run it.
"""

import functools
from collections.abc import Callable
from typing import IO, Any

from flask import Flask, Response, request

import orders
from deferit import WSGIMiddleware, deferred

View = Callable[[], Any]

app = Flask(__name__)
app.wsgi_app = WSGIMiddleware(app.wsgi_app)  # type: ignore[method-assign]
orders.prepare()


def checked(check: Callable[[], object]) -> Callable[[View], View]:
    """Check the request before it is deferred, so that a bad one is refused at once.

    Stands above `@deferred`: what stands below it runs later, when the 202 is long out.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def checked_view() -> Any:
            check()
            return view()

        return checked_view

    return decorate


def sent_csv() -> IO[bytes]:
    upload = request.files.get("file")
    if upload is None:
        return orders.check_csv(None, None)
    return orders.check_csv(upload.stream, upload.content_type)


def asked_year() -> int | None:
    return orders.check_year(request.args.get("year"))


def asked_question() -> orders.Question:
    return orders.check_question(request.get_data(), request.content_type)


@app.post("/imports")
@checked(sent_csv)
@deferred
def imports() -> Any:
    return orders.import_csv(sent_csv()), 201


@app.get("/exports/orders.csv")
@checked(asked_year)
@deferred
def exports() -> Any:
    return Response(orders.export_csv(asked_year()), mimetype="text/csv")


@app.post("/reports")
@checked(asked_question)
@deferred
def reports() -> Any:
    return orders.report(asked_question())


@app.get("/orders")
def count() -> Any:  # quick, so not marked: it answers as always
    return {"orders": orders.count_orders(asked_year())}


@app.errorhandler(orders.Refusal)
def refused(exc: orders.Refusal) -> Any:
    return {"error": str(exc)}, exc.status
