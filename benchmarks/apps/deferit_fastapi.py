"""FastAPI with deferit around it: a configured route, accepted in front of the application, and a marked handler."""

from __future__ import annotations

from benchmarks.apps.bare_fastapi import Order  # noqa: TC002  FastAPI reads the annotations
from fastapi import FastAPI

from deferit import ASGIMiddleware, deferred

app = FastAPI()
app.add_middleware(ASGIMiddleware, routes=["POST /reports"])


@app.post("/reports")
async def report(order: Order) -> dict[str, int]:
    return {"pages": order.pages}


@app.post("/marked")
@deferred
async def marked(order: Order) -> dict[str, int]:
    return {"pages": order.pages}
