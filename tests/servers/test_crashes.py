from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.matrix import durable, in_one_program
from tests.servers.harness import until
from tests.servers.twins import TAKEOVER, Followed, followed, ledger, twin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.harness import Kind, Server
    from tests.servers.twins import Deed

pytestmark = [pytest.mark.server, durable]

JOBS = 500
HELD = 302
"""From this job on, an unsafe one, they wait at a gate: the kill meets some that run, and some that wait."""
CONCURRENCY = 16


def test_500_jobs_survive_the_death_of_every_process(kind: Kind, tmp_path: Path) -> None:
    crowded = twin(kind, tmp_path, DEFERIT_CONCURRENCY=str(CONCURRENCY))
    with crowded as server, server.client() as client:
        jobs = {f"{number}": _submit(client, number) for number in range(JOBS)}
        until(lambda: ledger(tmp_path)[f"{HELD}"], "a job to come to the gate")
        server.kill_all()
        (tmp_path / "again").touch()

        server.start()
        documents = {name: job.until_finished() for name, job in jobs.items()}

    deeds = ledger(tmp_path)
    interrupted = {name for name in jobs if documents[name]["status"] == "failed"}
    assert f"{HELD}" in interrupted
    assert {documents[name]["status"] for name in jobs} <= {"succeeded", "failed"}
    assert {documents[name]["error"]["code"] for name in interrupted} <= {"interrupted"}
    assert len(interrupted) <= CONCURRENCY * kind.workers
    for name in jobs:
        assert _ran_to_its_end(deeds[name]) or name in interrupted
        if not _is_repeatable(int(name)):
            assert _starts(deeds[name]) <= 1
            continue
        assert name not in interrupted


@in_one_program  # nobody starts a worker again that was killed
def test_a_worker_killed_in_mid_job_is_noticed(kind: Kind, tmp_path: Path) -> None:
    with twin(kind, tmp_path) as server, server.client() as client:
        unsafe = followed(client, client.post("/work/unsafe?gate=never"))
        safe = followed(client, client.put("/work/safe?gate=later"))
        marked = followed(client, client.post("/repeatable/marked?gate=later"))
        running = until(lambda: _processes_at_work(tmp_path, 3), "three jobs to be running")

        _kill(server, running)
        until(lambda: _failed_by_interruption(unsafe), "the unsafe job to fail", within=TAKEOVER)
        until(lambda: _was_repeated(tmp_path, "safe"), "the safe job's repetition", within=TAKEOVER)
        until(lambda: _was_repeated(tmp_path, "marked"), "the marked one's", within=TAKEOVER)
        (tmp_path / "later").touch()

        for job in (safe, marked):
            document = job.until_finished()
            assert (document["status"], document["attempt"]) == ("succeeded", 2)
        assert unsafe.result().status_code == 500
        assert unsafe.result().json()["code"] == "interrupted"
        assert _starts(ledger(tmp_path)["unsafe"]) == 1


def _submit(client: httpx.Client, number: int) -> Followed:
    method, path = ("POST", "/work")
    if _is_repeatable(number):
        method, path = ("PUT", "/work") if number % 2 else ("POST", "/repeatable")
    what = {"gate": "again"} if number >= HELD else {"seconds": "0.1"}
    return followed(client, client.request(method, f"{path}/{number}", params=what))


def _is_repeatable(number: int) -> bool:
    return number % 5 < 2


def _starts(deeds: list[Deed]) -> int:
    return sum(deed.event == "start" for deed in deeds)


def _ran_to_its_end(deeds: list[Deed]) -> bool:
    return any(deed.event == "end" for deed in deeds)


def _processes_at_work(folder: Path, jobs: int) -> set[int] | None:
    started = [deeds[0].process for deeds in ledger(folder).values()]
    return set(started) if len(started) == jobs else None


def _kill(server: Server, processes: set[int]) -> None:
    """Kill workers alone where a master restarts them; return when another one can take over."""
    if server.kind.workers == 1:
        server.kill_all()
        server.start()
        return
    for process in processes:
        os.kill(process, signal.SIGKILL)
    until(lambda: _is_served_by_others(server, processes), "another worker to answer")


def _is_served_by_others(server: Server, processes: set[int]) -> bool:
    try:
        answer = httpx.get(server.url, trust_env=False, timeout=30)
    except httpx.TransportError:  # taken by one that has yet to notice that it was killed
        return False
    return int(answer.headers["X-Worker"]) not in processes


def _failed_by_interruption(job: Followed) -> bool:
    try:
        document = job.document()
    except httpx.TransportError:  # the connection that was kept alive led to the killed worker
        return False
    return bool(document["done"]) and document["error"]["code"] == "interrupted"


def _was_repeated(folder: Path, name: str) -> bool:
    deeds = ledger(folder)[name]
    return len({deed.process for deed in deeds}) == 2
