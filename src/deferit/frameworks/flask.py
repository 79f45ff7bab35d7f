"""Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask
from werkzeug.routing import BaseConverter

from deferit._core.ids import PATTERN
from deferit.frameworks import ANSWER

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
"""All that a client may try; the answer says what is allowed."""


class JobIdConverter(BaseConverter):
    """What a job's id looks like in a path, so that other paths stay the application's."""

    regex = PATTERN.strip("^$")


def mount(app: flask.Flask, prefix: str = "/jobs", *, with_list: bool = False) -> None:
    """Have the application route to monitors and results itself, so that flask-cors and other hooks serve them too.

    It goes with ``WSGIMiddleware(app.wsgi_app, native=True)`` and the same ``prefix``; ``with_list`` if the option
    ``owner`` or ``operator`` switches the list of jobs on.
    """
    app.url_map.converters["deferit_job_id"] = JobIdConverter
    job = f"{prefix}/<deferit_job_id:job_id>"
    for rule in (job, f"{job}/<path:resource>", *((prefix,) if with_list else ())):
        app.add_url_rule(rule, "deferit", _view, methods=METHODS)


def _view(**_parts: str) -> Response:
    answer = flask.request.environ.get(ANSWER)
    if answer is None:
        flask.abort(404)
    return flask.current_app.response_class.from_app(answer, flask.request.environ)


def is_calling(_args: tuple[Any, ...]) -> bool:
    """Whether a Flask view runs here."""
    return flask.has_request_context()


def placeholder() -> object:
    """Return an empty 202, of the class that the application makes its responses of."""
    return flask.current_app.response_class(status=202)
