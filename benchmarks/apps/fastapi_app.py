"""FastAPI: as it is (`bare`), and with deferit around it (`app`)."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from deferit import ASGIMiddleware, deferred


class Order(BaseModel):
    """What a report is ordered with."""

    customer: str
    pages: int
    note: str


async def report(order: Order) -> dict[str, int]:
    return {"pages": order.pages}


async def fixed(_: Order) -> dict[str, str]:
    return {"id": "1", "status": "accepted"}


async def plain() -> dict[str, int]:
    return {"pages": 12}


def _application() -> FastAPI:
    made = FastAPI()
    made.post("/fixed", status_code=202)(fixed)
    made.get("/plain")(plain)
    made.post("/routed")(report)
    return made


bare = _application()

app = _application()
app.post("/reports")(deferred(report))
app.add_middleware(ASGIMiddleware, routes=["POST /routed"])
