"""Flask with Huey: tasks and results in its SQLite file, run by the processes of ``huey_consumer``."""

from typing import Any

from flask import Flask, request, url_for
from huey import SqliteHuey

app = Flask(__name__)
huey = SqliteHuey("reports", filename="reports.db")


@huey.task()
def make_report(order: dict[str, Any]) -> dict[str, int]:
    return {"pages": order["pages"]}


@app.post("/reports")
def submit() -> Any:
    task_id = make_report(request.get_json()).id
    where = {"Location": url_for("status", task_id=task_id)}
    return {"id": task_id, "status": "accepted"}, 202, where


@app.get("/reports/<task_id>")
def status(task_id: str) -> Any:
    result = huey.result(task_id, preserve=True)
    if result is None:
        return {"id": task_id, "status": "running"}, 202
    return {"id": task_id, "status": "succeeded", "result": result}
