"""The ASGI application that people look at."""

from tests.contract.apps import starlette_app
from tests.pages.served.common import MARKS, is_operator, owner_of, stage

from deferit import ASGIMiddleware

app = ASGIMiddleware(starlette_app(stage(), MARKS), owner=owner_of, operator=is_operator)
