"""The ASGI application of the tests with real servers; its CORS layer stands outside the middleware."""

from starlette.middleware.cors import CORSMiddleware
from tests.contract.apps import starlette_app
from tests.contract.served.common import MARKS, stage
from tests.executors.apps.setting import celery_app, executing

from deferit import ASGIMiddleware

app = CORSMiddleware(
    ASGIMiddleware(
        starlette_app(stage(), MARKS), **executing("tests.contract.served.asgi_app:app")
    ),
    allow_origin_regex="http://localhost:[0-9]+",
    allow_methods=["GET", "POST", "DELETE"],
    allow_headers=["Prefer", "Idempotency-Key", "If-None-Match"],
)

__all__ = ["app", "celery_app"]
