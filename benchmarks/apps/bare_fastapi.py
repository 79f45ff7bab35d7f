"""FastAPI as it is; ``/reports`` answers a fixed 202."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Order(BaseModel):
    """What a report is ordered with."""

    customer: str
    pages: int
    note: str


@app.post("/reports", status_code=202)
async def fixed(_: Order) -> dict[str, str]:
    return {"id": "1", "status": "accepted"}


@app.get("/reports/{number}")
async def status(number: str) -> dict[str, str]:
    return {"id": number, "status": "succeeded"}
