"""FastAPI with DBOS: workflows in its SQLite file, run in the web process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbos import DBOS, DBOSConfig
from fastapi import FastAPI, Response
from pydantic import BaseModel

config: DBOSConfig = {
    "name": "reports",
    "system_database_url": "sqlite:///reports.sqlite",
    "log_level": "WARNING",
}
DBOS(config=config)


class Order(BaseModel):
    customer: str
    pages: int
    note: str


@DBOS.workflow()
async def make_report(order: dict[str, Any]) -> dict[str, int]:
    return {"pages": order["pages"]}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    DBOS.launch()
    yield
    DBOS.destroy()


app = FastAPI(lifespan=lifespan)


@app.post("/reports", status_code=202)
async def submit(order: Order, response: Response) -> dict[str, str]:
    handle = await DBOS.start_workflow_async(make_report, order.model_dump())
    workflow_id = handle.get_workflow_id()
    response.headers["Location"] = f"/reports/{workflow_id}"
    return {"id": workflow_id, "status": "accepted"}


@app.get("/reports/{workflow_id}")
async def status(workflow_id: str, response: Response) -> dict[str, Any]:
    handle = await DBOS.retrieve_workflow_async(workflow_id)
    found = await handle.get_status()
    if found.status != "SUCCESS":
        response.status_code = 202
        return {"id": workflow_id, "status": found.status}
    return {"id": workflow_id, "status": found.status, "result": found.output}
