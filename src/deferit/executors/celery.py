"""Runs handlers in the workers of a Celery application, on as many hosts as it has."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deferit._host import close_hosts, run_job
from deferit.exceptions import OptionError
from deferit.executors.base import Dispatcher

try:
    from celery.signals import worker_process_shutdown, worker_shutdown
except ImportError as exc:
    raise OptionError('CeleryExecutor needs the extra: pip install "deferit[celery]"') from exc

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from deferit._core.job import Job
    from deferit.executors.base import Lost

logger = logging.getLogger("deferit")

IMPATIENT = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    "socket_connect_timeout": 1,
    "socket_timeout": 2,
    "connect_retries_timeout": 2,
}
"""What a connection to the broker is told: without it Celery waits for a broker for ever (and so would a cancel)."""

MOST_SENT = 10_000
"""Messages that are remembered."""

MOST_DOUBLINGS = 7
"""How often the time is doubled after which a message is sent again: from half a minute to about an hour."""

MARGIN = 5.0
"""Seconds after a job's own time limit at which Celery kills the process, if the handler has not ended by then."""


class CeleryExecutor(Dispatcher):
    """Has the workers of a Celery application run jobs: the store is the outbox, messages carry ids only.

    It registers one task, whose worker process imports ``app`` once and replays. The workers' ``-A`` has to lead to the
    module where this is constructed. ``queue`` is the Celery queue, or a function of the job (``job.route``,
    ``job.queue``, ``job.owner``) that returns one; None: Celery's default. ``ahead`` is how many jobs are in the broker
    that no worker has begun; the others wait in the store, where owners take turns.

    A message that nobody has acted upon is sent again after ``again_after`` seconds, then less and less often, for it
    may wait in the broker as well as be lost there. It has no time of expiry: after that a worker would remember its
    task as revoked, and discard all that follow.
    """

    def __init__(
        self,
        celery: Celery,
        *,
        app: str,
        queue: str | Callable[[Job], str | None] | None = None,
        ahead: int = 100,
        again_after: float = 30.0,
    ) -> None:
        if ahead < 1:
            raise OptionError(f"ahead={ahead} lets no job go to a worker; write 1 or more")
        self.app = app
        self.again_after = again_after
        self._celery = celery
        self._queue = queue
        self._ahead = ahead
        self._connection: Any = None
        self._sent: dict[str, tuple[int, float]] = {}
        register: Any = celery.task
        self._task = register(
            name=f"deferit.run:{app}", acks_late=True, ignore_result=True, max_retries=0
        )(_task_of(app))

    def open(self, lost: Lost, wake: Callable[[], object]) -> None:  # noqa: ARG002  leases tell what was lost
        self._connection = None  # a connection does not survive a fork

    def capacity(self, waiting: int) -> int:
        return self._ahead - waiting

    def dispatch(self, job: Job) -> None:
        task_id = _task_id(job, job.attempt + 1)
        times, again_at = self._sent.pop(task_id, (0, 0.0))
        now = time.monotonic()
        if now >= again_at:
            self._publish(job, task_id)
            again_at = now + self.again_after * 2.0 ** min(times, MOST_DOUBLINGS)
            times += 1
        self._sent[task_id] = (times, again_at)
        if len(self._sent) > MOST_SENT:
            del self._sent[next(iter(self._sent))]

    def _publish(self, job: Job, task_id: str) -> None:
        try:
            if self._connection is None:
                self._connection = self._new_connection()
            self._task.apply_async(
                (job.id,),
                task_id=task_id,
                queue=self._queue_of(job),
                time_limit=None if job.timeout is None else job.timeout + MARGIN,
                connection=self._connection,
                retry=False,
            )
        except BaseException:
            self._disconnect()
            raise

    def revoke(self, job: Job) -> bool:
        """Have the workers end the process of the job, where their pool can; nobody says whether it has ended."""
        with self._new_connection() as connection:
            task_id = _task_id(job, job.attempt)
            self._celery.control.revoke(task_id, terminate=True, connection=connection)
        return False

    def close(self, grace: float) -> None:  # noqa: ARG002  Celery's workers have their own
        self._disconnect()

    def _queue_of(self, job: Job) -> str | None:
        return self._queue(job) if callable(self._queue) else self._queue

    def _new_connection(self) -> Any:
        return self._celery.connection_for_write(connect_timeout=1, transport_options=IMPATIENT)

    def _disconnect(self) -> None:
        self._sent.clear()  # who knows what the broker has lost
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is of no use any more, whatever it says
                connection.release()


def _task_id(job: Job, attempt: int) -> str:
    """Return the id of the task that is an attempt: workers remember what was revoked, and the next one has to run."""
    return f"{job.id}-{attempt}"


def _task_of(app: str) -> Callable[[str], None]:
    def run(job_id: str) -> None:
        run_job(app, job_id)

    return run


worker_process_shutdown.connect(close_hosts, weak=False)
worker_shutdown.connect(close_hosts, weak=False)
