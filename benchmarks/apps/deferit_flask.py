"""Flask with deferit around it."""

from __future__ import annotations

from benchmarks.apps.bare_flask import add_plain, report
from benchmarks.apps.executors import celery, options
from flask import Flask

from deferit import WSGIMiddleware, deferred

__all__ = ["app", "celery"]

app = Flask(__name__)
add_plain(app)
app.add_url_rule("/reports", "reports", deferred(report), methods=["POST"])
app.add_url_rule("/auto", "auto", deferred(mode="auto", wait=5)(report), methods=["POST"])
app.wsgi_app = WSGIMiddleware(  # type: ignore[method-assign]
    app.wsgi_app, **options("benchmarks.apps.deferit_flask:app")
)
