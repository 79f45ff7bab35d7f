"""Submit jobs, watch them spread over the workers, kill a worker, and count what became of them.

One of the processes of the Procfile: `cluster.py` starts it beside the others.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import httpx

from celery_cluster.jobs import ROWS, Job, Service
from celery_cluster.workers import Workers, hold, kill, let_go

WORKERS = ("worker.1", "worker.2")
VICTIM = WORKERS[0]
START_UP = 60  # seconds
PATIENCE = 120  # seconds until jobs that are not finished are given up as lost
FEW = 3  # jobs that each worker has to have finished before one of them is killed
BAR = 20  # how long a bar is that stands for all jobs


class Unexpected(Exception):
    """The demonstration did not go as it should."""


class Orders(Protocol):
    """Knows how many orders there are of a year."""

    def count(self, year: int) -> int: ...


def main() -> int:
    """Run the demonstration and return the exit code."""
    service = Service(os.environ["DEMO_WEB"].split())
    workers = Workers(os.environ["BROKER"], len(WORKERS))
    try:
        wait_for(service.is_up, "the web processes to answer")
        wait_for(workers.are_up, "the workers to answer")
        begun = time.monotonic()
        jobs = service.submit(int(os.environ["DEMO_JOBS"]))
        seconds = time.monotonic() - begun
        say(f"{len(jobs)} jobs were accepted in {seconds:.1f} s: each of them is in PostgreSQL")
        killed = watch(jobs, service, workers)
        summarize(jobs, killed)
        judge(jobs, killed, service)
    except (Unexpected, httpx.HTTPError) as exc:
        say(f"{type(exc).__name__}: {exc}")
        return 1
    say("All as it should be: nothing was lost, and nothing ran twice that must not.")
    return 0


def watch(jobs: list[Job], service: Service, workers: Workers) -> list[Job]:
    """Follow jobs to their ends and kill a worker on the way; return what it was running.

    As long as that has not come to pass, more jobs are submitted: they are added to ``jobs``.
    """
    begun = time.monotonic()
    killed: list[Job] = []
    shown = ""
    while time.monotonic() - begun < PATIENCE:
        for job in jobs:
            if not job.is_finished:
                service.look(job)
        if (line := standing(jobs)) != shown:
            say(f"{time.monotonic() - begun:4.0f} s  {line}")
            shown = line
        if all(job.is_finished for job in jobs):
            break
        if not killed and are_spread(jobs):
            killed = kill_in_the_middle(jobs, service, workers)
        if not killed and sum(job.status == "accepted" for job in jobs) < FEW:
            jobs += service.submit(FEW)  # there has to be something in the middle of which to kill
        time.sleep(0.2)
    return killed


def are_spread(jobs: list[Job]) -> bool:
    """Whether each worker has had some jobs already."""
    done = Counter(job.worker for job in jobs)
    return all(done[worker] >= min(FEW, len(jobs) // 8) for worker in WORKERS)


def kill_in_the_middle(jobs: list[Job], service: Service, workers: Workers) -> list[Job]:
    """Kill the worker if it is in the middle of a job of each sort; return what it was running."""
    processes = workers.processes(VICTIM)
    ids = workers.running(VICTIM)
    running = [job for job in jobs if job.id in ids]
    is_mixed = {job.is_repeatable for job in running} == {True, False}
    if not is_mixed or len(running) < len(processes) - 1:  # one of them leads the others
        return []
    hold(processes)  # what is seen now is still true in a moment
    for job in running:
        service.look(job)
    if any(job.status != "running" for job in running):  # it has only just come, or has just ended
        let_go(processes)
        return []
    kill(processes)
    say(f"kill -9 {' '.join(map(str, processes))}: that was {VICTIM}, in the middle of")
    for job in running:
        may = "may run again" if job.is_repeatable else "must not run twice"
        say(f"  {job}, {job.document.get('progress', 0)} % done, which {may}")
    return running


def standing(jobs: list[Job]) -> str:
    """Say in a line where all jobs are."""
    statuses = Counter("finished" if job.is_finished else job.status for job in jobs)
    counts = [f"{name} {statuses[name]:3}" for name in ("accepted", "running", "finished")]
    done = Counter(job.worker for job in jobs if job.status == "succeeded")
    bars = [
        f"{worker} {done[worker]:3} {'■' * round(done[worker] * BAR / len(jobs)):{BAR}}"
        for worker in WORKERS
    ]
    return "  ".join([*counts, *bars])


def summarize(jobs: list[Job], killed: list[Job]) -> None:
    """Print what became of all jobs, and of those that ran in the killed worker."""
    finished = sum(job.is_finished for job in jobs)
    statuses = written(Counter(job.status for job in jobs))
    done = Counter(job.worker for job in jobs if job.status == "succeeded")
    say(f"accepted {len(jobs)}, finished {finished}, lost {len(jobs) - finished}: {statuses}")
    say(f"succeeded, by worker: {written(done)}")
    say(f"in the middle of when {VICTIM} was killed: {len(killed)}")
    for job in killed:
        ending = job.document.get("error", {}).get("code", f"run by {job.worker}")
        say(f"  {job}: {job.status} at attempt {job.document.get('attempt')}, {ending}")


def written(counts: Counter[str]) -> str:
    """Write counts in a line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def judge(jobs: list[Job], killed: list[Job], orders: Orders) -> None:
    """Raise Unexpected unless every job has ended as it had to."""
    expect(all(job.is_finished for job in jobs), f"all jobs finish within {PATIENCE} s")
    expect(bool(killed), "a worker is killed in the middle of its jobs")
    for job in jobs:
        may_fail = job in killed and job.is_interrupted and not job.is_repeatable
        expect(job.status == "succeeded" or may_fail, f"{job} succeeds")
        expect(job in killed or not job.is_repeated, f"{job} runs once")
        expect(job.is_repeatable or not job.is_repeated, f"{job} does not run twice")
        if job.what == "imports":
            wanted = {ROWS} if job.status == "succeeded" else {0, ROWS}
            expect(orders.count(job.year) in wanted, f"{job} has left all its orders, or none")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return once it is so."""
    say(f"waiting for {what}")
    deadline = time.monotonic() + START_UP
    while not condition():
        expect(time.monotonic() < deadline, f"waited {START_UP} s for {what}")
        time.sleep(0.2)


def expect(condition: bool, what: str) -> None:  # noqa: FBT001 - it reads as a sentence
    """Raise Unexpected unless it is so."""
    if not condition:
        raise Unexpected(f"expected that {what}")


def say(text: str) -> None:
    """Print a line; honcho puts the time and `demo.1` in front of it."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
