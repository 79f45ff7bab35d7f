"""`deferit work`: a process that runs the jobs of an application beside its web server's, on the same store."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import socket
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from deferit import __version__
from deferit._host import Host
from deferit.exceptions import OptionError, StartupFailed, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

logger = logging.getLogger("deferit")

LOOK = 0.1
"""Seconds between two looks whether anything is due, with ``--drain``."""

HELP = """\
Run the jobs of an application that wait in its store. The web processes beside it only accept and answer if they were
started with DEFERIT_EXECUTOR=worker; otherwise both run jobs.

SIGTERM, SIGINT: take no more jobs, give running ones the option grace, hand back the rest, exit; if it comes twice,
exit at once. SIGHUP: the same, then begin anew with the code as it is now, as the same process.

It exits with 0 if it was told to end, or has drained; 1 if the application refuses to start; 2 if it was called
wrongly; 4 if the store is out of reach; and with 128 and the number of the signal if it was told twice.
"""


class Exit(IntEnum):
    """How the command ends."""

    DONE = 0
    NOT_STARTED = 1
    CALLED_WRONGLY = 2
    OUT_OF_REACH = 4


def work(target: str, *, concurrency: int | None = None, drain: bool = False) -> int:
    """Run the jobs of the application that ``target`` names (``module:name``) until told to end; return the exit code.

    It claims ``concurrency`` jobs at once, None: as many as the application's option says. With ``drain`` it ends when
    no job is due.
    """
    handler = _log_to_stderr()
    sys.path.insert(0, str(Path.cwd()))
    try:
        return _Work(target, concurrency, handler, drain=drain).run()
    except OptionError as exc:
        logger.critical("%s", exc)
        return Exit.CALLED_WRONGLY
    except StartupFailed as exc:
        logger.critical("%s", exc)
        return Exit.NOT_STARTED
    except StoreUnavailable as exc:
        logger.critical("%s", exc)
        return Exit.OUT_OF_REACH


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments of the command line, and `work`."""
    parser = argparse.ArgumentParser(
        "deferit work", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "target",
        metavar="MODULE:APP",
        help="the application, as servers name it; MODULE:FACTORY() calls a factory",
    )
    parser.add_argument("--concurrency", type=_count, metavar="N", help="jobs to run at once")
    parser.add_argument("--drain", action="store_true", help="exit when no job is due")
    given = parser.parse_args(arguments)
    return work(given.target, concurrency=given.concurrency, drain=given.drain)


class _Work:
    """The life of the command."""

    def __init__(
        self, target: str, concurrency: int | None, handler: logging.Handler, *, drain: bool
    ) -> None:
        self._handler = handler
        self._host = Host(target, concurrency or 0)
        self._drains = drain
        self._told: signal.Signals | None = None
        self._arrivals, self._arrived = socket.socketpair()
        self._arrived.setblocking(False)  # noqa: FBT003  its only parameter

    @property
    def should_exit(self) -> bool:
        """Whether it was told to end; the engine asks, as it asks a web server (see `deferit._process.server`)."""
        return self._told is not None

    def run(self) -> int:
        """Begin, work, end."""
        signal.set_wakeup_fd(self._arrived.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)
        self._host.start()
        if len(logger.handlers) > 1 or logging.getLogger().handlers:
            logger.removeHandler(self._handler)  # the application has its own
        logger.info("%s", self._banner())
        while self._told is None:
            self._wait()
            if self._drains and self._host.hosted.is_idle:
                break
        logger.info("ending: %s", self._told.name if self._told else "no job is due")
        self._host.close()
        logger.info("ended")
        if self._told is signal.SIGHUP:
            _begin_anew()
        return Exit.DONE

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal; the second one does not wait for anybody."""
        if self._told is not None:
            os._exit(128 + number)
        self._told = signal.Signals(number)

    def _wait(self) -> None:
        """Wait for a signal, whichever thread the system gives it to: that wakes no thread but by what is written."""
        if select.select([self._arrivals], [], [], LOOK if self._drains else None)[0]:
            self._arrivals.recv(1_000)

    def _banner(self) -> str:
        hosted = self._host.hosted
        return (
            f"deferit {__version__} works, process {os.getpid()}: app {self._host.target} ({hosted.interface}), "
            f"jobs of {hosted.application}, store {hosted.store_url}, {hosted.concurrency} at once"
        )


def _begin_anew() -> None:
    """Become the same command again, with the code as it is now."""
    logger.info("beginning anew")
    for handler in logger.handlers:
        handler.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  ourselves, as we were called


def _log_to_stderr() -> logging.Handler:
    """Have the log of jobs written; return what writes it."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
