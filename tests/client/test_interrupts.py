"""Ctrl-C, or the end of the task that follows, cancels the job, unless it is to be left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
import httpx2
import pytest
from tests.servers.harness import CHECKOUT, until

from deferit.client import AsyncFollowTransport, await_

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.conftest import Library
    from tests.servers.harness import Server

pytestmark = pytest.mark.server

PROGRAM = Path(__file__).parent / "apps" / "interrupted.py"


@pytest.fixture
def running_jobs(things: Server) -> Iterator[list[str]]:
    """Collect the monitors of jobs that a test leaves alone, and cancel them afterwards."""
    monitors: list[str] = []
    yield monitors
    for monitor in monitors:
        httpx.post(f"{monitor}/cancel").raise_for_status()


def interrupt(way: str, url: str, *, cancel: str) -> str:
    """Run the program until its job runs, press Ctrl-C, and return the URL of the monitor."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), way, url, cancel],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        monitor, status = process.stdout.readline().split()
        while status != "running":
            monitor, status = process.stdout.readline().split()
        until(lambda: is_waiting(process.pid), "the program to wait for news")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    return monitor


def is_waiting(pid: int) -> bool:
    """Whether a process sleeps until something comes (proc(5), "state")."""
    stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    return stat.rpartition(") ")[2].startswith("S")


@pytest.mark.parametrize("way", ["blocking", "awaiting", "iterating"])
def test_ctrl_c_cancels_the_job(things: Server, way: str) -> None:
    monitor = interrupt(way, f"{things.url}/work/gate", cancel="cancel")

    assert httpx.get(monitor).json()["status"] == "canceled"


@pytest.mark.parametrize("way", ["blocking", "awaiting"])
def test_ctrl_c_leaves_the_job_alone_if_it_is_told_to(
    things: Server, way: str, running_jobs: list[str]
) -> None:
    monitor = interrupt(way, f"{things.url}/work/gate", cancel="leave")
    running_jobs.append(monitor)

    assert httpx.get(monitor).json()["status"] == "running"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
def test_the_end_of_the_task_cancels_the_job(
    things: Server, library: Library, backend: str
) -> None:
    monitors: list[str] = []

    async def send() -> None:
        with anyio.CancelScope() as scope:

            def tell(document: dict[str, str]) -> None:
                monitors.append(document["monitorUrl"])
                scope.cancel()

            transport = AsyncFollowTransport(on_status=tell)
            async with library.AsyncClient(transport=transport) as client:
                await client.post(f"{things.url}/work/gate", content="never")
        assert scope.cancelled_caught

    anyio.run(send, backend=backend)

    assert httpx.get(monitors[0]).json()["status"] == "canceled"


def test_a_job_that_is_only_waited_for_can_be_left_alone(
    things: Server, running_jobs: list[str]
) -> None:
    monitor = httpx.post(f"{things.url}/work/gate", content="never").headers["Location"]
    running_jobs.append(monitor)

    async def wait_for_a_moment() -> None:
        with anyio.move_on_after(0.5):
            await await_(monitor, cancel=False)

    anyio.run(wait_for_a_moment)

    assert until(lambda: httpx.get(monitor).json()["status"], "a status") == "running"
