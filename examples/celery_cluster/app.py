"""The orders service of `starlette_app`, for many machines: the same endpoints, two options more.

The one is the store, a PostgreSQL that all machines can see: the environment variable
DEFERIT_STORE names it. The other is the executor: Celery's workers run what was deferred.
"""

import os

from celery import Celery
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deferit import ASGIMiddleware
from deferit.executors.celery import CeleryExecutor
from starlette_app.app import app as on_one_machine

celery = Celery("orders", broker=os.environ.get("BROKER", "redis://localhost:6379/0"))


class ServedBy:
    """Says in a header which process has answered; deferit does not need it, the demonstration does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.name = os.environ.get("HONCHO_PROCESS_NAME", "nobody in particular")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Served-By"] = self.name
            await send(message)

        await self.app(scope, receive, send_signed)


app = Starlette(
    routes=on_one_machine.routes,
    middleware=[
        Middleware(ASGIMiddleware, executor=CeleryExecutor(celery, app="celery_cluster.app:app")),
        Middleware(ServedBy),
    ],
    exception_handlers=on_one_machine.exception_handlers,
)
