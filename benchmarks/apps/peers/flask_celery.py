"""Flask with Celery: messages and results in Redis, tasks run by Celery's workers in the application's context."""

import os
from typing import Any

from celery import Celery, Task
from celery.result import AsyncResult
from flask import Flask, request, url_for

REDIS = os.environ["BENCHMARK_REDIS"]

app = Flask(__name__)


class ContextTask(Task):
    """Runs in the context of the application, so that its extensions work."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        with app.app_context():
            return self.run(*args, **keywords)


celery = Celery(app.name, task_cls=ContextTask, broker=REDIS, backend=REDIS)
celery.set_default()


@celery.task
def make_report(order: dict[str, Any]) -> dict[str, int]:
    return {"pages": order["pages"]}


@app.post("/reports")
def submit() -> Any:
    task = make_report.delay(request.get_json())
    where = {"Location": url_for("status", task_id=task.id)}
    return {"id": task.id, "status": "accepted"}, 202, where


@app.get("/reports/<task_id>")
def status(task_id: str) -> Any:
    task = AsyncResult(task_id)
    if not task.ready():
        return {"id": task_id, "status": task.state}, 202
    return {"id": task_id, "status": task.state, "result": task.result}
