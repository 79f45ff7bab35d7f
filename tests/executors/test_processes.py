"""Handlers in child processes of the web process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.executors.running import goes_on, site, submitted
from tests.servers.harness import UVICORN, Kind, Server, until
from tests.servers.twins import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with site(kind, tmp_path_factory.mktemp("processes"), "processes") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def begun(folder: Path, name: str) -> int:
    """Wait until the handler has begun; return its process."""
    return until(lambda: ledger(folder)[name], f"{name} to begin")[0].process


def is_alive(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def test_a_handler_runs_in_another_process_where_the_application_was_started(
    server: Server, client: httpx.Client
) -> None:
    job = submitted(client, "/work/elsewhere")

    document = job.until_finished()

    answer = job.result().json()
    assert document["status"] == "succeeded"
    assert answer["is_started_here"] is True
    assert f"[{answer['process']}]" not in server.log  # as servers name their own processes


def test_progress_comes_through(server: Server, client: httpx.Client) -> None:
    job = submitted(client, "/report")

    until(lambda: job.document().get("progress") == 50, "the progress to be told")
    (server.folder / "report").touch()

    assert job.until_finished()["progress"] == 100


@pytest.mark.parametrize(("how", "code"), [("exit", "exit code 7"), ("segfault", "signal 11")])
def test_a_crash_fails_its_job_with_the_reason_and_no_other(
    server: Server, client: httpx.Client, how: str, code: str
) -> None:
    other = submitted(client, f"/work/beside-{how}?gate=open-{how}")
    begun(server.folder, f"beside-{how}")

    document = submitted(client, f"/crash/{how}").until_finished()
    (server.folder / f"open-{how}").touch()

    error = document["error"]
    assert (error["code"], code in error["message"]) == ("interrupted", True), error
    assert other.until_finished()["status"] == "succeeded"


def test_what_is_over_its_time_is_killed(server: Server, client: httpx.Client) -> None:
    job = submitted(client, "/late/late")

    document = job.until_finished()

    assert document["error"]["code"] == "deadline-exceeded"
    until(lambda: not is_alive(begun(server.folder, "late")), "the handler's process to be gone")


def test_after_kills_and_crashes_there_are_processes_for_the_next(client: httpx.Client) -> None:
    jobs = [submitted(client, f"/work/after-{number}") for number in range(6)]

    assert {job.until_finished()["status"] for job in jobs} == {"succeeded"}


def test_a_cancel_kills(tmp_path: Path) -> None:
    with site(UVICORN, tmp_path, "processes") as server, server.client() as client:
        job = submitted(client, "/compute/canceled")
        process = begun(tmp_path, "canceled")

        document = client.post(f"{job.monitor}/cancel").json()

        assert document["status"] == "canceled"
        assert document["error"]["detail"] == "stopped"
        until(lambda: not is_alive(process), "the killed process to be reaped")


def test_a_child_whose_parent_was_killed_does_not_outlast_its_time(tmp_path: Path) -> None:
    with site(UVICORN, tmp_path, "processes") as server, server.client() as client:
        submitted(client, "/late/orphan")
        process = begun(tmp_path, "orphan")
        os.kill(server.pid, signal.SIGKILL)

        until(lambda: not goes_on(process), "the child to end itself")
