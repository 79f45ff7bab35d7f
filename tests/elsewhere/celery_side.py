"""A Celery application whose workers run the jobs of whatever sites the tests have."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun
from tests.elsewhere import desk
from tests.elsewhere.slots import SLOTS

from deferit import _host
from deferit.executors.celery import CeleryExecutor

app = Celery("sites", broker="memory://")
app.conf.worker_hijack_root_logger = False
app.conf.worker_redirect_stdouts = False

_editions: dict[str, int] = {}


def work(broker: str, queue: str, concurrency: int) -> None:
    """Be a worker of a queue."""
    app.conf["broker_url"] = broker
    for number in range(SLOTS):
        CeleryExecutor(app, app=f"tests.elsewhere.hosted:slot_{number}")
    task_prerun.connect(_host_the_site, weak=False)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
    pool = ["--pool=prefork", f"--concurrency={concurrency}", f"--queues={queue}"]
    app.worker_main(["worker", *pool, *quiet])


def _host_the_site(task: Any, **_: object) -> None:
    """Forget the site that the slot had before, which this process may still host."""
    target = task.name.removeprefix("deferit.run:")
    edition = desk.first().call("edition", target.partition(":")[2])
    if _editions.get(target) != edition:
        _editions[target] = edition
        former = _host._hosts.pop((os.getpid(), target), None)
        if former is not None:
            former.close()
