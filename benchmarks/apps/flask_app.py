"""Flask: as it is (`bare`), and with deferit around it (`app`)."""

from __future__ import annotations

from flask import Flask, request

from deferit import WSGIMiddleware, deferred


def report() -> dict[str, int]:
    return {"pages": 12}


def fixed() -> tuple[dict[str, str], int]:
    return {"id": "1", "status": "accepted"}, 202


def echo() -> dict[str, object]:
    order: dict[str, object] = request.get_json()
    return order


def _application() -> Flask:
    made = Flask(__name__)
    made.add_url_rule("/fixed", view_func=fixed, methods=["GET", "POST"])
    made.add_url_rule("/plain", "plain", report)
    made.add_url_rule("/echo", view_func=echo, methods=["POST"])
    made.add_url_rule("/routed", "routed", report, methods=["POST"])
    return made


bare = _application()

app = _application()
app.add_url_rule("/reports", "reports", deferred(report), methods=["POST"])
app.add_url_rule("/auto", "auto", deferred(mode="auto", wait=5)(report), methods=["POST"])
app.wsgi_app = WSGIMiddleware(app.wsgi_app, routes=["POST /routed"])  # type: ignore[method-assign]
