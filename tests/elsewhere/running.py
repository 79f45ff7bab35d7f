"""Has the jobs of a site run in other processes: those of the executor that the matrix names."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.elsewhere import celery_side, slots
from tests.executors.broker import Broker
from tests.matrix import EXECUTOR
from tests.servers.harness import CHECKOUT, until
from tests.stores.around import Around

from deferit.executors import processes
from deferit.executors.celery import CeleryExecutor
from deferit.stores.base import Store
from deferit.worker_command import work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.context import ForkServerProcess as Process

HOSTED = "tests.elsewhere.hosted"
FORK_SERVER = multiprocessing.get_context("forkserver")
PATIENCE = 20.0
"""Seconds that a worker has to end."""
CONCURRENCY = 8
"""What a site has that says nothing else."""
AGAIN_AFTER = 2.0
"""Seconds after which Celery is sent a message again: soon, for another site's workers may have to go on with a job."""

_lasting = ExitStack()


@contextmanager
def employed(build: Callable[[Any], Any], options: dict[str, Any]) -> Iterator[Any]:
    """Yield what ``build`` makes of the options, with the executor of the matrix and what it needs.

    Other processes call ``build`` too, so it is given to them with all that its functions refer to.
    """
    if EXECUTOR == "in-process" or "executor" in options:
        yield build(options)
        return
    if isinstance(options["store"], Store) and not isinstance(options["store"], Around):
        pytest.skip("its store is an object that no other process has")
    _prepare()
    with slots.slots.taken(build, options) as name, _EXECUTORS[EXECUTOR](name, options) as executor:
        yield build({**options, "executor": executor})


def close() -> None:
    """End what has lasted longer than a site."""
    _lasting.close()
    slots.close()


def _prepare() -> None:
    """Have children forked by a process that has imported all that they need, and has one thread."""
    if processes.START is FORK_SERVER:
        return
    processes.START = FORK_SERVER
    slots.keep(slots.slots)  # it tells the environment where the desk is
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(CHECKOUT)
    FORK_SERVER.set_forkserver_preload([__name__, HOSTED])
    child = FORK_SERVER.Process(target=_nothing)
    child.start()
    child.join()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def _nothing() -> None:
    """Be a child that has shown that there can be some."""


@contextmanager
def _worker(name: str, _options: dict[str, Any]) -> Iterator[object]:
    with _child(_work, f"{HOSTED}:{name}") as (child, log):
        until(lambda: "works, process" in log.read_text(), "the worker to begin")
        yield "worker"
        child.terminate()
        child.join(PATIENCE)
        assert child.exitcode == 0, log.read_text()


def _work(target: str) -> None:
    sys.exit(work(target))


@contextmanager
def _processes(name: str, options: dict[str, Any]) -> Iterator[object]:
    workers = options.get("concurrency", CONCURRENCY)
    yield processes.ProcessExecutor(f"{HOSTED}:{name}", workers=workers)


@contextmanager
def _celery(name: str, options: dict[str, Any]) -> Iterator[object]:
    queue = _queue(options.get("concurrency", CONCURRENCY))
    target = f"{HOSTED}:{name}"
    yield CeleryExecutor(celery_side.app, app=target, queue=queue, again_after=AGAIN_AFTER)


_EXECUTORS = {"work": _worker, "processes": _processes, "celery": _celery}

# --- Celery's workers last: each takes a second to start -------------------------------------------------------------

_queues: dict[int, str] = {}


def _queue(concurrency: int) -> str:
    """Return a queue of which a worker runs so many jobs at once."""
    if not _queues:
        celery_side.app.conf["broker_url"] = _lasting.enter_context(Broker()).url
    if concurrency not in _queues:
        queue = f"at-once-{concurrency}"
        broker = celery_side.app.conf.broker_url
        _, log = _lasting.enter_context(_child(celery_side.work, broker, queue, concurrency))
        until(lambda: "ready" in log.read_text(), "Celery's worker to begin")
        _queues[concurrency] = queue
    return _queues[concurrency]


# --- children --------------------------------------------------------------------------------------------------------


@contextmanager
def _child(target: Callable[..., Any], *arguments: Any) -> Iterator[tuple[Process, Path]]:
    """Run a function in a child, which is killed in the end; yield it, and the file that it writes its log to."""
    with tempfile.NamedTemporaryFile(prefix="beside-", suffix=".log") as file:
        log = Path(file.name)
        child = multiprocessing.get_context("forkserver").Process(
            target=_logged, args=(log, target, *arguments)
        )
        child.start()
        try:
            yield child, log
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid or 0, signal.SIGKILL)
            child.join()
            sys.stderr.write(log.read_text())


def _logged(log: Path, target: Callable[..., Any], *arguments: Any) -> None:
    """Write what is said into a file from now on; end with the process of the tests, and with all own children."""
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    target(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)
