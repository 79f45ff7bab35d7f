"""A small orders service on Starlette: its slow endpoints answer 202 Accepted at once.

The same as `flask_app/app.py`, piece by piece. What deferit adds is its import, the middleware,
and `@deferred` on each slow endpoint. README.md beside this file says how to run it.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import IO

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import orders
from deferit import ASGIMiddleware, deferred

Endpoint = Callable[[Request], Awaitable[Response]]

orders.prepare()


def checked(check: Callable[[Request], Awaitable[object]]) -> Callable[[Endpoint], Endpoint]:
    """Check the request before it is deferred, so that a bad one is refused at once.

    Stands above `@deferred`: what stands below it runs later, when the 202 is long out.
    """

    def decorate(endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        async def checked_endpoint(request: Request) -> Response:
            try:
                await check(request)
                return await endpoint(request)
            finally:
                with anyio.CancelScope(shield=True):  # also if the job is being canceled
                    await request.close()

        return checked_endpoint

    return decorate


async def sent_csv(request: Request) -> IO[bytes]:
    upload = (await request.form()).get("file")
    if not isinstance(upload, UploadFile):
        return orders.check_csv(None, None)
    return orders.check_csv(upload.file, upload.content_type)


async def asked_year(request: Request) -> int | None:
    return orders.check_year(request.query_params.get("year"))


async def asked_question(request: Request) -> orders.Question:
    return orders.check_question(await request.body(), request.headers.get("content-type"))


@checked(sent_csv)
@deferred
async def imports(request: Request) -> Response:
    upload = await sent_csv(request)
    return JSONResponse(await run_in_threadpool(orders.import_csv, upload), 201)


@checked(asked_year)
@deferred
async def exports(request: Request) -> Response:
    year = await asked_year(request)
    return StreamingResponse(orders.export_csv(year), media_type="text/csv")


@checked(asked_question)
@deferred
async def reports(request: Request) -> Response:
    question = await asked_question(request)
    return JSONResponse(await run_in_threadpool(orders.report, question))


async def count(request: Request) -> Response:  # quick, so not marked: it answers as always
    year = await asked_year(request)
    return JSONResponse({"orders": await run_in_threadpool(orders.count_orders, year)})


async def refused(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, orders.Refusal)
    return JSONResponse({"error": str(exc)}, exc.status)


app = Starlette(
    routes=[
        Route("/imports", imports, methods=["POST"]),
        Route("/exports/orders.csv", exports),
        Route("/reports", reports, methods=["POST"]),
        Route("/orders", count),
    ],
    middleware=[Middleware(ASGIMiddleware)],
    exception_handlers={orders.Refusal: refused},
)
