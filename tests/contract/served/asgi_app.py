"""The ASGI application of the tests with real servers; its CORS layer stands outside the middleware."""

from starlette.middleware.cors import CORSMiddleware
from tests.contract.apps import starlette_app
from tests.contract.served.common import MARKS, stage

from deferit import ASGIMiddleware

app = CORSMiddleware(
    ASGIMiddleware(starlette_app(stage(), MARKS)),
    allow_origin_regex="http://localhost:[0-9]+",
    allow_methods=["GET", "POST", "DELETE"],
    allow_headers=["Prefer", "Idempotency-Key", "If-None-Match"],
)
