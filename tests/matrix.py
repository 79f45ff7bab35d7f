"""Which store and which executor the tests with real servers have: as the environment says, ``DEFERIT_MATRIX``.

``DEFERIT_MATRIX=sqlite/processes pytest tests/servers tests/clients``; `make matrix` does it for all of them. Without
it handlers run in the web processes, and jobs are kept in a file.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

import pytest
from tests.executors.broker import Broker
from tests.pairs import PAIRS
from tests.servers.harness import CHECKOUT, Server, until
from tests.servers.programs import Program
from tests.stores.postgres_server import PostgresServer
from tests.stores.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.servers.harness import Kind

IS_CHOSEN = "DEFERIT_MATRIX" in os.environ
STORE, _, EXECUTOR = os.environ.get("DEFERIT_MATRIX", "sqlite/in-process").partition("/")
if (STORE, EXECUTOR) not in PAIRS:
    known = ", ".join("/".join(pair) for pair in PAIRS)
    raise pytest.UsageError(f"DEFERIT_MATRIX={STORE}/{EXECUTOR} is none of {known}")

OF_A_SERVER = "of a server"
"""Stands for the URL of a store whose server is still to be started."""

in_process = pytest.mark.skipif(
    EXECUTOR != "in-process", reason="it is about handlers in the web process"
)
in_one_program = pytest.mark.skipif(
    EXECUTOR in {"work", "celery"}, reason="workers have their own signals and log"
)
durable = pytest.mark.skipif(STORE == "memory", reason="jobs in memory go with their process")
seen_by_others = pytest.mark.skipif(
    STORE == "memory", reason="memory:// is seen by one process only"
)
in_a_file = pytest.mark.skipif(STORE != "sqlite", reason="it is about a store that is a file")


def settings(folder: Path) -> dict[str, str]:
    """Return what the environment of a web server has to say."""
    stores = {"sqlite": f"sqlite:///{folder / 'jobs.db'}", "memory": "memory://"}
    executors = {"processes": "processes", "work": "worker"}
    given = {"DEFERIT_STORE": stores.get(STORE, OF_A_SERVER)}
    if EXECUTOR in executors:
        given["DEFERIT_EXECUTOR"] = executors[EXECUTOR]
    objects = {"processes": "four processes", "celery": "celery"}
    if EXECUTOR in objects:
        given["DEFERIT_TEST_EXECUTOR"] = objects[EXECUTOR]
    return given


@contextmanager
def _store() -> Iterator[str]:
    """Run a server of the store; yield its URL."""
    if STORE == "redis":
        server = RedisServer()
        try:
            yield server.url
        finally:
            server.stop()
        return
    postgres = PostgresServer()
    try:
        postgres.start()
        yield postgres.url()
    finally:
        postgres.remove()


class Site(Server):
    """A web server with what runs its jobs, both started and killed together; a broker beside them is not killed."""

    def __init__(
        self,
        kind: Kind,
        app: str,
        folder: Path,
        *,
        environment: Mapping[str, str],
        path: Path = CHECKOUT,
    ) -> None:
        self._lasting = ExitStack()
        self._beside = ExitStack()
        given = dict(environment)
        if given["DEFERIT_STORE"] == OF_A_SERVER:
            given["DEFERIT_STORE"] = self._lasting.enter_context(_store())
        if EXECUTOR == "celery" and given.get("DEFERIT_TEST_EXECUTOR") == "celery":
            broker = self._lasting.enter_context(Broker())
            given["DEFERIT_TEST_BROKER"] = broker.url
        super().__init__(kind, app, folder, environment=given, path=path)

    @property
    def store(self) -> str:
        """The URL of its store."""
        return self._environment["DEFERIT_STORE"]

    def start(self) -> Self:
        programs = [
            Program(command, self.folder, self._environment, f"beside-{number}")
            for number, command in enumerate(self._commands())
        ]
        try:
            for program in programs:
                self._beside.enter_context(program)
            super().start()
            for program in programs if EXECUTOR == "work" else ():
                until(partial(_works, program), "a worker to begin")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        super().stop()
        self._lasting.close()

    def kill_all(self) -> None:
        super().kill_all()
        self._beside.close()

    def _commands(self) -> list[list[str]]:
        """Return the commands of what runs beside the web server, if it defers anything."""
        if "DEFERIT_TEST_PLAIN" in self._environment:
            return []
        if self._environment.get("DEFERIT_EXECUTOR") == "worker":
            return [[sys.executable, "-m", "deferit", "work", self.app]] * self.kind.workers
        if "DEFERIT_TEST_BROKER" in self._environment:
            app = f"{self.app.partition(':')[0]}:celery_app"
            quiet = ["--concurrency=4", "--without-gossip", "--without-mingle", "-l", "INFO"]
            return [[sys.executable, "-m", "celery", "-A", app, "worker", *quiet]]
        return []


def _works(program: Program) -> bool:
    return "works, process" in program.log
