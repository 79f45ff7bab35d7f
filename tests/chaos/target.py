"""All that is attacked together: a web server, what runs its jobs beside it, the broker between them, the store."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.chaos.herd import children_of, herd, module_of, settings
from tests.executors.broker import Broker
from tests.servers.programs import Supervised

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


class Helper(Supervised):
    """A worker beside the web server, maybe with children."""

    struck: set[int]
    """Processes in which handlers may have been broken off."""

    def __enter__(self) -> Self:
        self.struck = set()
        self._alive: set[int] = set()
        return super().__enter__()

    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def _look(self) -> None:
        self._alive.update([self.process.pid, *self.children()])

    def _start_again(self) -> None:
        self.struck |= self._alive
        self._alive = set()
        super()._start_again()


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
