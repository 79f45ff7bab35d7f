"""`deferit work`: a process that runs the jobs of an application beside its web server's, on the same store."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import socket
import sys
import threading
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

LAST_WORDS = 5.0
"""Seconds that threads have to end which outlast all else, such as those of handlers that outlasted the grace."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What it listens to."""

HELP = """\
Run the jobs of an application that wait in its store. The web processes beside it only accept and answer if they were
started with DEFERIT_EXECUTOR=worker; otherwise both run jobs.

SIGTERM, SIGINT: take no more jobs, give running ones the option grace, hand back the rest, exit; if it comes twice,
exit at once. SIGHUP: the same, then begin anew with the code as it is now, as the same process; unless it comes because
the terminal was closed.

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
    no job is due. Once it has returned, the process has to end, and does so in `LAST_WORDS` seconds at the latest.
    """
    handler = _log_to_stderr()
    sys.path.insert(0, str(Path.cwd()))
    try:
        return _Work(target, concurrency, handler, drain=drain).run()
    except OptionError as exc:
        return _refused(exc, Exit.CALLED_WRONGLY)
    except StartupFailed as exc:
        return _refused(exc, Exit.NOT_STARTED)
    except StoreUnavailable as exc:
        return _refused(exc, Exit.OUT_OF_REACH)


def _refused(exc: Exception, code: Exit) -> Exit:
    _be_heard()
    logger.critical("%s", exc)
    return code


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


class _ToldEarly(BaseException):
    """Ends the start of an application, which may take for ever."""


class _Work:
    """The life of the command."""

    def __init__(
        self, target: str, concurrency: int | None, handler: logging.Handler, *, drain: bool
    ) -> None:
        self._handler = handler
        self._host = Host(target, concurrency or 0)
        self._drains = drain
        self._told: signal.Signals | None = None
        self._begins_anew = False
        self._is_starting = False
        self._has_terminal = os.isatty(0)
        self._arrivals, self._arrived = socket.socketpair()
        self._arrived.setblocking(False)  # noqa: FBT003  its only parameter

    @property
    def should_exit(self) -> bool:
        """Whether it was told to end; the engine asks, as it asks a web server (see `deferit._process.server`)."""
        return self._told is not None

    def run(self) -> int:
        """Begin, work, end."""
        self._is_starting = True
        try:
            self._listen()
            self._host.start()
            self._is_starting = False
        except _ToldEarly:
            logger.info("ending: %s, before the application has started", self._said())
            self._host.give_back()
        else:
            self._work()
            logger.info("ending: %s", self._said())
            self._host.close()
        logger.info("ended")
        if self._begins_anew:
            _begin_anew()
        _leave_soon(Exit.DONE)
        return Exit.DONE

    def _work(self) -> None:
        """Say what is worked on, until told to end or nothing is left."""
        _be_heard()
        if len(logger.handlers) > 1 or logging.getLogger().handlers:
            logger.removeHandler(self._handler)  # the application has its own
        logger.info("%s", self._banner())
        while self._told is None:
            self._wait()
            if self._drains and self._is_idle():
                break

    def _is_idle(self) -> bool:
        try:
            return self._host.hosted.is_idle
        except StoreUnavailable:
            return False  # who knows; what runs goes on, and the keeper says that it is away

    # --- signals -----------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        signal.set_wakeup_fd(self._arrived.fileno(), warn_on_full_buffer=False)
        has_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in SIGNALS:
            if number is not signal.SIGHUP or not has_nohup:
                signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # see `_begin_anew`
        os.register_at_fork(
            before=_hold_signals, after_in_parent=_let_signals, after_in_child=_listen_no_more
        )

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal; whoever says twice that it has to end does not wait for anybody."""
        is_hangup = number == signal.SIGHUP
        if self._told is None:
            self._begins_anew = is_hangup and not self._has_lost_terminal()
        elif is_hangup:
            return  # it ends already
        elif self._begins_anew:
            self._begins_anew = False
        else:
            os._exit(128 + number)
        self._told = signal.Signals(number)
        if self._is_starting:
            self._is_starting = False
            raise _ToldEarly

    def _has_lost_terminal(self) -> bool:
        """Whether the terminal was closed in which it was started: then it must not live on where nobody sees it."""
        return self._has_terminal and not os.isatty(0)

    def _said(self) -> str:
        return self._told.name if self._told else "no job is due"

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


_held = threading.local()


def _hold_signals() -> None:
    """Have signals wait while a handler forks: Python forgets what reaches the child before it is one."""
    _held.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.before)


def _listen_no_more() -> None:
    """Leave signals alone in a child that a handler has forked: who ends such a process sends it one of them."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        is_interrupt = number is signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
    _let_signals()


def _begin_anew() -> None:
    """Become the same command again, with the code as it is now.

    A signal that comes before that listens would end it: until then none is delivered.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    logger.info("beginning anew")
    for handler in logger.handlers:
        handler.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  ourselves, as we were called


def _leave_soon(code: Exit) -> None:
    """Have the process end even if threads go on for which Python would wait: no handler in one can be stopped."""
    timer = threading.Timer(LAST_WORDS, _leave, [code])
    timer.daemon = True
    timer.start()


def _leave(code: Exit) -> None:
    known = {threading.main_thread(), threading.current_thread()}
    names = [thread.name for thread in threading.enumerate() if thread not in known]
    logger.warning("not waiting for threads: %s", ", ".join(names))
    logging.shutdown()
    os._exit(code)


def _log_to_stderr() -> logging.Handler:
    """Have the log of jobs written; return what writes it."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler


def _be_heard() -> None:
    """Take back what `logging.config` does to loggers that were there before an application came with its own."""
    logger.disabled = False


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
