"""FastAPI with its own ``BackgroundTasks``, and a dict of results: gone when the process is."""

from typing import Any
from uuid import uuid4

from fastapi import BackgroundTasks, FastAPI, HTTPException, Response
from pydantic import BaseModel

app = FastAPI()
results: dict[str, Any] = {}


class Order(BaseModel):
    customer: str
    pages: int
    note: str


async def make_report(job_id: str, order: Order) -> None:
    results[job_id] = {"pages": order.pages}


@app.post("/reports", status_code=202)
async def submit(order: Order, background: BackgroundTasks, response: Response) -> dict[str, str]:
    job_id = uuid4().hex
    results[job_id] = None
    background.add_task(make_report, job_id, order)
    response.headers["Location"] = f"/reports/{job_id}"
    return {"id": job_id, "status": "accepted"}


@app.get("/reports/{job_id}")
async def status(job_id: str, response: Response) -> dict[str, Any]:
    if job_id not in results:
        raise HTTPException(404)
    result = results[job_id]
    if result is None:
        response.status_code = 202
        return {"id": job_id, "status": "running"}
    return {"id": job_id, "status": "succeeded", "result": result}
