"""The application of the tests, written for FastAPI; what has no form of its own there is Starlette's."""

# Its annotations are read at run time, so no `from __future__ import annotations`.
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Header, HTTPException, Response
from pydantic import BaseModel
from tests.web.apps import bench as shared
from tests.web.apps.bench import Bench
from tests.web.apps.starlette_app import special

from deferit import deferred


class Order(BaseModel):
    amount: int


def authenticated(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization != "Bearer sesame":
        raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
    return "ann"


def tag(response: Response) -> None:
    """Put fields on the answer, as dependencies of FastAPI can."""
    response.headers.append("X-Tag", "one")
    response.headers.append("X-Tag", "two")


def application(bench: Bench) -> FastAPI:
    app = FastAPI()

    @app.post("/pages", status_code=201, dependencies=[Depends(tag)])
    @deferred
    def pages() -> dict[str, int]:
        return {"pages": 12}

    @app.post("/private")
    @deferred
    async def private(user: Annotated[str, Depends(authenticated)]) -> str:
        return f"for {user}'s eyes only"

    @app.post("/checked")
    @deferred
    async def checked(order: Order) -> Order:
        return order

    @app.post("/length")
    @deferred
    async def length(body: Annotated[bytes, Body()]) -> list[int | str]:
        return [len(body), shared.digest(body)]

    app.router.routes.extend(special(bench))
    return app
