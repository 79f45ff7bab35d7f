"""The WSGI application that people look at."""

from tests.contract.apps import flask_app
from tests.pages.served.common import MARKS, is_operator, owner_of, stage

from deferit import WSGIMiddleware

app = flask_app(stage(), MARKS)
app.wsgi_app = WSGIMiddleware(  # type: ignore[method-assign]
    app.wsgi_app, owner=owner_of, operator=is_operator
)
