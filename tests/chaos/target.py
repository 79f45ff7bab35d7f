"""All that is attacked together: a web server, what runs its jobs beside it, the broker between them, the store."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.herd import children_of, herd, module_of, settings
from tests.executors.broker import Broker
from tests.servers.programs import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.chaos.herd import Herd
    from tests.chaos.stores import Attacked
    from tests.servers.harness import Kind

EXECUTORS = ("in-process", "work", "celery")
HELPERS = 2
"""Workers beside the web server, as on two machines."""


@dataclass(frozen=True)
class Target:
    """What there is to strike."""

    server: Herd
    store: Attacked
    helpers: Sequence[Helper]
    broker: Broker | None

    @property
    def application(self) -> str:
        """The name under which the store has its jobs."""
        return f"{self.server.kind.interface}:default"

    @property
    def runs_in_web(self) -> bool:
        """Whether handlers run in the processes that answer requests."""
        return not self.helpers


class Helper(Program):
    """A worker beside the web server, maybe with children; it is started again when it was killed, as by systemd."""

    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def strike(self) -> set[int]:
        """Kill all its processes and start it again; return those that handlers may have run in."""
        os.killpg(self.process.pid, signal.SIGSTOP)  # so that there are no more of them
        struck = {self.process.pid, *self.children()}
        self.kill()
        self.__enter__()
        return struck

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.process.poll() is not None


@contextmanager
def target(kind: Kind, executor: str, store: Attacked, folder: Path) -> Iterator[Target]:
    """Run a server of this kind, and what its executor needs."""
    given = {"DEFERIT_STORE": store.url}
    with ExitStack() as stack:
        broker = stack.enter_context(Broker()) if executor == "celery" else None
        if broker:
            given["DEFERIT_CHAOS_BROKER"] = broker.url
        if executor == "work":
            given["DEFERIT_EXECUTOR"] = "worker"
        helpers = [
            stack.enter_context(
                Helper(command, folder, settings(folder) | given, f"beside-{number}")
            )
            for number, command in enumerate(_commands(kind, executor))
        ]
        server = stack.enter_context(herd(kind, folder, **given))
        yield Target(server, store, helpers, broker)


def _commands(kind: Kind, executor: str) -> list[list[str]]:
    """Return what runs beside the web server."""
    python, module = [sys.executable, "-m"], module_of(kind)
    if executor == "work":
        return [[*python, "deferit", "work", f"{module}:app"]] * HELPERS
    if executor == "celery":
        quiet = ["--concurrency=4", "--without-gossip", "--without-mingle", "-l", "INFO"]
        return [[*python, "celery", "-A", f"{module}:celery_app", "worker", *quiet]] * HELPERS
    return []
