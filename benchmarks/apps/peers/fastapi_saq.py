"""FastAPI with SAQ: jobs in Redis, run by ``saq benchmarks.apps.peers.fastapi_saq.settings``."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel
from saq import Queue, Status

queue = Queue.from_url(os.environ["BENCHMARK_REDIS"])


class Order(BaseModel):
    customer: str
    pages: int
    note: str


async def make_report(_context: dict[str, Any], *, order: dict[str, Any]) -> dict[str, int]:
    return {"pages": order["pages"]}


settings = {"queue": queue, "functions": [make_report], "concurrency": 10}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await queue.connect()
    yield
    await queue.disconnect()


app = FastAPI(lifespan=lifespan)


@app.post("/reports", status_code=202)
async def submit(order: Order, response: Response) -> dict[str, str]:
    job = await queue.enqueue("make_report", order=order.model_dump())
    response.headers["Location"] = f"/reports/{job.key}"
    return {"id": job.key, "status": "accepted"}


@app.get("/reports/{key}")
async def status(key: str, response: Response) -> dict[str, Any]:
    job = await queue.job(key)
    if job is None:
        raise HTTPException(404)
    if job.status != Status.COMPLETE:
        response.status_code = 202
        return {"id": key, "status": job.status}
    return {"id": key, "status": job.status, "result": job.result}
