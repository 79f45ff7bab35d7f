"""The WSGI application that people look at."""

from tests.contract.apps import flask_app
from tests.pages.served.common import MARKS, stage

from deferit import WSGIMiddleware

app = flask_app(stage(), MARKS)
app.wsgi_app = WSGIMiddleware(app.wsgi_app)  # type: ignore[method-assign]
