"""A FastAPI application whose annotations are texts, as this import makes them, and whose handlers are marked."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel

from deferit import deferred

app = FastAPI()


class Order(BaseModel):
    """A body that only this module knows."""

    amount: int


def customer(name: Annotated[str, Query(min_length=2)] = "nobody") -> str:
    return name


Customer = Annotated[str, Depends(customer)]


@app.post("/orders")
@deferred
async def order(order: Order, customer: Customer) -> Order:
    return Order(amount=order.amount + len(customer))


@app.post("/sync-orders")
@deferred(mode="prefer")
def sync_order(order: Order, customer: Customer) -> Order:
    return Order(amount=order.amount + len(customer))
