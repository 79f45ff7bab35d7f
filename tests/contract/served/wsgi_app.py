"""The WSGI application of the tests with real servers."""

from tests.contract.apps import flask_app
from tests.contract.served.common import MARKS, stage

from deferit import WSGIMiddleware

app = flask_app(stage(), MARKS)
app.wsgi_app = WSGIMiddleware(app.wsgi_app)  # type: ignore[method-assign]
