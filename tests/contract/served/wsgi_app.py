"""The WSGI application of the tests with real servers."""

from tests.contract.apps import flask_app
from tests.contract.served.common import MARKS, stage
from tests.executors.apps.setting import celery_app, executing

from deferit import WSGIMiddleware

app = flask_app(stage(), MARKS)
executor = executing("tests.contract.served.wsgi_app:app")
app.wsgi_app = WSGIMiddleware(app.wsgi_app, **executor)  # type: ignore[method-assign]

__all__ = ["app", "celery_app"]
