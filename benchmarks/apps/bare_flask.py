"""Flask as it is; ``/reports`` answers a fixed 202."""

from __future__ import annotations

from flask import Flask, request


def fixed() -> tuple[dict[str, str], int]:
    return {"id": "1", "status": "accepted"}, 202


def status() -> dict[str, str]:
    return {"id": "1", "status": "succeeded"}


def report() -> dict[str, int]:
    return {"pages": 12}


def echo() -> dict[str, object]:
    order: dict[str, object] = request.get_json()
    return order


def add_plain(made: Flask) -> None:
    made.add_url_rule("/plain", "plain", report)
    made.add_url_rule("/echo", view_func=echo, methods=["POST"])


app = Flask(__name__)
add_plain(app)
app.add_url_rule("/reports", view_func=fixed, methods=["POST"])
app.add_url_rule("/reports/1", view_func=status)
app.add_url_rule("/auto", "auto", report, methods=["POST"])
