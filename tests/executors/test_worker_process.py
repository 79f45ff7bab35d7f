"""How `deferit work` begins, ends, and lives with what handlers do to their process."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient
from tests.executors.apps import unruly
from tests.servers.harness import until
from tests.servers.programs import Program
from tests.servers.twins import Followed, followed
from tests.stores.redis_server import RedisServer

from deferit import ASGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-m", "deferit", "work", "tests.executors.apps.unruly:app"]


def worker(folder: Path, *options: str, before: tuple[str, ...] = (), **more: str) -> Program:
    """Make `deferit work` for the application; it isn't started yet."""
    given = {"DEFERIT_STORE": store_of(folder), "DEFERIT_GRACE": "100", **more}
    return Program([*before, *COMMAND, *options], folder, given, "worker")


def store_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'jobs.db'}"


@contextmanager
def clients(store: str) -> Iterator[Any]:
    """Speak with the application in a process that only accepts and answers: this one."""
    middleware = ASGIMiddleware(unruly.inner, store=store, executor="worker")
    try:
        yield TestClient(middleware)
    finally:
        middleware.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with clients(store_of(tmp_path)) as client:
        yield client


def running(client: Any, path: str) -> Followed:
    """Submit, and wait until a worker has begun."""
    job = followed(client, client.post(path))
    until(lambda: job.document()["status"] == "running", f"{path} to begin")
    return job


def await_banner(program: Program, count: int = 1) -> None:
    until(lambda: program.log.count("works, process") == count, f"banner {count} of the worker")


def test_a_handler_may_end_processes_that_it_has_forked(client: Any, tmp_path: Path) -> None:
    with worker(tmp_path):
        job = followed(client, client.post("/forks"))

        assert job.until_finished()["status"] == "succeeded"
        assert job.result().json() == -signal.SIGTERM


def test_a_handler_that_exits_ends_its_job_and_no_other(client: Any, tmp_path: Path) -> None:
    with worker(tmp_path) as program:
        other = running(client, "/gated")
        exited = followed(client, client.post("/exits")).until_finished()
        (tmp_path / "gate").touch()

        assert exited["error"]["code"] == "handler-exception"
        assert other.until_finished()["status"] == "succeeded"
        assert other.result().json() == program.process.pid


@pytest.mark.parametrize("path", ["/hangs", "/hangs_in_thread"])
def test_it_ends_though_a_handler_does_not(client: Any, tmp_path: Path, path: str) -> None:
    with worker(tmp_path, DEFERIT_GRACE="0") as program:
        job = running(client, path)
        program.tell(signal.SIGTERM)

        assert program.await_end() == 0
        assert job.until_finished()["error"]["code"] == "interrupted"


def test_it_begins_anew_though_a_handler_does_not_end(client: Any, tmp_path: Path) -> None:
    with worker(tmp_path, DEFERIT_GRACE="0") as program:
        running(client, "/hangs")
        program.tell(signal.SIGHUP)
        await_banner(program, 2)
        job = followed(client, client.post("/plain"))

        assert job.until_finished()["status"] == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_while_the_application_starts_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    with worker(tmp_path, UNRULY_START="never ends") as program:
        until(lambda: "starting" in program.log, "the application to start")
        program.tell(number)

        assert program.await_end() == 0
        assert f"ending: {number.name}, before the application has started" in program.log


def test_a_hangup_that_is_repeated_changes_nothing(client: Any, tmp_path: Path) -> None:
    with worker(tmp_path) as program:
        job = running(client, "/gated")
        for _ in range(2):
            program.tell(signal.SIGHUP)
            until(lambda: "ending: SIGHUP" in program.log, "the signal to be heard")
        (tmp_path / "gate").touch()
        await_banner(program, 2)

        assert job.document()["status"] == "succeeded"


def test_a_hangup_that_comes_as_it_begins_anew_does_not_end_it(tmp_path: Path) -> None:
    with worker(tmp_path) as program:
        await_banner(program)
        program.tell(signal.SIGHUP)
        until(lambda: "beginning anew" in program.log, "the worker to begin anew")
        program.tell(signal.SIGHUP)

        await_banner(program, 2)


def test_told_to_end_after_a_hangup_it_ends_in_good_order(client: Any, tmp_path: Path) -> None:
    with worker(tmp_path) as program:
        job = running(client, "/gated")
        program.tell(signal.SIGHUP)
        until(lambda: "ending" in program.log, "the signal to be heard")
        program.tell(signal.SIGTERM)
        (tmp_path / "gate").touch()

        assert program.await_end() == 0
        assert job.document()["status"] == "succeeded"
        assert "beginning anew" not in program.log


def test_it_does_not_outlive_its_terminal(tmp_path: Path) -> None:
    terminal, side = os.openpty()
    program = worker(tmp_path)
    program.stdin = side
    with program:
        os.close(side)
        await_banner(program)
        os.close(terminal)
        program.tell(signal.SIGHUP)

        assert program.await_end() == 0
        assert "beginning anew" not in program.log


def test_nohup_is_respected(tmp_path: Path) -> None:
    with worker(tmp_path, before=("nohup",)) as program:
        await_banner(program)
        program.tell(signal.SIGHUP)
        program.tell(signal.SIGTERM)

        assert program.await_end() == 0
        assert "SIGHUP" not in program.log


def test_draining_goes_on_when_the_store_was_away(tmp_path: Path) -> None:
    server = RedisServer()
    try:
        with clients(server.url) as client:
            with worker(tmp_path, "--drain", DEFERIT_STORE=server.url) as program:
                job = running(client, "/gated")
                server.kill()
                until(lambda: program.log.count("trying again") > 2, "the outage to be seen")
                server.start()
                (tmp_path / "gate").touch()
                code = program.await_end()

            assert (code, job.until_finished()["status"]) == (0, "succeeded")
    finally:
        server.stop()


@pytest.mark.parametrize("store", ["memory://", ""], ids=["refused", "usual"])
def test_it_is_heard_though_the_application_configures_logging(tmp_path: Path, store: str) -> None:
    store = store or store_of(tmp_path)
    with worker(tmp_path, "--drain", UNRULY_LOGGING="", DEFERIT_STORE=store) as program:
        program.await_end()

        assert ("each process's own" if store == "memory://" else "works, process") in program.log


def test_a_store_that_no_other_process_sees_is_refused(tmp_path: Path) -> None:
    with worker(tmp_path, DEFERIT_STORE="memory://") as program:
        assert program.await_end() == 2
        assert "'memory://' is each process's own" in program.log
